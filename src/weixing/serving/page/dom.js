/* Elements. No text is ever read as HTML. */

const SVG = "http://www.w3.org/2000/svg";

/** An element with properties (on… are listeners, null and false are left out) and children. */
export function h(tag, properties = {}, ...children) {
  return build(document.createElement(tag), properties, children);
}

/** The same in SVG. */
export function svg(tag, properties = {}, ...children) {
  return build(document.createElementNS(SVG, tag), properties, children);
}

function build(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const find = (selector, root = document) => root.querySelector(selector);

/** Background and ink of an element, as the service gives them. */
export function paint(element, { background, ink }) {
  element.style.backgroundColor = background;
  element.style.color = ink;
}

/** Calls what it is given when no more calls have come for some milliseconds. */
export function debounced(act, milliseconds) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(act, milliseconds);
  };
}

/** Hears what is typed into a field, but not the halves of a character while an input method composes it. */
export function onTyped(field, act) {
  field.addEventListener("input", (event) => event.isComposing || act());
  field.addEventListener("compositionend", () => act());
}

/** One tab stop for a group of elements: arrow keys, Home and End move in it. `columns`: of a grid, 0 for a row. */
export function roving(host, selector, columns = 0) {
  const all = () => [...host.querySelectorAll(selector)];
  host.addEventListener("keydown", (event) => {
    const places = all();
    const here = places.indexOf(document.activeElement);
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns || 1, ArrowUp: -(columns || 1) };
    let next = here + (steps[event.key] ?? 0);
    if (event.key === "Home") next = 0;
    else if (event.key === "End") next = places.length - 1;
    else if (!(event.key in steps)) return;
    if (here < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    if (places[next]) places[next].focus();
  });
  host.addEventListener("focusin", (event) => {
    if (!event.target.matches(selector)) return;
    for (const place of all()) place.tabIndex = place === event.target ? 0 : -1;
  });
}
