"""The page: what it says, that it is sound HTML, and that it needs nothing from elsewhere."""

from html.parser import HTMLParser

import pytest

from tests.reporting.golden import assert_is_golden
from tests.reporting.hand_made import many, result
from weixing.reporting.page import page
from weixing.reporting.provenance import Provenance, Source
from weixing.reporting.table import table

PROVENANCE = Provenance("weixing table 'my <runs>'", (Source("my <runs>/results.jsonl", "0" * 64, 12),), "1.2.3")
VOID = {"meta", "link", "br", "img", "hr"}


class Reader(HTMLParser):
    """What a page holds; fails where a tag is not closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.values: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attributes) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        if self.open and self.open[-1] == "data":
            self.values.append((self.tags[-1][1]["value"] or "", text))

    def attributes(self, name: str) -> list[str]:
        return [value for _, attributes in self.tags if (value := attributes.get(name))]


def without_style(text: str) -> str:
    before, _, rest = text.partition("<style>")
    return before + rest.partition("</style>")[2]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page(language: str) -> None:
    text = page(table(many()), language, provenance=PROVENANCE, speeds={"2/128": 3818.64, "12/768": 20.5})
    assert_is_golden(without_style(text), f"page.{language}.html")


@pytest.mark.parametrize("provenance", [None, PROVENANCE])
def test_it_is_sound_and_needs_nothing_from_elsewhere(provenance: Provenance | None) -> None:
    text = page(table(many()), provenance=provenance)
    read = Reader(text)
    tags = {tag for tag, _ in read.tags}
    assert not tags & {"script", "link", "img", "iframe", "object", "base"}
    assert not read.attributes("src")
    assert all(target.startswith("#") for target in read.attributes("href"))
    assert "url(" not in text
    assert "@import" not in text
    assert dict(read.tags)["html"] == {"lang": "en"}


def test_every_footnote_is_there_and_every_mark_leads_to_one() -> None:
    read = Reader(page(table(many())))
    names = read.attributes("id")
    assert len(set(names)) == len(names)
    targets = {target.removeprefix("#") for target in read.attributes("href")}
    assert targets == set(names)


def test_numbers_are_rounded_for_people_and_in_full_for_machines() -> None:
    read = Reader(page(table([result(84.44, shape="2/128"), result(84.04, shape="2/128", seed=8)])))
    assert ("84.44", "84.4") in read.values
    assert (repr(84.44 - 83.4), "+1.0") in read.values
    assert all(float(text.strip("*†").replace("−", "-").replace(",", "")) == pytest.approx(float(value), abs=0.06)
               for value, text in read.values if float(value) < 1000)  # fmt: skip


def test_headings_name_rows_and_columns_for_those_who_cannot_see_the_table() -> None:
    read = Reader(page(table(many())))
    scopes = [attributes.get("scope") for tag, attributes in read.tags if tag == "th"]
    assert scopes.count("row") >= 3
    assert set(scopes) == {"row", "col", None}
    maps = sum(tag == "figure" for tag, _ in read.tags)
    assert scopes.count(None) == maps  # the corner of each map
    assert sum(tag == "caption" for tag, _ in read.tags) == maps


def test_a_map_is_drawn_of_what_was_run_of_the_family() -> None:
    def maps(*runs) -> int:
        return page(table(runs)).count("<figure>")

    assert maps(result(80.0, task="own", shape="2/128")) == 3
    assert maps(result(80.0, task="own", shape="3/192")) == 2
    assert maps(result(80.0, shape="2/128")) == 4  # the mean, as published, and this task


def test_names_are_escaped() -> None:
    text = page(table(many()), provenance=PROVENANCE)
    assert "tiny|&lt;b&gt;" in text
    assert "my &lt;runs&gt;/results.jsonl" in text
    assert "<b>" not in text
    assert "<runs>" not in text
