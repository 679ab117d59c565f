/* The models that are served, and choosing one or two of them. */

import { ask } from "./api.js";
import { h } from "./dom.js";
import { w } from "./words.js";

let models = [];

export async function load(signal) {
  models = (await ask("models", null, signal)).models;
}

/** Ask again where something is not known yet: a model tells what it can do when it is loaded for the first time. */
export async function learn(signal) {
  if (models.some((model) => !model.tasks)) await load(signal);
}

export const servedAs = (shape) => models.filter((model) => model.shape === shape).map((model) => model.name);

/** Models that can do this, or may; those that are known to come first. */
export function able(task) {
  const possible = models.filter((model) => !model.tasks || model.tasks.includes(task));
  return [...possible.filter((model) => model.tasks), ...possible.filter((model) => !model.tasks)].map((m) => m.name);
}

/** Two menus: a model, and one beside it. */
export class Picker {
  constructor(host, task, onchange) {
    Object.assign(this, { task, names: [] });
    this.menus = [0, 1].map((place) => h("select", { onchange: () => (this.#read(place), onchange()) }));
    this.captions = this.menus.map(() => h("span"));
    this.labels = this.menus.map((menu, place) => h("label", {}, this.captions[place], menu));
    host.append(...this.labels);
  }

  /** Take these models if they are there, else the first, and offer what there is. */
  choose(wanted) {
    const offered = able(this.task);
    const names = [...new Set(wanted)].filter((name) => offered.includes(name)).slice(0, 2);
    this.names = names.length ? names : offered.slice(0, 1);
    this.redraw();
  }

  redraw() {
    const offered = able(this.task);
    ["model", "compareWith"].forEach((word, place) => (this.captions[place].textContent = w(word)));
    this.menus[0].replaceChildren(...offered.map((name) => h("option", { value: name }, name)));
    this.menus[1].replaceChildren(
      h("option", { value: "" }, w("none")),
      ...offered.filter((name) => name !== this.names[0]).map((name) => h("option", { value: name }, name)),
    );
    this.menus.forEach((menu, place) => (menu.value = this.names[place] ?? ""));
    this.labels[1].hidden = offered.length < 2;
  }

  #read(place) {
    const [first, second] = this.menus.map((menu) => menu.value);
    this.names = [first, place === 0 && second === first ? "" : second].filter(Boolean);
    this.redraw();
  }
}
