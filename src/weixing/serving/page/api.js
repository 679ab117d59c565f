/* Requests to the service, and what may go wrong with them, in words. */

import { memory, w } from "./words.js";

const GONE_SECONDS = 3; // after which a service that did not answer, or is stopping, is asked again
const KEPT = "weixing-token";

let token = memory(() => sessionStorage.getItem(KEPT));

export function useToken(given) {
  token = given;
  memory(() => sessionStorage.setItem(KEPT, given));
}

/** What went wrong: `retry` is after how many seconds to try again, 0 for never. */
export class Problem extends Error {
  constructor(kind, { message = "", accepted = null, retry = 0 } = {}) {
    super(message);
    Object.assign(this, { kind, accepted, retry });
  }

  /** In words for people. */
  get words() {
    if (this.kind === "unauthorized") return w(token ? "wrongToken" : "needsToken");
    const said = SAID[this.kind];
    if (said) return w(said);
    const count = /^([\d,]+) (characters|texts)$/.exec(this.message);
    if (count) return w(count[2] === "texts" ? "tooMany" : "tooLong", count[1], this.accepted?.replace("at most ", ""));
    const behind = /behind its first ([\d,]+) tokens/.exec(this.message);
    if (behind) return w("behind", behind[1]);
    return w("refused", this.message, this.accepted);
  }
}

const SAID = {
  gone: "gone",
  overloaded: "busy",
  unavailable: "notReady",
  timeout: "tooSlow",
  request_timeout: "tooSlow",
  too_large: "tooLarge",
  internal: "fault",
};

/** The JSON that the service answers with: POST if there is a body. Throws Problem, or what the signal aborts with. */
export async function ask(path, body, signal) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  if (body) headers["Content-Type"] = "application/json";
  let answer;
  let content;
  try {
    answer = await fetch(path, {
      method: body ? "POST" : "GET",
      headers,
      body: body && JSON.stringify(body),
      signal,
      cache: "no-cache",
    });
    content = await answer.json();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem("gone", { retry: GONE_SECONDS });
  }
  if (answer.ok) return content;
  const { type = "internal", message, accepted } = content.error ?? {};
  throw new Problem(type, {
    message,
    accepted,
    retry: Number(answer.headers.get("Retry-After") ?? (answer.status === 503 ? GONE_SECONDS : 0)),
  });
}
