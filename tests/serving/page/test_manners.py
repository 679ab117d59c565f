"""The page in a real browser: trouble is told in words, and it is for everyone: keys, screens, languages, colours."""

from collections.abc import Callable, Iterator

import pytest

from tests.serving.page.browser import Page, as_screen
from tests.serving.page.test_views import ENTER, TEXT, answered, shown
from tests.serving.running import Running, running
from weixing.serving.limits import Limits
from weixing.serving.loading import loader

VIEWS = ("fill-mask", "similarity", "classify", "family", "runs")
NOTICE = "#view-fill-mask div.notice"
LEAST_CONTRAST = {True: 3.0, False: 4.5}  # of large text, and of other text: WCAG 2.2, level AA


@pytest.fixture
def small(page: Page) -> Iterator[None]:
    as_screen(page.driver, 360, 740)
    yield
    as_screen(page.driver, 1200, 900)


def wait_for(page: Page, view: str) -> None:
    """Until a view shows its results."""
    filled = {"fill-mask": "#blanks .bar", "similarity": "#heat-maps td", "classify": "#labels .bar",
              "family": "#matrix button", "runs": "#chart svg"}[view]  # fmt: skip
    page.until(lambda: page.all(filled) and not page.all("[aria-busy=true]"))


def test_a_busy_service_is_said_to_be_busy_and_asked_again(
    pages: Callable[[Running], Page], folders: dict[str, str]
) -> None:
    with running({"first": folders["first"]}, loader("auto", "float32"), Limits(requests=0)) as service:
        page = pages(service)
        page.open("fill-mask", ("text", TEXT), ("mask", "3"))
        page.until(lambda: page.text(NOTICE).startswith("The service is busy. Trying again in 1 s."))
        refused = 'weixing_requests_total{path="/fill-mask",status="429"}'
        page.until(lambda: service.metric(refused) >= 2)
        page.leave()
        assert all("429" in complaint for complaint in page.complaints())


def test_a_service_that_is_gone_is_told_and_found_again(
    pages: Callable[[Running], Page], folders: dict[str, str]
) -> None:
    models = {"first": folders["first"]}
    with running(models, loader("auto", "float32")) as service:
        page = pages(service)
        page.open("fill-mask", ("text", TEXT), ("mask", "3"))
        page.until(lambda: shown(page))
    page.one("#characters button").click()
    page.until(lambda: page.text(NOTICE).startswith("The service does not answer. It may have been stopped. Trying"))
    with running(models, loader("auto", "float32"), port=service.port) as again:
        page.one(f"{NOTICE} button").click()
        page.eventually(lambda: shown(page), answered(again, "[MASK]都是[MASK]京。"))
        page.eventually(lambda: page.text(f"{NOTICE} .problem"), "")
    assert all("ERR_CONNECTION_REFUSED" in complaint for complaint in page.complaints())


def test_a_token_is_asked_for_and_kept(pages: Callable[[Running], Page], folders: dict[str, str]) -> None:
    with running({"first": folders["first"]}, loader("auto", "float32"), token="open-sesame") as service:
        page = pages(service)
        page.driver.get(page.origin)
        page.eventually(lambda: page.text("#notice"), "This service asks for a token.")
        assert page.driver.switch_to.active_element.get_attribute("id") == "token"
        page.press("wrong", ENTER)
        page.eventually(lambda: page.text("#notice"), "That is not the token. Try another.")
        field = page.one("#token")
        field.clear()
        field.send_keys("open-sesame", ENTER)
        page.until(lambda: shown(page))
        assert not page.one("#main").find_element("css selector", "#token-form").is_displayed()
        page.driver.refresh()
        page.until(lambda: shown(page))
    assert all("401" in complaint for complaint in page.complaints())


def test_what_cannot_be_asked_is_said_in_words(page: Page) -> None:
    page.open("fill-mask", ("text", ""))
    page.eventually(lambda: page.text(NOTICE), "Type a sentence, or take an example.")
    page.type("#fill-text", "好" * 40 + "[MASK]")
    behind = "The masked characters lie behind the first 22 tokens, which is all that the model reads."
    page.eventually(lambda: page.text(NOTICE), behind)
    page.type("#fill-text", "[MASK]" + "好" * 20_000)
    page.eventually(lambda: page.text(NOTICE), "A text is too long: 20,006 characters, of at most 20,000.")
    page.type("#fill-text", "[MASK]" + "好" * 800_000)
    page.eventually(lambda: page.text(NOTICE), "That is too much text for one request.")
    page.open("similarity", ("text", "只有一句"))
    page.eventually(lambda: page.text("#view-similarity div.notice"), "Two sentences at least, one a line.")
    assert all("422" in complaint or "413" in complaint for complaint in page.complaints())


