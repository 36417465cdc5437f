import { both } from "../lib/both.mjs";

both("adapter");
