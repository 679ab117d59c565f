/* The view that compares sentences with each other: cosines of their vectors as a heat map. */

import { ask } from "./api.js";
import { Asker } from "./asking.js";
import { debounced, find, h, onTyped, paint } from "./dom.js";
import { family } from "./facts.js";
import { Picker, learn } from "./models.js";
import { number, w } from "./words.js";

const EXAMPLE = ["今天天气很好。", "今天的天气真不错。", "我想买一部新手机。", "这部手机多少钱？", "他昨天去了北京。"];
const MOST = 30; // sentences
const PAUSE = 500; // milliseconds without a keystroke, before asking

/** Cosine of two vectors. */
export function cosine(a, b) {
  let [product, first, second] = [0, 0, 0];
  a.forEach((value, place) => {
    product += value * b[place];
    first += value * value;
    second += b[place] * b[place];
  });
  return product / Math.sqrt(first * second);
}

export function similarity(root, remember) {
  const field = find("#similarity-texts", root);
  const pooling = find("#pooling", root);
  const area = find("#heat-maps", root);
  const picker = new Picker(find(".picker", root), "features", () => changed());
  const asker = new Asker(find("div.notice", root), area);
  let answers = null;

  const texts = () =>
    field.value
      .split("\n")
      .map((line) => line.trim())
      .filter(Boolean);
  const soon = debounced(() => changed(), PAUSE);
  onTyped(field, soon);
  pooling.addEventListener("change", () => changed());

  function changed() {
    remember([["text", texts().join("\n")], ...picker.names.map((name) => ["m", name]), ["pooling", pooling.value]]);
    request();
  }

  function request() {
    const sentences = texts();
    if (sentences.length < 2 || sentences.length > MOST) {
      answers = null;
      area.replaceChildren();
      asker.say(sentences.length < 2 ? "fewSentences" : "manySentences", MOST);
      return;
    }
    const names = picker.names;
    const body = { texts: sentences, pooling: pooling.value };
    asker.ask(
      async (signal) => {
        const { scale } = await family(signal);
        const found = await Promise.all(names.map((model) => ask("features", { ...body, model }, signal)));
        await learn(signal);
        return { sentences, scale, maps: found.map(({ vectors }, place) => ({ name: names[place], vectors })) };
      },
      (result) => {
        answers = result;
        picker.redraw();
        draw();
        asker.tell(...[...area.querySelectorAll(".nearest")].map((line) => line.textContent));
      },
    );
  }

  function draw() {
    if (answers) area.replaceChildren(...answers.maps.map(heatMap));
  }

  function heatMap({ name, vectors }) {
    const { sentences, scale } = answers;
    const cosines = vectors.map((a, row) => vectors.map((b, column) => (row === column ? 1 : cosine(a, b))));
    const low = Math.min(...cosines.flat());
    const shade = (value) => scale[Math.round((low < 1 ? (value - low) / (1 - low) : 1) * (scale.length - 1))];
    const pairs = cosines.flatMap((line, row) =>
      line.slice(0, row).map((value, column) => [value, column + 1, row + 1]),
    );
    const [best, first, second] = pairs.reduce((a, b) => (b[0] > a[0] ? b : a));
    const head = h(
      "tr",
      {},
      h("td"),
      ...sentences.map((text, place) => h("th", { scope: "col", title: text }, place + 1)),
    );
    const lines = sentences.map((text, row) =>
      h(
        "tr",
        {},
        h(
          "th",
          { scope: "row", title: text },
          h("span", { class: "order" }, row + 1),
          h("span", { lang: "zh-Hans" }, text),
        ),
        ...cosines[row].map((value, column) => cell(value, shade(value), `${text} · ${sentences[column]}`)),
      ),
    );
    const legend = h(
      "p",
      { class: "hint nearest" },
      w("nearest", first, second, two(best)),
      " ",
      w("scaleOf", two(low), two(1)),
    );
    return h(
      "figure",
      { class: "sheet" },
      h(
        "div",
        { class: "scroll", role: "region", tabindex: 0, "aria-label": w("heatMap", name) },
        h(
          "table",
          { class: "heat-map" },
          h("caption", {}, w("heatMap", name)),
          h("thead", {}, head),
          h("tbody", {}, ...lines),
        ),
      ),
      h("figcaption", {}, ramp(scale), legend),
    );
  }

  function cell(value, colours, title) {
    const made = h("td", { title, "data-value": value }, two(value));
    paint(made, colours);
    return made;
  }

  return {
    open(given) {
      field.value = given.get("text") ?? (field.value || EXAMPLE.join("\n"));
      if (["mean", "cls"].includes(given.get("pooling"))) pooling.value = given.get("pooling");
      picker.choose(given.getAll("m").length ? given.getAll("m") : picker.names);
      changed();
    },
    close: () => asker.stop(),
    redraw() {
      picker.redraw();
      asker.redraw();
      draw();
    },
  };
}

const two = (value) =>
  Number.isFinite(value) ? number(value, { minimumFractionDigits: 2, maximumFractionDigits: 2 }) : "–";

/** The colours from the lowest to the highest. */
function ramp(scale) {
  const made = h("span", { class: "ramp", "aria-hidden": "true" });
  made.style.backgroundImage = `linear-gradient(to right, ${scale.map(({ background }) => background).join(", ")})`;
  return made;
}
