/* Lines over two axes, linear or logarithmic, as SVG; a cursor reads them. */

import { h, svg } from "./dom.js";

const MARGIN = { top: 26, right: 14, bottom: 40, left: 52 };
const MOST_TICKS = { x: 7, y: 6 };

/**
 * Draws into `host` series {name, colour, dash, points: [[x, y]…], dots}; those with `dots` as dots, else as a line.
 *
 * Options: logX, logY, labelX, labelY, title, format (of a tick), onread(x, [[series, point]…]) when a value is read.
 */
export function chart(host, series, options) {
  const width = Math.max(host.clientWidth, 240);
  const height = host.clientHeight;
  const fits = ([x, y]) =>
    Number.isFinite(x) && Number.isFinite(y) && (!options.logX || x > 0) && (!options.logY || y > 0);
  const drawn = series.map((one) => ({ ...one, points: one.points.filter(fits) })).filter((one) => one.points.length);
  host.replaceChildren();
  if (!drawn.length) return;
  const all = drawn.flatMap((one) => one.points);
  const x = axis(
    all.map((point) => point[0]),
    options.logX,
    MARGIN.left,
    width - MARGIN.right,
    MOST_TICKS.x,
  );
  const y = axis(
    all.map((point) => point[1]),
    options.logY,
    height - MARGIN.bottom,
    MARGIN.top,
    MOST_TICKS.y,
  );
  const picture = svg("svg", {
    viewBox: `0 0 ${width} ${height}`,
    width,
    height,
    role: "img",
    tabindex: 0,
    "aria-label": options.title,
  });
  picture.append(...ticks(x, y, width, height, options));
  for (const { points, colour, dash, dots } of drawn) {
    const places = points.map(([px, py]) => [x.place(px).toFixed(1), y.place(py).toFixed(1)]);
    if (dots || points.length === 1)
      picture.append(...places.map(([cx, cy]) => svg("circle", { cx, cy, r: 3, fill: colour })));
    if (!dots) {
      const line = { points: places.map((place) => place.join()).join(" "), stroke: colour, "stroke-dasharray": dash };
      picture.append(svg("polyline", { fill: "none", "stroke-width": 1.8, "stroke-linejoin": "round", ...line }));
    }
  }
  readable(picture, drawn, x, height, options.onread);
  host.append(picture);
}

/** Values to places on the screen: {place(value), ticks}. */
export function axis(values, logarithmic, from, to, most) {
  const scaled = logarithmic ? Math.log10 : (value) => value;
  let [low, high] = [Infinity, -Infinity];
  for (const value of values.map(scaled)) [low, high] = [Math.min(low, value), Math.max(high, value)];
  if (low === high) {
    const room = logarithmic ? 0.1 : Math.abs(low || 1) / 2;
    [low, high] = [low - room, high + room];
  }
  const margin = (high - low) * 0.03;
  [low, high] = [low - margin, high + margin];
  const place = (value) => from + ((scaled(value) - low) / (high - low)) * (to - from);
  const round = logarithmic && high - low > 0.7 ? powers(low, high, most) : even(low, high, logarithmic, most);
  return { place, ticks: round };
}

/** Round numbers between two bounds (of logarithms, where `logarithmic`), evenly apart. */
function even(low, high, logarithmic, most) {
  const [first, last] = logarithmic ? [10 ** low, 10 ** high] : [low, high];
  const rough = (last - first) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * power).find((size) => size >= rough);
  const found = [];
  for (let count = Math.ceil(first / step); count * step <= last; count += 1)
    found.push(Number((count * step).toPrecision(12)));
  return found;
}

/** Powers of ten between two logarithms, and 2 and 5 times them where there is room. */
function powers(low, high, most) {
  const decades = Math.floor(high) - Math.floor(low) + 1;
  const times = decades * 3 <= most * 1.5 ? [1, 2, 5] : [1];
  const gap = Math.ceil(decades / most);
  const found = [];
  for (let power = Math.floor(low); power <= high; power += gap) found.push(...times.map((time) => time * 10 ** power));
  return found.filter((value) => Math.log10(value) >= low && Math.log10(value) <= high);
}

function ticks(x, y, width, height, { labelX, labelY, format }) {
  const bottom = height - MARGIN.bottom;
  const right = width - MARGIN.right;
  const down = x.ticks.flatMap((value) => [
    svg("line", { class: "grid", x1: x.place(value), x2: x.place(value), y1: MARGIN.top, y2: bottom }),
    svg("text", { x: x.place(value), y: bottom + 16, "text-anchor": "middle" }, format(value)),
  ]);
  const across = y.ticks.flatMap((value) => [
    svg("line", { class: "grid", x1: MARGIN.left, x2: right, y1: y.place(value), y2: y.place(value) }),
    svg("text", { x: MARGIN.left - 6, y: y.place(value) + 4, "text-anchor": "end" }, format(value)),
  ]);
  return [
    ...down,
    ...across,
    svg("text", { class: "axis", x: right, y: height - 6, "text-anchor": "end" }, labelX),
    svg("text", { class: "axis", x: 0, y: 12 }, labelY),
  ];
}

/** A cursor that follows the pointer and the arrow keys, and tells what is there. */
function readable(picture, drawn, x, height, onread) {
  const places = [...new Set(drawn.flatMap(({ points }) => points.map((point) => point[0])))].sort((a, b) => a - b);
  const cursor = svg("line", { class: "cursor", y1: MARGIN.top, y2: height - MARGIN.bottom, visibility: "hidden" });
  picture.append(cursor);
  let here = places.length - 1;
  const nearest = (list, value, of) =>
    list.reduce((a, b) => (Math.abs(x.place(of(b)) - value) < Math.abs(x.place(of(a)) - value) ? b : a));
  const read = (index) => {
    here = Math.min(Math.max(index, 0), places.length - 1);
    const at = x.place(places[here]);
    cursor.setAttribute("x1", at);
    cursor.setAttribute("x2", at);
    cursor.setAttribute("visibility", "visible");
    onread(
      places[here],
      drawn.map((one) => [one, nearest(one.points, at, (point) => point[0])]),
    );
  };
  picture.addEventListener("pointermove", (event) => {
    const at = event.clientX - picture.getBoundingClientRect().left;
    read(places.indexOf(nearest(places, at, (value) => value)));
  });
  picture.addEventListener("keydown", (event) => {
    const stride = Math.max(1, Math.round(places.length / 50));
    const next = { ArrowLeft: here - stride, ArrowRight: here + stride, Home: 0, End: places.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    read(next);
  });
}

/** A line of the kind that stands for a series, for a legend. */
export function sample(colour, dash) {
  const line = svg("line", {
    x1: 1,
    x2: 27,
    y1: 6,
    y2: 6,
    stroke: colour,
    "stroke-width": 2.5,
    "stroke-dasharray": dash,
  });
  return h("span", { class: "sample", "aria-hidden": "true" }, svg("svg", { width: 28, height: 12 }, line));
}