def test_the_browser_s_language_is_spoken_until_another_is_chosen(page: Page) -> None:
    agent = page.script("return navigator.userAgent")
    page.driver.execute_cdp_cmd("Network.setUserAgentOverride", {"userAgent": agent, "acceptLanguage": "zh-CN"})
    try:
        page.open("fill-mask", ("text", TEXT))
        page.eventually(lambda: page.text(NOTICE), "还没有遮住任何字，请点一个。")
        assert page.script("return document.documentElement.lang") == "zh-Hans"
        page.one("#language").click()
        page.eventually(lambda: page.text(NOTICE), "No character is masked. Click one.")
        page.driver.refresh()
        page.eventually(lambda: page.text(NOTICE), "No character is masked. Click one.")
        page.open("family", ("lang", "zh"))
        page.eventually(lambda: page.text("#matrix caption"), "五项任务平均，%")
        assert page.driver.title == "模型家族 · weixing 微型"
    finally:
        page.driver.execute_cdp_cmd("Network.setUserAgentOverride", {"userAgent": agent, "acceptLanguage": "en"})
        page.script("localStorage.clear()")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_phone_shows_all_without_scrolling_sideways(page: Page, small: None, language: str) -> None:
    page.open()
    for view in VIEWS:
        page.go(view, ("lang", language), *([("m", "first"), ("m", "second")] if view == "fill-mask" else []))
        wait_for(page, view)
        assert page.script("return document.documentElement.scrollWidth") <= 360, view
        assert page.script(TOO_SMALL) == [], view


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_from_its_background(page: Page, dark: bool) -> None:
    as_screen(page.driver, 1200, 900, dark=dark)
    try:
        page.open()
        for view in VIEWS:
            page.go(view)
            wait_for(page, view)
            measured = page.script(CONTRASTS)
            assert len(measured) > 20
            assert [line for line in measured if line["contrast"] < LEAST_CONTRAST[line["large"]]] == [], view
        paper = page.script("return getComputedStyle(document.body).backgroundColor")
        assert paper == ("rgb(20, 23, 27)" if dark else "rgb(251, 250, 247)")
    finally:
        as_screen(page.driver, 1200, 900)


def test_everything_has_a_name_for_those_who_cannot_see_it(page: Page) -> None:
    roles = {"button", "link", "textbox", "combobox", "checkbox", "image", "table", "navigation", "toolbar", "region"}
    page.open()
    for view in VIEWS:
        page.go(view)
        wait_for(page, view)
        tree = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        seen = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if not node["ignored"]]
        assert {"button", "link", "navigation", "heading"} <= {role for role, _ in seen}
        assert [role for role, name in seen if role in roles and not name.strip()] == [], view
        assert page.script("return document.querySelectorAll('main section:not([hidden]) h2').length") == 1


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_comes_up_without_jumps_and_tab_reaches_all_of_it_and_shows_where_it_is(page: Page, view: str) -> None:
    page.open(view)
    wait_for(page, view)
    assert page.script(SHIFTS) < 0.05
    expected = page.script(STOPS)
    assert len(expected) > 8
    reached = []
    for _ in expected:
        page.tab()
        place, outlined = page.script(
            "const here = document.activeElement, style = getComputedStyle(here);"
            "return [[...document.querySelectorAll('*')].indexOf(here),"
            "style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2]"
        )
        reached.append(place)
        assert outlined
    assert reached == expected


def test_nothing_jumps_when_a_character_is_masked(page: Page) -> None:
    page.open("fill-mask", ("text", TEXT))
    places = "return ['#characters', '#blanks'].map(one => document.querySelector(one).getBoundingClientRect().top)"
    before = page.script(places)
    for number in (4, 1):
        page.one(f"#characters button:nth-of-type({number})").click()
        assert page.script(places) == before
    page.until(lambda: shown(page))
    assert page.script(places) == before


TOO_SMALL = """
const all = [...document.querySelectorAll('a, button, select, textarea, input, summary')];
return all.filter(element => element.offsetParent && !element.matches('.skip, footer a'))
  .map(element => [element.closest('label')?.querySelector('input') === element ? element.closest('label') : element])
  .map(([element]) => [element.outerHTML.slice(0, 60), element.getBoundingClientRect()])
  .filter(([, {width, height}]) => width < 24 || height < 24).map(([name]) => name);
"""
STOPS = """
const all = [...document.querySelectorAll('*')];
return all.flatMap((element, place) => element.tabIndex >= 0 && !element.disabled
  && (element.checkVisibility({visibilityProperty: true})) ? [place] : []);
"""
SHIFTS = """
return await new Promise(done => {
  let sum = 0;
  new PerformanceObserver(list => list.getEntries().forEach(entry => sum += entry.value))
    .observe({type: 'layout-shift', buffered: true});
  setTimeout(() => done(sum), 50);
});
"""
CONTRASTS = """
const numbers = colour => colour.match(/[0-9.]+/g).map(Number);
const luminance = ([r, g, b]) => [r, g, b].map(c => c / 255)
  .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, place) => sum + c * [0.2126, 0.7152, 0.0722][place], 0);
const backdrop = element => {
  for (; element; element = element.parentElement) {
    const [r, g, b, a = 1] = numbers(getComputedStyle(element).backgroundColor);
    if (a === 1) return [r, g, b];
  }
  return [255, 255, 255];
};
const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const text = walker.currentNode.data.trim(), element = walker.currentNode.parentElement;
  if (!text || !element.checkVisibility() || element.closest('.spoken, .skip')) continue;
  const style = getComputedStyle(element), isSvg = element.namespaceURI.endsWith('svg');
  const colour = numbers(isSvg ? style.fill : style.color);
  const [a, b] = [luminance(colour), luminance(backdrop(element))].sort((x, y) => y - x);
  const size = parseFloat(style.fontSize);
  found.push({text: text.slice(0, 30), contrast: (a + 0.05) / (b + 0.05),
    large: size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700)});
}
return found;
"""
