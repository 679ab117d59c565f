"""What a table looks like as Markdown, CSV and JSON."""

import csv
import io
import json

import pytest

from tests.reporting.golden import assert_is_golden
from tests.reporting.hand_made import many, result, six
from weixing.reporting.rendering import FORMATS, render
from weixing.reporting.sheet import sheet
from weixing.reporting.table import table


@pytest.mark.parametrize("language", ["en", "zh"])
def test_markdown(language: str) -> None:
    assert_is_golden(render(table(many()), "markdown", language), f"table.{language}.md")


def test_a_cell_tells_of_how_many_runs_and_seeds_it_is() -> None:
    def cell(*runs) -> str:
        line = render(table(runs), "markdown").splitlines()[2]
        return line.split(" | ")[1].removesuffix(" |")

    def run(score: float, **other):
        return result(score, task="own", **other)

    assert cell(run(80.0)) == "80.0 (1 seed)"
    assert cell(run(80.0), run(70.0, epochs=5)) == "80.0 (best of 2; 1 seed)"
    assert cell(run(80.0), run(77.0, seed=8), run(70.0, epochs=5)) == "80.0 (best of 3; 78.5 ± 2.1, 2 seeds)"


def test_the_mean_of_six_has_the_mean_over_seeds_beside_it() -> None:
    one = six(80.0, "run", "3/192")
    assert "| run | 82.5 | 80.0 (1 seed) |" in render(table(one), "markdown")
    two = render(table([*one, *six(79.0, "run", "3/192", seed=8)]), "markdown")
    assert "| run | 82.5 (mean over seeds 82.0) | 80.0 (best of 2; 79.5 ± 0.7, 2 seeds) |" in two


def test_what_is_not_shown_is_not_explained() -> None:
    text = render(table([result(80.0, task="own")]), "markdown")
    assert "ublished" not in text
    assert "–" not in text
    assert len(text.splitlines()) == 5


def test_equal_footnotes_are_one_and_are_numbered_as_they_are_met() -> None:
    laid_out = sheet(table([*six(80.0, "a", "2/128"), *six(81.0, "b", "4/256")]))
    assert [note.partition(":")[0] for note in laid_out.notes] == ["tnews", "mean difference over book_review, "
        "chnsenticorp, lcqmc, iflytek, ocnli"]  # fmt: skip
    marks = [cell.marks for row in laid_out.rows for cell in row.cells if cell.marks]
    assert marks == [(1,), (1,), (2,), (1,)] * 2


def test_csv_and_json_have_every_number_in_full_and_say_the_same() -> None:
    entries = table(many())
    as_json = json.loads(render(entries, "json"))
    as_csv = list(csv.DictReader(io.StringIO(render(entries, "csv"))))
    assert as_json[1]["best"] == 84.44
    assert as_json[1]["mean"] == pytest.approx(84.24, abs=1e-12)
    assert as_json[3]["data_note"] == "train is test.txt, 12,500 rows"
    assert [{key: "" if value is None else str(value) for key, value in row.items()} for row in as_json] == as_csv


def test_data_are_the_same_in_both_languages() -> None:
    for form in ("csv", "json"):
        assert render(table(many()), form, "zh") == render(table(many()), form, "en")


@pytest.mark.parametrize("form", FORMATS)
def test_every_rendering_ends_with_one_line_feed(form: str) -> None:
    text = render(table(many()), form)
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
