/* Starts the page: language, token, models, and the view that the address names: #VIEW?what=it&shows. */

import { useToken } from "./api.js";
import { Asker } from "./asking.js";
import { classify } from "./classify.js";
import { find } from "./dom.js";
import { family } from "./family.js";
import { fillMask } from "./fill_mask.js";
import { load } from "./models.js";
import { runs } from "./runs.js";
import { similarity } from "./similarity.js";
import { WORDS, language, preferred, speak, w } from "./words.js";

const VIEWS = { "fill-mask": fillMask, similarity, classify, family, runs };
const MOST_REMEMBERED = 4000; // characters of a text: browsers do not take addresses of any length

const views = {};
let here = null;

let linked = null; // a language that the address names

const notice = new Asker(find("#notice"), find("#main"));
const form = find("#token-form");

/** Write what a view shows into the address, and into its link, so that it is found again there; but no long texts. */
function remember(name, shows) {
  const pairs = shows.filter(([, value]) => value.length <= MOST_REMEMBERED);
  const address = `#${name}?${new URLSearchParams(linked ? [...pairs, ["lang", linked]] : pairs)}`;
  find(`nav a[data-view="${name}"]`).href = address;
  if (here === name) history.replaceState(null, "", address);
}

/** Show the view that the address names. */
function route() {
  const [named, parameters = ""] = location.hash.slice(1).split("?");
  const name = named in VIEWS ? named : "fill-mask";
  const given = new URLSearchParams(parameters);
  if (given.get("lang") in WORDS) {
    linked = given.get("lang");
    speak(linked);
  }
  if (here && here !== name) views[here].close();
  here = name;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    find(`#view-${link.dataset.view}`).hidden = link.dataset.view !== name;
  }
  views[name] ??= VIEWS[name](find(`#view-${name}`), (pairs) => remember(name, pairs));
  entitle();
  views[name].open(given);
}

function entitle() {
  if (here) document.title = `${w(find(`nav a[data-view="${here}"]`).dataset.word)} · weixing 微型`;
}

/** Ask for the models, then show what the address names; once more after a token was given. */
function start() {
  notice.say("loading");
  notice.ask(load, () => {
    form.hidden = true;
    route();
  });
}

find("#language").addEventListener("click", () => {
  linked = null;
  speak(language() === "zh" ? "en" : "zh", true);
  notice.redraw();
  entitle();
  views[here]?.redraw();
});

find(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  find("#main").focus();
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  useToken(find("#token").value.trim());
  start();
});

Asker.onUnauthorized = () => {
  form.hidden = false;
  find("#token").focus();
};

speak(preferred());
addEventListener("hashchange", () => here && route());
start();
