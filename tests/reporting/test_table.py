"""The table: its numbers, worked out by hand."""

import json
import math
import random
from pathlib import Path

import pytest

from tests.reporting.hand_made import many, result, six
from weixing.errors import UserError
from weixing.reporting.published import SIX_TASKS, published_scores
from weixing.reporting.table import Entry, table
from weixing.tasks.results import Result, read_results, result_files, write_results


def entry_of(results: list[Result], column: str = "book_review", model: str | None = None) -> Entry:
    """The one entry of a column, of one model if there are several."""
    (entry,) = [e for e in table(results) if e.column == column and model in (None, e.model)]
    return entry


def altered(**changes: object) -> str:
    """A line of results.jsonl with other values."""
    return json.dumps(result(80.0).values() | changes)


def test_an_entry_has_the_best_run_and_the_spread_over_the_seeds_of_its_setting() -> None:
    runs = [result(80.0, seed=7), result(83.0, seed=8), result(86.0, seed=9), result(85.0, epochs=5)]
    entry = entry_of(runs)
    assert (entry.best, entry.epochs, entry.runs, entry.seeds) == (86.0, 3, 4, 3)
    assert (entry.mean, entry.spread) == (83.0, 3.0)


def test_a_seed_that_was_run_twice_is_one_seed() -> None:
    entry = entry_of([result(80.0, seed=7), result(84.0, seed=7), result(86.0, seed=8)])
    assert (entry.runs, entry.seeds, entry.mean) == (3, 2, 84.0)
    assert entry_of([result(80.0), result(84.0)]).spread is None


@pytest.mark.parametrize(("key", "one", "other"), [("max_length", 128, 64), ("data", "complete", "partial")])
def test_runs_that_differ_in_more_than_their_seed_have_no_common_spread(key: str, one, other) -> None:
    entry = entry_of([result(86.0, seed=7, **{key: one}), result(80.0, seed=8, **{key: other})])
    assert (entry.best, entry.runs, entry.seeds, entry.mean) == (86.0, 2, 1, 86.0)


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


def test_another_recipe_of_fine_tuning_is_a_row_of_its_own() -> None:
    runs = [
        result(80.0, model="tiny"),
        result(81.0, model="tiny", tuning={"teachers": ["base", "mini"], "r_drop": 0.5}),
        result(82.0, model="tiny", seed=8),
    ]
    entries = [entry for entry in table(runs) if entry.task == "book_review"]
    assert [(entry.model, entry.best, entry.runs) for entry in entries] == [
        ("tiny", 82.0, 2),
        ("tiny (r drop 0.5, teachers base, mini)", 81.0, 1),
    ]


def test_one_seed_has_no_spread_and_an_unknown_shape_no_published_score() -> None:
    entry = entry_of([result(80.0)])
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
    entry = entry_of([run])
    assert entry.published == 83.4
    assert entry.difference == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("details", "status", "remarks", "compared"),
    [
        ({}, "unrecorded", (), True),
        ({"data": "complete"}, "complete", (), True),
        ({"data": "partial", "data_note": "half"}, "partial", ("partial",), True),
        ({"data": "altered"}, "altered", ("altered",), False),
        ({"data": "custom"}, "custom", ("custom",), False),
        ({"data": "complete", "total": 4000}, "complete", ("other dev",), False),
        ({"data": "partial", "total": 4000}, "partial", ("partial", "other dev"), False),
        ({"data": "what?"}, "unrecorded", (), True),
    ],
)
def test_only_what_may_be_compared_has_a_difference(details, status: str, remarks, compared: bool) -> None:
    entry = entry_of([result(84.4, shape="2/128", **details)])
    assert (entry.status, entry.remarks, entry.published) == (status, remarks, 83.4)
    assert entry.data_note == details.get("data_note")
    assert (entry.difference is not None) == compared


def test_a_custom_task_has_data_of_its_own_which_is_no_remark() -> None:
    assert entry_of([result(80.0, task="own", data="custom")], "own").remarks == ()
    assert entry_of([result(80.0, task="own", data="partial")], "own").remarks == ("partial",)


