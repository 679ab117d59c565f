/* The view of the 24 shapes: a matrix, coloured by score, size or speed, and what is known of the chosen one. */

import { Asker } from "./asking.js";
import { find, h, paint, roving } from "./dom.js";
import { family as facts } from "./facts.js";
import { servedAs } from "./models.js";
import { language, number, w } from "./words.js";

export function family(root, remember) {
  const menu = find("#family-map", root);
  const table = find("#matrix", root);
  const details = find("#shape", root);
  const asker = new Asker(find("div.notice", root), table);
  let known = null;
  let drawn = 0;
  let chosen = "8/512";

  roving(table, "button", 4);
  menu.addEventListener("change", () => choose(chosen, Number(menu.value)));

  const key = (map) => (map.column ? `score:${map.column}` : map.kind);

  function choose(shape, map = drawn) {
    [chosen, drawn] = [shape, map];
    remember([
      ["by", key(known.maps[drawn])],
      ["shape", chosen],
    ]);
    draw();
  }

  function draw() {
    if (!known) return;
    const map = known.maps[drawn];
    menu.replaceChildren(...known.maps.map(({ title }, place) => h("option", { value: place }, title[language()])));
    menu.value = drawn;
    const held = table.contains(document.activeElement);
    const corner = h("td", { class: "corner" }, h("span", {}, w("hidden")), h("span", {}, w("layers")));
    const head = h("tr", {}, corner, ...known.hidden.map((hidden) => h("th", { scope: "col" }, hidden)));
    const rows = known.layers.map((layers) =>
      h(
        "tr",
        {},
        h("th", { scope: "row" }, layers),
        ...known.hidden.map((hidden) => h("td", {}, tile(`${layers}/${hidden}`, map))),
      ),
    );
    table.replaceChildren(h("caption", {}, map.title[language()]), h("thead", {}, head), h("tbody", {}, ...rows));
    if (held) find("[aria-pressed=true]", table).focus();
    find("#matrix-remarks", root).textContent = [
      ...map.remarks[language()],
      ...(Object.keys(known.shapes).some((shape) => servedAs(shape).length) ? [w("servedMark")] : []),
    ].join(language() === "zh" ? "" : " ");
    drawDetails();
  }

  function tile(shape, map) {
    const known = map.tiles[shape];
    const text = known?.text ?? "–";
    const served = servedAs(shape).length > 0;
    const made = h(
      "button",
      {
        type: "button",
        "data-shape": shape,
        "data-value": known?.value,
        class: known ? "tile" : "tile empty",
        "aria-pressed": String(shape === chosen),
        tabindex: shape === chosen ? 0 : -1,
        "aria-label":
          w("shapeLabel", shape, known ? text : w("noNumber")) + (served ? `, ${w("served")} ${servedAs(shape)}` : ""),
        onclick: () => choose(shape),
      },
      text,
      served ? h("span", { class: "served", "aria-hidden": "true" }, "●") : null,
    );
    if (known) paint(made, known.paint);
    return made;
  }

  function drawDetails() {
    const shape = known.shapes[chosen];
    const served = servedAs(chosen);
    const map = known.maps[drawn];
    const rows = [
      [w("parameters"), number(shape.parameters)],
      [w("size"), `${number(shape.megabytes, { maximumFractionDigits: 1 })} MB`],
      [w("compute"), `${number(shape.megaflops, { maximumFractionDigits: 1 })} MFLOP`],
      [w("hub"), shape.upstream_id, "code"],
      ...(map.tiles[chosen]?.model ? [[w("scoreFrom"), map.tiles[chosen].model]] : []),
      ...(served.length ? [[w("served"), served.join(", ")]] : []),
    ];
    const scores = Object.entries(shape.published ?? {}).map(([task, score]) =>
      h(
        "tr",
        {},
        h("th", { scope: "row" }, task === "score" ? w("score") : task),
        h("td", {}, number(score, { minimumFractionDigits: 1 })),
      ),
    );
    details.replaceChildren(
      h("h3", {}, chosen, shape.alias ? h("span", { class: "alias" }, ` ${shape.alias}`) : null),
      h("dl", {}, ...rows.flatMap(([term, value, kind]) => [h("dt", {}, term), h("dd", { class: kind }, value)])),
      scores.length
        ? h("table", { class: "plain-table" }, h("caption", {}, w("published")), h("tbody", {}, ...scores))
        : "",
    );
  }

  return {
    open(given) {
      asker.ask(facts, (family) => {
        known = family;
        const map = known.maps.findIndex((map) => key(map) === given.get("by"));
        choose(given.get("shape") in known.shapes ? given.get("shape") : chosen, map < 0 ? drawn : map);
      });
    },
    close: () => asker.stop(),
    redraw() {
      asker.redraw();
      draw();
    },
  };
}
