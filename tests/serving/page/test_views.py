"""The page in a real browser: what its views show is what the service answers, by pointer and by keys."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.reporting.test_runs import REPORTS
from tests.serving.conftest import LABELS
from tests.serving.page.browser import Page
from tests.serving.running import Running
from weixing.zoo import ZOO

TEXT = "首都是北京。"
BUSY = "[aria-busy=true]"
DOWN, LEFT, RIGHT, SPACE, ENTER, HOME = "\ue015", "\ue012", "\ue014", " ", "\ue007", "\ue011"


def answered(service: Running, text: str, model: str = "first", top_k: int = 5) -> list[list[list[Any]]]:
    """Candidates of the service for each [MASK]: token and probability."""
    answer = service.ask("/fill-mask", {"texts": text, "model": model, "top_k": top_k}).json
    return [[[each["token_str"], each["score"]] for each in mask] for mask in answer["candidates"][0]]


def shown(page: Page) -> list[list[list[Any]]]:
    """Candidates on the page: of each list (blank by blank, in each model by model) token and probability."""
    if page.all(BUSY):
        return []
    return page.script(
        "return [...document.querySelectorAll('#blanks .bars')].map(list => [...list.children].map(row =>"
        "[row.querySelector('.name').textContent, Number(row.querySelector('data').value)]))"
    )


def characters(page: Page) -> str:
    """The row of characters, masked ones as their numbers."""
    return page.text("#characters")


def test_a_click_masks_a_character_and_shows_the_candidates_of_the_service(page: Page, exhibition: Running) -> None:
    page.open("fill-mask", ("text", TEXT), ("m", "first"))
    page.eventually(lambda: page.text("#view-fill-mask div.notice"), "No character is masked. Click one.")
    page.one("#characters button:nth-of-type(4)").click()
    page.eventually(lambda: shown(page), answered(exhibition, "首都是[MASK]京。"))
    assert characters(page) == "首都是1京。"
    assert page.one("#characters button:nth-of-type(4)").get_attribute("aria-pressed") == "true"
    widths = page.script(
        "return [...document.querySelectorAll('#blanks .bar')].map(bar =>"
        "bar.querySelector('.filled').offsetWidth / bar.querySelector('.track').offsetWidth)"
    )
    for width, (_, score) in zip(widths, answered(exhibition, "首都是[MASK]京。")[0], strict=True):
        assert width == pytest.approx(score, abs=0.02)
    page.one("#characters button:nth-of-type(4)").click()
    page.eventually(lambda: shown(page), [])
    assert characters(page) == TEXT


def test_keys_mask_characters_and_the_focus_stays(page: Page, exhibition: Running) -> None:
    page.open("fill-mask", ("text", TEXT), ("m", "first"))
    page.one("#characters button").send_keys(RIGHT)
    page.press(RIGHT, RIGHT, SPACE)
    page.eventually(lambda: shown(page), answered(exhibition, "首都是[MASK]京。"))
    assert page.driver.switch_to.active_element.get_attribute("aria-label") == "北, masked, character 4"
    page.press(RIGHT, ENTER)
    page.eventually(lambda: shown(page), answered(exhibition, "首都是[MASK][MASK]。"))
    assert characters(page) == "首都是12。"
    page.press(ENTER, LEFT, ENTER)
    page.eventually(lambda: characters(page), TEXT)


def test_a_candidate_is_taken_into_the_sentence(page: Page, exhibition: Running) -> None:
    page.open("fill-mask", ("text", TEXT), ("mask", "3,4"), ("m", "first"))
    both = answered(exhibition, "首都是[MASK][MASK]。")
    page.eventually(lambda: shown(page), both)
    token = both[0][1][0].removeprefix("##")
    page.all("#blanks .bars")[0].find_elements("css selector", "button")[1].click()
    page.eventually(lambda: shown(page), answered(exhibition, f"首都是{token}[MASK]。"))
    assert page.one("#fill-text").get_property("value") == f"首都是{token}京。"
    assert page.driver.switch_to.active_element.text == token


def test_typing_keeps_the_masks_and_typed_masks_count(page: Page, exhibition: Running) -> None:
    page.open("fill-mask", ("text", TEXT), ("mask", "3"), ("m", "first"))
    page.type("#fill-text", "中国首都是北京。")
    page.eventually(lambda: shown(page), answered(exhibition, "中国首都是[MASK]京。"))
    page.type("#fill-text", "中国首都是北[MASK]。")
    page.eventually(lambda: shown(page), answered(exhibition, "中国首都是[MASK][MASK]。"))
    assert characters(page) == "中国首都是12。"
    page.type("#fill-text", "中国首都是")
    page.eventually(lambda: characters(page), "中国首都是")
    page.type("#fill-text", "hello 世 12 3")
    page.eventually(lambda: len(page.all("#characters button")), 4)


def test_two_models_stand_side_by_side_and_the_address_brings_them_back(page: Page, exhibition: Running) -> None:
    page.open("fill-mask", ("text", TEXT), ("mask", "0,3"))
    page.choose("#view-fill-mask .picker label:nth-child(2) select", "second")
    page.choose("#fill-count", "10")
    masked = "[MASK]都是[MASK]京。"
    first, second = (answered(exhibition, masked, model, 10) for model in ("first", "second"))
    side_by_side = [first[0], second[0], first[1], second[1]]
    page.eventually(lambda: shown(page), side_by_side)
    assert page.fragment == f"#fill-mask?text={TEXT}&mask=0,3&m=first&m=second&k=10"
    page.driver.refresh()
    page.eventually(lambda: shown(page), side_by_side)
    titles = page.script(
        "return [...document.querySelectorAll('#blanks article:first-child h4')].map(h4 => h4.innerText)"
    )
    assert titles == ["first", "second"]


def test_the_heat_map_has_the_cosines_of_the_vectors(page: Page, exhibition: Running) -> None:
    texts = ["中国的首都", "北京上海", "你好世界", "一二三"]
    page.open("similarity", ("text", "\n".join(["", *texts, " "])), ("m", "second"), ("pooling", "cls"))
    page.eventually(lambda: len(page.all("#heat-maps td[data-value]")), 16)
    asked = {"texts": texts, "model": "second", "pooling": "cls"}
    vectors = np.array(exhibition.ask("/features", asked).json["vectors"])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = vectors @ vectors.T
    cells = page.script(
        "return [...document.querySelectorAll('#heat-maps td[data-value]')].map(cell =>"
        "[Number(cell.dataset.value), cell.innerText, getComputedStyle(cell).backgroundColor])"
    )
    np.testing.assert_allclose([value for value, _, _ in cells], expected.ravel(), atol=1e-6)
    assert [text for _, text, _ in cells] == [f"{value:.2f}" for value, _, _ in cells]
    scale = exhibition.ask("/family").json["scale"]
    assert cells[0][2] == _rgb(scale[-1]["background"])
    assert cells[int(expected.argmin())][2] == _rgb(scale[0]["background"])
    low = np.tril(expected, -1).argmax()
    assert f"Nearest: {low % 4 + 1} and {low // 4 + 1} ({np.tril(expected, -1).max():.2f})." in page.text("#heat-maps")


def test_labels_are_those_of_the_service(page: Page, exhibition: Running) -> None:
    page.open("classify", ("text", "你好\n中国"))
    read = (
        "return [...document.querySelectorAll('#labels .bars')].map(list => [...list.children].map(row =>"
        "({label: row.querySelector('.name').textContent, score: Number(row.querySelector('data').value)})))"
    )
    answer = exhibition.ask("/classify", {"texts": ["你好", "中国"], "model": "classifier"}).json["labels"]
    page.eventually(lambda: page.script(read), answer)
    assert {row["label"] for row in answer[0]} == set(LABELS)
    page.one("#view-classify summary").click()
    page.type("#classify-seconds", "世界\n上海")
    pairs = {"texts": ["你好", "中国"], "second_texts": ["世界", "上海"], "model": "classifier"}
    page.eventually(lambda: page.script(read), exhibition.ask("/classify", pairs).json["labels"])
    page.type("#classify-seconds", "世界")
    said = "2 texts, but 1 second ones: they must be as many, or none."
    page.eventually(lambda: page.text("#view-classify div.notice"), said)


def test_the_family_is_a_matrix_of_24_that_keys_move_in(page: Page, exhibition: Running) -> None:
    page.open("family", ("by", "size"), ("shape", "2/128"))
    page.eventually(lambda: len(page.all("#matrix button")), 24)
    tiles = page.script(
        "return [...document.querySelectorAll('#matrix button')].map(tile =>"
        "[tile.dataset.shape, Number(tile.dataset.value), getComputedStyle(tile).backgroundColor])"
    )
    assert [(name, value) for name, value, _ in tiles] == [
        (name, pytest.approx(shape.parameters / 1e6)) for name, shape in ZOO.items()
    ]
    size = next(map_ for map_ in exhibition.ask("/family").json["maps"] if map_["kind"] == "size")
    assert [colour for _, _, colour in tiles] == [_rgb(size["tiles"][name]["paint"]["background"]) for name in ZOO]
    page.one("#matrix button[aria-pressed=true]").send_keys(DOWN)
    page.press(RIGHT, ENTER)
    page.eventually(lambda: page.fragment, "#family?by=size&shape=4/256")
    assert page.driver.switch_to.active_element.get_attribute("data-shape") == "4/256"
    assert page.text("#shape h3") == "4/256 mini"
    assert f"{ZOO['4/256'].parameters:,}" in page.text("#shape")
    assert "75.9" in page.text("#shape")
    page.choose("#family-map", "0")
    page.eventually(lambda: page.text("#matrix caption"), "Mean of five tasks, %")
    assert len(page.all("#matrix .tile.empty")) == 24 - 5


def test_runs_are_curves_that_grow_while_they_go_on(page: Page, run_folders: dict[str, Path]) -> None:
    page.open("runs")
    page.eventually(lambda: len(page.all("#chart polyline")), 2)
    assert len(page.all("#chart circle")) == 2  # an evaluation of each
    points = page.script("return document.querySelector('#chart polyline').getAttribute('points').split(' ')")
    assert len(points) == 3
    page.choose("#horizontal", "tokens")
    page.one("#log-x").click()
    page.one("#log-y").click()
    page.eventually(lambda: page.fragment, "#runs?reading=train_loss&horizontal=tokens&log-x=1&log-y=1")
    assert "1,000" in page.text("#chart")
    page.one("#chart svg").send_keys(HOME)
    assert page.text("#readout").startswith("At 1,000 tokens:")
    assert "going 9" in page.text("#readout")
    page.one("#run-list input[data-run=done]").click()
    page.eventually(lambda: len(page.all("#chart polyline")), 1)
    with open(run_folders["going"] / "metrics.jsonl", "a") as stream:
        stream.write(json.dumps({**REPORTS[1], "step": 250, "tokens": 2500}) + "\n")
    page.eventually(lambda: len((page.all("#chart polyline") or [None])[0].get_attribute("points").split()), 3)
    assert "250 of 300" in page.text("#run-list")
    assert "run.json is none of `weixing pretrain`" in page.text("#run-list")


def _rgb(colour: str) -> str:
    return "rgb({}, {}, {})".format(*(int(colour[at : at + 2], 16) for at in (1, 3, 5)))