def test_the_published_scores_of_tnews_are_those_of_tnews_keywords() -> None:
    runs = [
        result(55.0, task="tnews", shape="2/128", data="complete"),
        result(60.0, task="tnews_keywords", shape="2/128", data="complete"),
    ]
    headlines, keywords = entry_of(runs, "tnews"), entry_of(runs, "tnews_keywords")
    assert (headlines.published, headlines.difference) == (62.0, None)
    assert (keywords.published, keywords.difference) == (62.0, -2.0)
    smaller = result(60.0, task="tnews_keywords", shape="2/128", data="complete", total=100)
    assert entry_of([smaller], "tnews_keywords").remarks == ("other dev",)


def test_a_mean_with_tnews_keywords_is_a_column_of_its_own_that_compares_with_the_published_one() -> None:
    runs = [*six(80.0, "run", "2/128"), result(95.0, task="tnews_keywords", shape="2/128", data="complete")]
    score, as_published = table(runs)[:2]
    assert (score.column, as_published.column) == ("score", "score (tnews_keywords)")
    assert (score.best, as_published.best) == (82.5, 84.5)
    assert as_published.published == 72.3
    assert as_published.difference == pytest.approx(84.5 - 72.3, abs=0.051)
    assert as_published.difference_over == "book_review, chnsenticorp, lcqmc, tnews_keywords, iflytek, ocnli"
    alone = table(runs[-1:])
    assert [entry.column for entry in alone] == [
        "score", "score (tnews_keywords)", *SIX_TASKS, "tnews_keywords",
    ]  # fmt: skip
    assert alone[1].best is None


def test_the_score_is_the_mean_of_the_six_and_missing_until_all_are_there() -> None:
    runs = six(80.0, "run", "2/128")
    score = table(runs)[0]
    assert (score.column, score.best, score.mean, score.published) == ("score", 82.5, 82.5, 72.3)
    assert (score.status, score.data_note, score.remarks, score.seeds, score.runs) == ("complete", None, (), 1, 6)
    missing = table(runs[:-1])[0]
    assert (missing.best, missing.difference, missing.published, missing.status) == (None, None, 72.3, "missing")


def test_the_difference_of_the_score_is_over_the_tasks_that_have_one() -> None:
    runs = six(80.0, "run", "2/128")
    score = table(runs)[0]
    # 80, 81, 82, 84 and 85 less 83.4, 91.4, 81.8, 55.0 and 60.3: tnews is left out
    assert score.difference == pytest.approx((80 - 83.4 + 81 - 91.4 + 82 - 81.8 + 84 - 55.0 + 85 - 60.3) / 5)
    assert score.difference_over == "book_review, chnsenticorp, lcqmc, iflytek, ocnli"
    runs[2] = result(82.0, task="lcqmc", shape="2/128", data="altered")
    assert table(runs)[0].difference_over == "book_review, chnsenticorp, iflytek, ocnli"


def test_a_mean_with_parts_from_other_data_says_which() -> None:
    runs = six(80.0, "run", "2/128")
    runs[4] = result(52.0, task="iflytek", data="partial")
    runs[2] = result(82.0, task="lcqmc", total=100, data="complete")
    score = table(runs)[0]
    assert (score.status, score.data_note, score.remarks) == ("partial", "lcqmc, iflytek", ("parts",))


def test_the_mean_over_seeds_of_the_six_says_how_many_seeds_there_are_at_least() -> None:
    runs = [*six(80.0, "run", "2/128"), *six(78.0, "run", "2/128", seed=8), result(70.0, seed=9, data="complete")]
    score = table(runs)[0]
    assert score.seeds == 2
    assert score.mean == pytest.approx(((80 + 78 + 70) / 3 + 80 + 81 + 82 + 83 + 84) / 6)


def test_the_published_score_is_the_mean_of_the_published_six() -> None:
    assert sorted(published_scores()) == ["12/768", "2/128", "4/256", "4/512", "8/512"]
    for scores in published_scores().values():
        assert scores["score"] == pytest.approx(sum(scores[task] for task in SIX_TASKS) / 6, abs=0.051)


