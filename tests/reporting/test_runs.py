"""Run folders as curves: found, read, thinned, and told what is wrong with them."""

import json
import math
from itertools import pairwise
from pathlib import Path

import pytest

from weixing.errors import UserError
from weixing.reporting.runs import MOST_POINTS, READINGS, curves, require_folders, thinned


def write_run(run: Path, reports: list[dict], steps: int = 300, **settings: object) -> Path:
    run.mkdir(parents=True, exist_ok=True)
    recipe = {"name": "uer", "steps": steps}
    described = {"shape": {"layers": 2, "hidden": 128}, "recipe": recipe, "init": "/some/where", **settings}
    (run / "run.json").write_text(json.dumps({"kind": "pretrain", "settings": described}))
    (run / "metrics.jsonl").write_text("".join(json.dumps(report) + "\n" for report in reports))
    return run


REPORTS = [
    {"step": 100, "tokens": 1000, "seconds": 1.5, "train_loss": 9.0, "learning_rate": 1e-3, "grad_norm": 2.0,
     "tokens_per_second": 666.7},
    {"step": 200, "tokens": 2000, "seconds": 3.0, "train_loss": 8.0, "learning_rate": 1e-3, "grad_norm": 1.0,
     "tokens_per_second": 666.7},
    {"step": 200, "tokens": 2000, "eval_loss": 8.5, "eval_accuracy": 0.25},
]  # fmt: skip


def test_a_curve_has_every_reading_and_null_where_there_is_none(tmp_path: Path) -> None:
    [curve] = curves([write_run(tmp_path / "run", REPORTS)])
    assert (curve.name, curve.shape, curve.recipe, curve.steps) == ("run", "2/128", "uer", 300)
    assert (curve.finished, curve.problem) == (False, None)
    assert tuple(curve.readings) == READINGS
    assert curve.readings["step"] == [100, 200, 200]
    assert curve.readings["train_loss"] == [9.0, 8.0, None]
    assert curve.readings["eval_loss"] == [None, None, 8.5]


def test_runs_are_found_in_folders_and_told_apart_by_name(tmp_path: Path) -> None:
    for name in ("b/tiny", "a/tiny", "a/other"):
        write_run(tmp_path / name, [])
    (tmp_path / "a" / "nothing").mkdir()
    found = curves([tmp_path / "b" / "tiny", tmp_path / "a", tmp_path / "b" / "tiny"])
    assert [curve.name for curve in found] == ["tiny", "other", "tiny (2)"]


def test_a_run_that_goes_on_is_read_again_and_its_last_half_line_is_left_out(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", REPORTS[:1])
    assert curves([run])[0].readings["step"] == [100]
    with open(run / "metrics.jsonl", "a") as stream:
        stream.write(json.dumps(REPORTS[1]) + '\n{"step": 300, "tok')
    assert curves([run])[0].readings["step"] == [100, 200]
    with open(run / "metrics.jsonl", "a") as stream:
        stream.write('ens": 3000}\n')
    [curve] = curves([run])
    assert (curve.readings["step"], curve.finished) == ([100, 200, 300], True)


def test_a_run_that_began_just_now_has_no_readings(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [])
    (run / "metrics.jsonl").unlink()
    [curve] = curves([run])
    assert (curve.steps, curve.finished, curve.problem, curve.readings["step"]) == (300, False, None, [])


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("metrics.jsonl", b'{"step": 1}\nhello\n', "metrics.jsonl: this line is no report"),
        ("metrics.jsonl", b"\xff\xfe\n", "metrics.jsonl cannot be read"),
        ("metrics.jsonl", b"[1, 2]\n", "metrics.jsonl cannot be read"),
        ("run.json", b"[]", "run.json is none of `weixing pretrain`"),
        ("run.json", b"{", "run.json is none of `weixing pretrain`"),
        ("run.json", b'{"settings": {"shape": [2, 128]}}', "run.json is none of `weixing pretrain`"),
    ],
)
def test_what_is_wrong_with_a_run_is_said_without_its_path(
    tmp_path: Path, file: str, content: bytes, problem: str
) -> None:
    bad, good = (write_run(tmp_path / name, REPORTS) for name in ("bad", "good"))
    (bad / file).write_bytes(content)
    [first, second] = curves([bad, good])
    assert (first.problem, first.readings["step"]) == (problem, [])
    assert second.problem is None
    assert len(second.readings["step"]) == 3


def test_what_is_no_number_is_null(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [{"step": 1, "train_loss": math.nan, "grad_norm": "x", "tokens": True}])
    readings = curves([run])[0].readings
    assert (readings["step"], readings["grad_norm"], readings["tokens"]) == ([1], [None], [None])


def test_long_runs_are_thinned_evenly_and_keep_ends_and_evaluations() -> None:
    reports = [{"step": step, "train_loss": 1.0} for step in range(1, 25_001)]
    evaluations = [{"step": step, "eval_loss": 1.0} for step in range(100, 25_001, 100)]
    kept = thinned(sorted(reports + evaluations, key=lambda report: report["step"]))
    steps = [report["step"] for report in kept if "train_loss" in report]
    assert len(steps) == MOST_POINTS
    assert (steps[0], steps[-1]) == (1, 25_000)
    gaps = [b - a for a, b in pairwise(steps)]
    assert max(gaps) - min(gaps) <= 1
    assert [report for report in kept if "eval_loss" in report] == evaluations
    assert thinned(reports[:MOST_POINTS]) == reports[:MOST_POINTS]


def test_a_folder_that_is_not_there_is_refused_at_the_start(tmp_path: Path) -> None:
    require_folders([tmp_path])
    with pytest.raises(UserError, match="there is no such folder") as refusal:
        require_folders([tmp_path, tmp_path / "gone"], "--runs")
    assert refusal.value.where == f"--runs {tmp_path / 'gone'}"
    assert curves([tmp_path / "gone"]) == []
