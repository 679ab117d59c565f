/* The view of run folders: their readings as curves, drawn anew while a run goes on. */

import { ask } from "./api.js";
import { Asker } from "./asking.js";
import { chart, sample } from "./chart.js";
import { find, h } from "./dom.js";
import { number, w } from "./words.js";

const READINGS = ["train_loss", "eval_accuracy", "learning_rate", "grad_norm", "tokens_per_second"];
const EVERY = 2000; // milliseconds between looks at runs that go on
const COLOURS = 6; // --line-1 … of the style sheet; then they come again, dashed
const DASHES = [null, "7 4", "2 3"];
const COMMAND = "weixing serve --model … --runs runs/";

export function runs(root, remember) {
  const reading = find("#reading", root);
  const menus = { reading, horizontal: find("#horizontal", root) };
  const checks = { "log-x": find("#log-x", root), "log-y": find("#log-y", root) };
  const live = find("#live", root);
  const host = find("#chart", root);
  const readout = find("#readout", root);
  const list = find("#run-list", root);
  const asker = new Asker(find("div.notice", root), host);
  let known = [];
  let hidden = new Set();
  let timer;
  let isOpen = false;

  reading.append(...READINGS.map((key) => h("option", { value: key, "data-word": key }, w(key))));
  for (const input of [...Object.values(menus), ...Object.values(checks)])
    input.addEventListener("change", () => changed());
  live.addEventListener("change", () => request());
  document.addEventListener("visibilitychange", () => isOpen && !document.hidden && request());
  new ResizeObserver(() => isOpen && drawChart()).observe(host);

  function changed() {
    remember([
      ...Object.entries(menus).map(([name, menu]) => [name, menu.value]),
      ...Object.entries(checks)
        .filter(([, check]) => check.checked)
        .map(([name]) => [name, "1"]),
      ...[...hidden].map((name) => ["without", name]),
    ]);
    draw();
  }

  function request() {
    clearTimeout(timer);
    asker.ask(
      (signal) => ask("runs", null, signal),
      (answer) => {
        const isNew = JSON.stringify(answer.runs) !== JSON.stringify(known);
        known = answer.runs;
        find("figure", root).hidden = !known.length;
        if (isNew) draw();
        if (!known.length) {
          asker.say("noRuns");
          list.replaceChildren(h("pre", {}, COMMAND));
        }
        const goesOn = !known.length || known.some((run) => !run.finished);
        if (isOpen && live.checked && goesOn && !document.hidden) timer = setTimeout(request, EVERY);
      },
    );
  }

  const colour = (place) => `var(--line-${(place % COLOURS) + 1})`;
  const dash = (place) => DASHES[Math.floor(place / COLOURS) % DASHES.length];
  const short = (value) =>
    number(value, { notation: Math.abs(value) >= 10000 ? "compact" : "standard", maximumSignificantDigits: 4 });

  function series() {
    const across = menus.horizontal.value;
    return known.flatMap((run, place) => {
      if (hidden.has(run.name)) return [];
      const points = (key) =>
        run.readings[across].map((x, at) => [x, run.readings[key][at]]).filter((p) => p[0] !== null && p[1] !== null);
      const look = { name: run.name, colour: colour(place), dash: dash(place) };
      const line = { ...look, points: points(reading.value) };
      return reading.value === "train_loss"
        ? [line, { ...look, name: `${run.name}, ${w("evalLoss")}`, points: points("eval_loss"), dots: true }]
        : [line];
    });
  }

  function draw() {
    if (!known.length) return;
    drawChart();
    drawList();
  }

  function drawChart() {
    const label = w(reading.value) + (reading.value === "train_loss" ? ` (${w("heldOut")})` : "");
    const unit = w(menus.horizontal.value);
    const shown = series();
    const held = host.contains(document.activeElement);
    chart(host, shown, {
      logX: checks["log-x"].checked,
      logY: checks["log-y"].checked,
      labelX: unit,
      labelY: label,
      format: short,
      title: w(
        "chart",
        w(reading.value),
        known
          .map((run) => run.name)
          .filter((name) => !hidden.has(name))
          .join(", "),
      ),
      onread: (x, values) =>
        readout.replaceChildren(
          w("at", short(x), unit),
          " ",
          ...values.flatMap(([one, [, y]], place) => [
            place ? "; " : "",
            sample(one.colour, one.dots ? "1 5" : one.dash),
            ` ${one.name} ${short(y)}`,
          ]),
        ),
    });
    if (held) find("svg", host)?.focus();
    if (!readout.firstChild) readout.append(w("howToRead"));
    if (!host.firstChild) host.append(h("p", { class: "hint" }, w("noReadings")));
  }

  function drawList() {
    const held = list.contains(document.activeElement) ? document.activeElement.dataset.run : null;
    const head = ["run", "shape", "recipe", "steps", "tokens", "trainLoss", "evalLoss", "state"];
    const last = (run, key) => run.readings[key].findLast((value) => value !== null);
    const rows = known.map((run, place) => {
      const value = (key, digits) =>
        last(run, key) === undefined ? "–" : number(last(run, key), { maximumFractionDigits: digits });
      const box = h("input", {
        type: "checkbox",
        "data-run": run.name,
        onchange: (event) => show(run.name, event.target.checked),
      });
      box.checked = !hidden.has(run.name);
      const name = h(
        "th",
        { scope: "row" },
        h("label", { class: "check" }, box, sample(colour(place), dash(place)), h("span", {}, run.name)),
      );
      if (run.problem) return h("tr", {}, name, h("td", { colspan: head.length - 1, class: "problem" }, run.problem));
      return h(
        "tr",
        {},
        name,
        h("td", {}, run.shape ?? "–"),
        h("td", {}, run.recipe ?? "–"),
        h("td", {}, run.steps ? w("progress", value("step", 0), number(run.steps)) : value("step", 0)),
        ...[
          value("tokens", 0),
          value("train_loss", 3),
          value("eval_loss", 3),
          w(run.finished ? "finished" : "running"),
        ].map((text) => h("td", {}, text)),
      );
    });
    list.replaceChildren(
      h(
        "table",
        { class: "plain-table run-table" },
        h("caption", { class: "spoken" }, w("runList")),
        h("thead", {}, h("tr", {}, ...head.map((key) => h("th", { scope: "col" }, w(key))))),
        h("tbody", {}, ...rows),
      ),
    );
    if (held !== null) [...list.querySelectorAll("input")].find((box) => box.dataset.run === held)?.focus();
  }

  function show(name, isShown) {
    if (isShown) hidden.delete(name);
    else hidden.add(name);
    changed();
  }

  return {
    open(given) {
      isOpen = true;
      for (const [name, menu] of Object.entries(menus)) {
        if ([...menu.options].some((option) => option.value === given.get(name))) menu.value = given.get(name);
      }
      if ([...given.keys()].length) {
        for (const [name, check] of Object.entries(checks)) check.checked = given.get(name) === "1";
        hidden = new Set(given.getAll("without"));
      }
      changed();
      request();
    },
    close() {
      isOpen = false;
      clearTimeout(timer);
      asker.stop();
    },
    redraw() {
      asker.redraw();
      readout.replaceChildren();
      draw();
    },
  };
}