def test_custom_tasks_alone_have_no_published_columns() -> None:
    assert [entry.task for entry in table([result(80.0, task="b"), result(81.0, task="a")])] == ["a", "b"]


def columns(*runs: Result) -> dict[str, float]:
    """Column to best score, of what was run."""
    return {entry.column: entry.best for entry in table(runs) if entry.best is not None}


def test_another_split_is_a_column_of_its_own_without_a_published_score() -> None:
    runs = [result(80.0, shape="2/128"), result(90.0, split="test", shape="2/128")]
    assert columns(*runs) == {"book_review": 80.0, "book_review (test)": 90.0}
    assert entry_of(runs, "book_review (test)").published is None


def test_another_metric_is_a_column_of_its_own() -> None:
    runs = [result(80.0, task="own"), result(70.0, task="own", metric="entity_f1")]
    assert columns(*runs) == {"own": 80.0, "own (entity f1)": 70.0}
    assert columns(result(1.0, task="own", metric="spearman", split="test")) == {"own (test, spearman)": 1.0}


def test_another_dev_set_is_a_column_of_its_own() -> None:
    assert columns(result(80.0, task="own", total=50), result(70.0, task="own", total=2000)) == {
        "own": 70.0,
        "own (n = 50)": 80.0,
    }
    assert columns(result(80.0), result(70.0, total=90_000)) == {"book_review": 80.0, "book_review (n = 90000)": 70.0}
    public = [result(80.0, dev_sha256="a", data="complete"), result(81.0, dev_sha256="b", data="partial")]
    assert columns(*public) == {"book_review": 81.0}
    altered = result(90.0, dev_sha256="c" * 64, data="altered")
    assert columns(*public, altered) == {"book_review": 81.0, "book_review (n = 8000, cccccc)": 90.0}
    of_equal_size = [result(80.0, task="own", dev_sha256="a" * 64), result(70.0, task="own", dev_sha256="b" * 64)]
    assert columns(*of_equal_size) == {"own": 80.0, "own (n = 100, bbbbbb)": 70.0}


def test_the_order_of_results_decides_that_of_models_and_nothing_else() -> None:
    runs = many()
    wanted = table(runs)
    random.Random(1).shuffle(runs)
    by_model = {entry.model: [e for e in wanted if e.model == entry.model] for entry in wanted}
    for entry in table(runs):
        assert entry == by_model[entry.model].pop(0)
    assert not any(by_model.values())


def test_results_survive_the_file_and_count_once_when_met_twice(tmp_path: Path) -> None:
    file = tmp_path / "one" / "results.jsonl"
    runs = many()
    write_results(file, runs)
    read = read_results([tmp_path, file])
    assert read == runs
    assert [run.details for run in read] == [run.details for run in runs]


@pytest.mark.parametrize(
    ("content", "place", "message"),
    [
        ("", "", "the file is empty"),
        ("{", ":1", "not JSON"),
        ("[]", ":1", "not a JSON object"),
        ('{"model": "a"}', ":1", "there is no task"),
        ('{"model": 3}', ":1", "model is 3"),
        ("[" * 100_000, ":1", "not JSON"),
        (altered(score=math.nan), ":1", "score is NaN. Accepted: a number as score"),
        (altered(seed=True), ":1", "seed is true"),
        (altered(epochs=1.5), ":1", "epochs is 1.5. Accepted: a whole number as epochs"),
        (altered(tuning=[1]), ":1", "tuning is [1]"),
        (altered(weights=5), ":1", "weights is 5"),
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


def test_a_file_that_is_met_twice_counts_once(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write_results(tmp_path / name / "results.jsonl", [result(80.0)])
    files = [tmp_path / "a" / "results.jsonl", tmp_path / "b" / "results.jsonl"]
    assert result_files([tmp_path, *files]) == files
    assert result_files(files[1:]) == files[1:]
