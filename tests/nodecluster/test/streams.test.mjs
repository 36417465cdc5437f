import { both } from "../lib/both.mjs";

both("streams");
