/* The view that masks characters of a sentence and shows what models put there. */

import { ask } from "./api.js";
import { Asker } from "./asking.js";
import { bars } from "./bars.js";
import { debounced, find, h, onTyped, roving } from "./dom.js";
import { Picker, learn } from "./models.js";
import { MASK, blanks, isBlank, moved, units, written } from "./units.js";
import { percent, w } from "./words.js";

const EXAMPLES = [
  ["中国的首都是北京。", [6]],
  ["今天天气很好，我们去公园散步。", [5]],
  ["他每天坐地铁上班。", [3, 4, 5]],
];
const MOST_SHOWN = 512; // characters that can be clicked: as many as a model of the family reads
const AROUND = 8; // characters shown on each side of a blank
const PAUSE = 300; // milliseconds without a keystroke, before asking

export function fillMask(root, remember) {
  const field = find("#fill-text", root);
  const row = find("#characters", root);
  const count = find("#fill-count", root);
  const area = find("#blanks", root);
  const picker = new Picker(find(".picker", root), "fill-mask", () => changed());
  const asker = new Asker(find("div.notice", root), area);
  let sentence = [];
  let masked = new Set();
  let answers = null;

  const soon = debounced(() => request(), PAUSE);
  roving(row, "button");
  onTyped(field, () => set(field.value, moved(sentence, units(field.value), masked), soon));
  count.addEventListener("change", () => changed());
  find(".examples", root).append(
    ...EXAMPLES.map(([text, places]) =>
      h("button", { type: "button", class: "plain", lang: "zh-Hans", onclick: () => set(text, new Set(places)) }, text),
    ),
  );

  function set(text, places, act = request) {
    sentence = units(text);
    masked = new Set([...places].filter((place) => sentence[place] && !isBlank(sentence[place])));
    if (field.value !== text) field.value = text;
    drawRow();
    area.inert = true; // what it shows is of another sentence, until there is an answer
    keep();
    act();
  }

  function changed() {
    area.inert = true;
    keep();
    request();
  }

  function keep() {
    const models = picker.names.map((name) => ["m", name]);
    remember([
      ["text", field.value],
      ["mask", [...masked].sort((a, b) => a - b).join(",")],
      ...models,
      ["k", count.value],
    ]);
  }

  function toggle(place) {
    if (sentence[place] === MASK) return; // typed, so there is no character beneath it
    if (!masked.delete(place)) masked.add(place);
    drawRow();
    changed();
  }

  function take(place, token) {
    const text = token.replace(/^##/, "");
    const after = sentence.with(place, text).join("");
    masked.delete(place);
    set(after, moved(sentence.with(place, text), units(after), masked));
    find(`[data-place="${place}"]`, row)?.focus();
  }

  function request() {
    const places = blanks(sentence, masked);
    if (!places.length) {
      answers = null;
      area.replaceChildren();
      asker.say(field.value.trim() ? "noMask" : "nothingTyped");
      return;
    }
    const body = { texts: written(sentence, masked), top_k: Number(count.value) };
    const names = picker.names;
    asker.ask(
      async (signal) => {
        const found = await Promise.all(names.map((model) => ask("fill-mask", { ...body, model }, signal)));
        await learn(signal);
        return found.map((answer, column) => ({
          name: names[column],
          lists: answer.candidates[0],
          read: answer.tokens,
        }));
      },
      (columns) => {
        answers = { places, columns };
        area.inert = false;
        picker.redraw();
        draw();
        asker.tell(
          ...places
            .map((_, index) => columns[0].lists[index]?.[0])
            .map((best, index) => best && w("said", w("blank", index + 1), best.token_str, percent(best.score))),
        );
      },
    );
  }

  function drawRow() {
    const held = row.contains(document.activeElement) ? document.activeElement.dataset.place : null;
    const numbers = new Map(blanks(sentence, masked).map((place, index) => [place, index + 1]));
    let character = 0;
    const parts = sentence.slice(0, MOST_SHOWN).map((unit, place) => {
      if (isBlank(unit)) return unit;
      character += 1;
      const number = numbers.get(place);
      const word =
        unit === MASK ? w("typedMask", character) : w(number ? "maskedCharacter" : "character", unit, character);
      return h(
        "button",
        {
          type: "button",
          "data-place": place,
          "aria-pressed": String(number !== undefined),
          "aria-label": word,
          title: unit,
          tabindex: -1,
          onclick: () => toggle(place),
        },
        number ? h("span", { class: "number" }, number) : unit,
      );
    });
    row.replaceChildren(...parts, sentence.length > MOST_SHOWN ? "……" : "");
    const stop = (held !== null && find(`[data-place="${held}"]`, row)) || find("button", row);
    if (stop) stop.tabIndex = 0;
    if (held !== null) stop?.focus();
  }

  function draw() {
    if (answers) area.replaceChildren(...answers.places.map((place, index) => card(place, index)));
  }

  function card(place, index) {
    const numbers = new Map(answers.places.map((at, other) => [at, other + 1]));
    const around = (from, to) =>
      sentence
        .slice(from, to)
        .map((unit, step) =>
          numbers.has(from + step) ? h("span", { class: "hole" }, numbers.get(from + step)) : unit,
        );
    const title = w("blank", index + 1);
    const context = h(
      "p",
      { class: "context", lang: "zh-Hans" },
      ...around(Math.max(0, place - AROUND), place),
      h("mark", {}, index + 1),
      ...around(place + 1, place + 1 + AROUND),
    );
    const columns = answers.columns.map((column) =>
      h("div", {}, answers.columns.length > 1 ? h("h4", {}, column.name) : null, list(place, index, column, title)),
    );
    return h("article", { class: "sheet" }, h("h3", {}, title), context, h("div", { class: "beside" }, ...columns));
  }

  function list(place, index, column, title) {
    const candidates = column.lists[index];
    if (!candidates) return h("p", { class: "hint" }, w("cut", column.read - 2));
    const rows = candidates.map(({ token_str: text, score: share }) => ({
      text,
      share,
      label: w("take", text, percent(share)),
      onclick: () => take(place, text),
    }));
    return bars(rows, `${title}, ${column.name}`);
  }

  return {
    open(given) {
      if (!given.has("text") && !field.value)
        given = new URLSearchParams({ text: EXAMPLES[0][0], mask: EXAMPLES[0][1] });
      if (["5", "10", "20"].includes(given.get("k"))) count.value = given.get("k");
      picker.choose(given.getAll("m").length ? given.getAll("m") : picker.names);
      const places = given.has("text") ? (given.get("mask") || "").split(",").filter(Boolean).map(Number) : masked;
      set(given.get("text") ?? field.value, new Set(places));
    },
    close: () => asker.stop(),
    redraw() {
      picker.redraw();
      asker.redraw();
      drawRow();
      draw();
    },
  };
}
