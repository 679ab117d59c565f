"""The table: its numbers, worked out by hand, and its four renderings."""

import csv
import io
import json
from pathlib import Path

import pytest

from weixing.errors import UserError
from weixing.reporting.rendering import FORMATS, render
from weixing.reporting.table import SIX_TASKS, published_scores, table
from weixing.tasks.results import Result, read_results, write_results


def result(score: float, *, model="run", task="book_review", seed=7, epochs=3, split="dev", **details) -> Result:
    return Result(
        model, task, split, "accuracy", score, epochs, 32, 1e-4, seed, 1.5, 30, round(score), 100, details=details
    )  # fmt: skip


def test_an_entry_has_the_best_run_and_the_spread_over_the_seeds_of_its_setting() -> None:
    runs = [result(80.0, seed=7), result(83.0, seed=8), result(86.0, seed=9), result(85.0, epochs=5)]
    entry = next(entry for entry in table(runs) if entry.task == "book_review")
    assert (entry.best, entry.epochs, entry.runs, entry.seeds) == (86.0, 3, 4, 3)
    assert (entry.mean, entry.spread) == (83.0, 3.0)


def test_a_seed_that_was_run_twice_is_one_seed() -> None:
    entry = table([result(80.0, seed=7), result(84.0, seed=7), result(86.0, seed=8)])[1]
    assert (entry.runs, entry.seeds, entry.mean) == (3, 2, 84.0)
    assert table([result(80.0), result(84.0)])[1].spread is None


def test_models_of_one_name_with_other_weights_are_rows_of_their_own() -> None:
    runs = [
        result(80.0, model="tiny", weights="a"),
        result(90.0, model="tiny", weights="b"),
        result(70.0, model="mini", weights="c"),
        result(81.0, model="tiny", weights="a", seed=8),
    ]
    entries = [entry for entry in table(runs) if entry.task == "book_review"]
    assert [(entry.model, entry.weights, entry.best, entry.runs) for entry in entries] == [
        ("tiny", "a", 81.0, 2),
        ("tiny (2)", "b", 90.0, 1),
        ("mini", "c", 70.0, 1),
    ]


def test_one_seed_has_no_spread_and_an_unknown_shape_no_published_score() -> None:
    entry = next(entry for entry in table([result(80.0)]) if entry.task == "book_review")
    assert (entry.mean, entry.spread, entry.published, entry.difference) == (80.0, None, None, None)


@pytest.mark.parametrize(
    "run",
    [
        result(84.4, shape="2/128"),
        result(84.4, model="2/128"),
        result(84.4, model="tiny"),
        result(84.4, model="uer/chinese_roberta_L-2_H-128"),
    ],
)
def test_a_model_of_a_published_shape_stands_beside_the_published_score(run: Result) -> None:
    entry = next(entry for entry in table([run]) if entry.task == "book_review")
    assert entry.published == 83.4
    assert entry.difference == pytest.approx(1.0)


def test_the_score_is_the_mean_of_the_six_and_missing_until_all_are_there() -> None:
    runs = [result(80.0 + number, task=task, shape="2/128") for number, task in enumerate(SIX_TASKS)]
    assert table(runs)[0].task == "score"
    assert table(runs)[0].best == 82.5
    assert table(runs)[0].difference == pytest.approx(82.5 - 72.3)
    assert table(runs[:-1])[0].best is None
    assert table(runs[:-1])[0].published == 72.3


def test_the_published_score_is_the_mean_of_the_published_six() -> None:
    assert sorted(published_scores()) == ["12/768", "2/128", "4/256", "4/512", "8/512"]
    for scores in published_scores().values():
        assert scores["score"] == pytest.approx(sum(scores[task] for task in SIX_TASKS) / 6, abs=0.051)


def test_custom_tasks_alone_have_no_published_columns() -> None:
    assert [entry.task for entry in table([result(80.0, task="b"), result(81.0, task="a")])] == ["a", "b"]


def test_another_split_is_a_column_of_its_own() -> None:
    entries = table([result(80.0, shape="2/128"), result(90.0, split="test", shape="2/128")])
    assert {entry.task: (entry.best, entry.published) for entry in entries if entry.best} == {
        "book_review": (80.0, 83.4),
        "book_review (test)": (90.0, None),
    }


RUNS = [
    result(84.44, model="mine|<b>", shape="2/128"),
    result(84.04, model="mine|<b>", shape="2/128", seed=8),
    result(70.0, model="mine|<b>", task="own", shape="2/128"),
    result(64.5, model="other", task="own"),
]


def test_markdown() -> None:
    assert render(table(RUNS), "markdown").splitlines() == [
        "| model | score | book_review | chnsenticorp | lcqmc | tnews | iflytek | ocnli | own |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| mine\\|<b> | – | 84.4 (84.2 ± 0.3 of 2 seeds; best of 2 runs) | – | – | – | – | – | 70.0 |",
        "| published 2/128 | 72.3 | 83.4 | 91.4 | 81.8 | 62.0 | 55.0 | 60.3 | – |",
        "| difference | – | +1.0 | – | – | – | – | – | – |",
        "| other | – | – | – | – | – | – | – | 64.5 |",
    ]


def test_html_is_escaped() -> None:
    text = render(table(RUNS), "html")
    assert "<td>mine|&lt;b&gt;</td><td>–</td><td>84.4 (84.2 ± 0.3 of 2 seeds; best of 2 runs)</td>" in text
    assert text.count("<tr>") == text.count("</tr>") == 5
    assert "<b>" not in text


def test_csv_and_json_have_every_number_in_full_and_say_the_same() -> None:
    entries = table(RUNS)
    as_json = json.loads(render(entries, "json"))
    as_csv = list(csv.DictReader(io.StringIO(render(entries, "csv"))))
    assert as_json[1]["best"] == 84.44
    assert as_json[1]["mean"] == pytest.approx(84.24, abs=1e-12)
    assert [{key: "" if value is None else str(value) for key, value in row.items()} for row in as_json] == as_csv


def test_results_survive_the_file_and_count_once_when_met_twice(tmp_path: Path) -> None:
    file = tmp_path / "one" / "results.jsonl"
    write_results(file, RUNS)
    read = read_results([tmp_path, file])
    assert read == RUNS
    assert [run.details for run in read] == [run.details for run in RUNS]


@pytest.mark.parametrize(
    ("content", "place", "message"),
    [
        ("", "", "the file is empty"),
        ("{", ":1", "not JSON"),
        ("[]", ":1", "not a JSON object"),
        ('{"model": "a"}', ":1", "there is no task"),
        ('{"model": 3}', ":1", "model is 3"),
    ],
)
def test_what_is_no_result_is_named_with_its_line(tmp_path: Path, content: str, place: str, message: str) -> None:
    file = tmp_path / "results.jsonl"
    file.write_text(content)
    with pytest.raises(UserError) as caught:
        read_results([file])
    assert str(caught.value).startswith(f"{file}{place}: {message}")


def test_a_folder_without_results_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no results.jsonl in this folder"):
        read_results([tmp_path])
    with pytest.raises(UserError, match="there is no such file or folder"):
        read_results([tmp_path / "none.jsonl"])


@pytest.mark.parametrize("form", FORMATS)
def test_every_rendering_ends_with_one_line_feed(form: str) -> None:
    text = render(table(RUNS), form)
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
