/* Shares as bars, likeliest first: for candidates and labels alike. */

import { h } from "./dom.js";
import { number, percent } from "./words.js";

/** A list of rows {text, share, onclick, label}. With `onclick` a row is a button. Outside 0 to 1 they are numbers. */
export function bars(rows, title) {
  const areShares = rows.every(({ share }) => share >= 0 && share <= 1);
  return h("ol", { class: "bars", "aria-label": title }, ...rows.map((row) => h("li", {}, bar(row, areShares))));
}

function bar({ text, share, onclick, label }, isShare) {
  const filled = h("span", { class: "filled" });
  filled.style.width = isShare ? `${100 * share}%` : "0";
  const parts = [
    h("span", { class: "name", lang: "zh-Hans" }, text),
    h("span", { class: "track", "aria-hidden": "true" }, filled),
    h("data", { class: "share", value: share }, isShare ? percent(share) : number(share)),
  ];
  if (onclick) return h("button", { type: "button", class: "bar", "aria-label": label, onclick }, ...parts);
  return h("div", { class: "bar" }, ...parts);
}
