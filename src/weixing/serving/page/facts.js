/* What is known of the family; asked for once. */

import { ask } from "./api.js";

let known = null;

export async function family(signal) {
  known ??= await ask("family", null, signal);
  return known;
}
