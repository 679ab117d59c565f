/* One question at a time: a new one replaces the one before; problems are told in words, and tried again. */

import { Problem } from "./api.js";
import { h } from "./dom.js";
import { w } from "./words.js";

/** Asks, tells in `notice` what is wrong, and marks `area` as busy meanwhile. */
export class Asker {
  static onUnauthorized = () => {};

  constructor(notice, area) {
    Object.assign(this, { notice, area, controller: new AbortController(), timer: undefined, words: null });
  }

  /** What came of it, for those who cannot see it. */
  tell(...sentences) {
    this.words = null;
    this.notice.replaceChildren(h("span", { class: "spoken" }, sentences.join(" ")));
  }

  /** Give up what was asked, and show what is said instead, by its key. */
  say(key, ...values) {
    this.stop();
    this.words = () => [w(key, ...values)];
    this.redraw();
  }

  /** Ask: `job` gets a signal; `show` gets what came of it, unless something else was asked meanwhile. */
  async ask(job, show) {
    this.stop();
    const { signal } = (this.controller = new AbortController());
    this.area.setAttribute("aria-busy", "true");
    try {
      const result = await job(signal);
      if (signal.aborted) return;
      this.words = null;
      this.notice.replaceChildren();
      show(result);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof Problem)) throw error;
      this.#tell(error, () => this.ask(job, show));
    } finally {
      if (!signal.aborted) this.area.removeAttribute("aria-busy");
    }
  }

  stop() {
    this.controller.abort();
    clearInterval(this.timer);
    this.area.removeAttribute("aria-busy");
  }

  /** Say the same again, in the language of now. */
  redraw() {
    if (this.words) this.notice.replaceChildren(...this.words());
  }

  #tell(problem, again) {
    if (problem.kind === "unauthorized") Asker.onUnauthorized();
    let left = problem.retry;
    const count = h("span", { "aria-hidden": "true" });
    this.words = () => {
      count.textContent = left ? w("again", left) : "";
      const now = h("button", { type: "button", onclick: again }, w("retry"));
      return [h("span", { class: "problem" }, problem.words), ...(problem.retry ? [" ", count, " ", now] : [])];
    };
    this.redraw();
    if (!left) return;
    this.timer = setInterval(() => {
      left -= 1;
      if (left > 0) count.textContent = w("again", left);
      else again();
    }, 1000);
  }
}
