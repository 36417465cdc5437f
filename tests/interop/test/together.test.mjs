import { test } from "node:test";
import { serve } from "../lib/clients.mjs";
import { together } from "../lib/together.mjs";

const server = serve();

test("all kinds in one room hear everything once, in one order", () => together(server.url, "together"));
