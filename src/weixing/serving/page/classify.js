/* The view that shows what classifiers call texts. */

import { ask } from "./api.js";
import { Asker } from "./asking.js";
import { bars } from "./bars.js";
import { debounced, find, h, onTyped } from "./dom.js";
import { Picker, able, learn } from "./models.js";
import { percent, w } from "./words.js";

const EXAMPLE = "房间很干净，服务也好。\n早餐难吃，不会再来了。";
const COMMAND = "weixing finetune --model … --train train.tsv --dev dev.tsv --out tuned\nweixing serve --model tuned";
const MOST_LABELS = 5; // shown of each text
const PAUSE = 500; // milliseconds without a keystroke, before asking

export function classify(root, remember) {
  const fields = [find("#classify-texts", root), find("#classify-seconds", root)];
  const area = find("#labels", root);
  const picker = new Picker(find(".picker", root), "classify", () => changed());
  const asker = new Asker(find("div.notice", root), area);
  let answers = null;

  const lines = (field) =>
    field.value
      .split("\n")
      .map((line) => line.trim())
      .filter(Boolean);
  fields.forEach((field) =>
    onTyped(
      field,
      debounced(() => changed(), PAUSE),
    ),
  );

  function changed() {
    const [texts, seconds] = fields.map(lines);
    const models = picker.names.map((name) => ["m", name]);
    remember([["text", texts.join("\n")], ...(seconds.length ? [["second", seconds.join("\n")]] : []), ...models]);
    request(texts, seconds);
  }

  function request(texts, seconds) {
    answers = null;
    if (!able("classify").length) {
      asker.say("noClassifier");
      area.replaceChildren(h("pre", {}, COMMAND));
      return;
    }
    if (!texts.length || (seconds.length && seconds.length !== texts.length)) {
      area.replaceChildren();
      asker.say(texts.length ? "unequal" : "noTexts", texts.length, seconds.length);
      return;
    }
    const names = picker.names;
    const body = { texts, second_texts: seconds.length ? seconds : null, top_k: MOST_LABELS };
    asker.ask(
      async (signal) => {
        const found = await Promise.all(names.map((model) => ask("classify", { ...body, model }, signal)));
        await learn(signal);
        return { texts, seconds, columns: found.map(({ labels }, place) => ({ name: names[place], labels })) };
      },
      (result) => {
        answers = result;
        picker.redraw();
        draw();
        asker.tell(
          ...texts.map((text, place) => {
            const [best] = answers.columns[0].labels[place];
            return w("said", text, best.label, percent(best.score));
          }),
        );
      },
    );
  }

  function draw() {
    if (answers) area.replaceChildren(...answers.texts.map(card));
  }

  function card(text, place) {
    const columns = answers.columns.map(({ name, labels }) =>
      h(
        "div",
        {},
        answers.columns.length > 1 ? h("h4", {}, name) : null,
        bars(
          labels[place].map(({ label, score }) => ({ text: label, share: score })),
          `${text}, ${name}`,
        ),
      ),
    );
    const second = answers.seconds.length
      ? h("p", { class: "context", lang: "zh-Hans" }, answers.seconds[place])
      : null;
    return h(
      "article",
      { class: "sheet" },
      h("h3", { class: "context", lang: "zh-Hans" }, text),
      second,
      h("div", { class: "beside" }, ...columns),
    );
  }

  return {
    open(given) {
      fields[0].value = given.get("text") ?? (fields[0].value || EXAMPLE);
      if (given.has("text")) fields[1].value = given.get("second") ?? "";
      find("details", root).open ||= fields[1].value !== "";
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
