"""Two models compared from their folders: which runs stand for them, and what does not fit together."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.reporting.hand_made import result
from weixing.cli.main import run
from weixing.errors import UserError
from weixing.reporting.comparing import compare
from weixing.reporting.predictions import runs_in
from weixing.tasks.results import Result, write_results

GOLD = ["1", "0"] * 50


def write(
    folder: Path, runs: Sequence[Result], lines: Sequence[int] = range(2, 102), gold: Sequence[str] = GOLD
) -> Path:
    """A folder as finetune leaves it; of each run, the first rows are right, as many as its score says."""
    write_results(folder / "results.jsonl", runs)
    for one in runs:
        file = folder / "predictions" / f"{one.cell.name}.jsonl"
        file.parent.mkdir(exist_ok=True)
        rows = []
        for index, (line, label) in enumerate(zip(lines, gold, strict=True)):
            predicted = label if index < one.score else "wrong"
            rows.append({"index": index, "line": line, "label": label, "predicted": predicted, "probabilities": [1]})
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def run_of(score: float, model: str = "a", task: str = "own", **other) -> Result:
    return result(score, model=model, task=task, **other)


def test_the_best_setting_of_each_model_with_all_its_seeds(tmp_path: Path) -> None:
    first = [run_of(70.0), run_of(60.0, seed=8), run_of(69.0, epochs=5)]
    second = [run_of(80.0, "b"), run_of(90.0, "b", seed=8), run_of(85.0, "b", seed=9)]
    done = compare(write(tmp_path / "a", first), write(tmp_path / "b", second))
    (task,) = done.tasks
    assert (task.task, task.split, task.metric, task.rows) == ("own", "dev", "accuracy", 100)
    assert (task.first.model, task.first.seeds, task.first.epochs) == ("a", (7, 8), 3)
    assert (task.second.model, task.second.seeds) == ("b", (7, 8, 9))
    assert task.difference.first == pytest.approx(65)
    assert task.difference.second == pytest.approx(85)
    assert task.difference.difference == pytest.approx(20)
    assert 0 < task.difference.low < 20 < task.difference.high
    assert task.difference.p < 0.05
    assert (done.mean, done.only_first, done.only_second) == (None, (), ())


def test_tasks_are_compared_one_by_one_and_in_the_mean(tmp_path: Path) -> None:
    for model, score in (("a", 70.0), ("b", 80.0)):
        write(tmp_path / f"one-{model}", [run_of(score, model, "one")])
        write(tmp_path / f"two-{model}", [run_of(score - 10, model, "two")])
    write(tmp_path / "three-a", [run_of(1.0, "a", "three", metric="spearman")])
    done = compare(tmp_path, tmp_path, first_model="a", second_model="b")
    assert [(task.task, task.difference.difference) for task in done.tasks] == [("one", 10), ("two", 10)]
    assert done.only_first == ("three (spearman)",)
    assert done.mean is not None
    assert (done.mean.first, done.mean.second, done.mean.difference) == (65, 75, 10)
    # The mean of two independent differences spreads less than either, by about the root of two.
    one, both = (found.high - found.low for found in (done.tasks[0].difference, done.mean))
    assert both == pytest.approx(one / 2**0.5, rel=0.15)


def test_a_task_alone_has_the_draws_that_it_has_beside_others(tmp_path: Path) -> None:
    for model, score in (("a", 70.0), ("b", 74.0)):
        for task in ("one", "two"):
            write(tmp_path / model / task, [run_of(score, model, task)])
    together = compare(tmp_path / "a", tmp_path / "b")
    alone = compare(tmp_path / "a" / "two", tmp_path / "b" / "two")
    assert alone.tasks[0] == together.tasks[1]
    assert together.tasks[0].difference != together.tasks[1].difference  # other draws
    assert compare(tmp_path / "a", tmp_path / "b", seed=8).tasks[0] != together.tasks[0]


def test_a_file_of_predictions_stands_for_itself(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", [run_of(70.0), run_of(60.0, epochs=5)])
    worse = folder / "predictions" / f"{run_of(60.0, epochs=5).cell.name}.jsonl"
    (found,) = runs_in(worse).values()
    assert [(r.score, path) for r, path in found] == [(60.0, worse)]
    done = compare(worse, folder)
    assert (done.tasks[0].difference.first, done.tasks[0].difference.second) == (60, 70)


def test_entity_f1_and_spearman_are_compared_too(tmp_path: Path) -> None:
    for name, wrong in (("a", ["O", "O"]), ("b", ["B-X", "I-X"])):
        rows = [{"line": n, "label": ["B-X", "I-X"], "predicted": wrong if n % 3 else ["B-X", "O"]} for n in range(30)]
        score = 0.0 if name == "a" else 200 * 20 / 60
        write(tmp_path / name, [run_of(score, name, metric="entity_f1")])
        (file,) = (tmp_path / name / "predictions").iterdir()
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = compare(tmp_path / "a", tmp_path / "b").tasks[0].difference
    assert found.difference == pytest.approx(200 / 3)
    assert (found.p < 0.001, found.sign_flips) == (True, 0)


def refused(first: Path, second: Path, **models: str) -> str:
    with pytest.raises(UserError) as caught:
        compare(first, second, **models)
    return str(caught.value)


def test_rows_that_do_not_agree_are_named(tmp_path: Path) -> None:
    first = write(tmp_path / "a", [run_of(70.0)])
    name = f"{run_of(70.0).cell.name}.jsonl"
    moved = write(tmp_path / "moved", [run_of(70.0, "b")], lines=[*range(2, 51), *range(52, 103)])
    assert refused(first, moved).startswith(
        f'{moved}/predictions/{name}:50: this row is of line 52 of the dev file, with the label "0"; '
        f'in {first}/predictions/{name} of line 51, with "0". Accepted: predictions of the same dev file.'
    )
    relabelled = write(tmp_path / "relabelled", [run_of(70.0, "b")], gold=[*GOLD[:-1], "2"])
    assert f'{name}:100: this row is of line 101 of the dev file, with the label "2"; ' in refused(first, relabelled)
    short = write(tmp_path / "short", [run_of(70.0, "b", total=99)], lines=range(2, 101), gold=GOLD[:99])
    write_results(short / "results.jsonl", [run_of(100 * 70 / 99, "b", total=99)])
    assert f"{name}: 99 rows; {first}/predictions/{name} has 100. Accepted" in refused(first, short)


def test_predictions_of_another_run_are_found_out(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a", [run_of(70.0)]), write(tmp_path / "b", [run_of(80.0, "b")])
    write_results(second / "results.jsonl", [run_of(81.0, "b")])
    assert "these predictions give 80.00 %, their result says 81.00 %" in refused(first, second)


def test_missing_and_malformed_predictions_are_named(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a", [run_of(70.0)]), write(tmp_path / "b", [run_of(80.0, "b")])
    (file,) = (second / "predictions").iterdir()
    for content, message in (
        ("{}\n", ":1: no 'line'"),
        ("\n[1]\n", ":2: not a JSON object"),
        ("{\n", ":1: not a JSON object"),
        ('{"line": 2, "label": 1, "predicted": "1"}\n', ':1: line 2, label 1, predicted "1". Accepted: predictions of'),
        ("\n", ": the file is empty"),
    ):
        file.write_text(content)
        assert refused(first, second).startswith(f"{file}{message}")
    file.write_bytes(b"\xff")
    assert refused(first, second).startswith(f"{file}: not UTF-8")
    file.unlink()
    assert refused(first, second).startswith(f"{file}: there are no predictions of this run")


def test_which_model_is_meant_must_be_clear(tmp_path: Path) -> None:
    write(tmp_path / "a", [run_of(70.0, weights="x1")])
    write(tmp_path / "b", [run_of(80.0, "b", weights="x2")])
    assert "results of 2 models. Accepted: one model: a (x1), b (x2). Name its own folder, or say which" in refused(
        tmp_path, tmp_path
    )
    assert "there is no result of c. Accepted: a, b." in refused(tmp_path, tmp_path, first_model="c")
    write(tmp_path / "c", [run_of(72.0, weights="x1", tuning={"r_drop": 1.0})])
    assert "Accepted: one model: a (x1), b (x2), a (r drop 1) (x1)." in refused(tmp_path, tmp_path)
    (ours, _), *_ = runs_in(tmp_path, "a (r drop 1)")["own", "dev", "accuracy"]
    assert ours.score == 72.0
    write(tmp_path / "a2", [run_of(71.0, weights="x3")])
    assert "results of 2 models. Accepted: one model: a (x1), a (x3)" in refused(
        tmp_path, tmp_path, first_model="a", second_model="b"
    )


def test_what_has_nothing_in_common_cannot_be_compared(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a", [run_of(70.0)]), write(tmp_path / "b", [run_of(70.0, "b", split="test")])
    assert refused(first, second).startswith(f"{second}: no task in common: own (test) here, own in {first}.")
    assert "there is no results.jsonl in this folder" in refused(tmp_path / "a" / "predictions", second)
    odd = [write(tmp_path / name, [run_of(70.0, metric="bleu")]) for name in ("c", "d")]
    assert "own (bleu) is scored by bleu. Accepted: accuracy or " in refused(*odd)


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders ``a`` and ``b`` in the current one, two tasks each, and one that only b has."""
    monkeypatch.chdir(tmp_path)
    for model, score in (("a", 70.0), ("b", 80.0)):
        for task in ("one", "two"):
            write(Path(model) / task, [run_of(score, model, task), run_of(score - 4, model, task, seed=8)])
    write(Path("b/three"), [run_of(50.0, "b", "three")])


def test_the_command_prints_a_table(two, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", "a", "b"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| task | A | B | B - A | 95 % interval | p | sign flips | rows | seeds of A, B |"
    assert [line.split(" | ")[:4] for line in lines[2:5]] == [
        ["| one", "68.00", "78.00", "+10.00"],
        ["| two", "68.00", "78.00", "+10.00"],
        ["| mean of 2", "68.00", "78.00", "+10.00"],
    ]
    assert "10,000 resamples" in lines[6]
    assert "Only B was run on three." in lines
    assert "- A on one: a, 3 epochs, batch 32, learning rate 0.0001, seeds 7, 8" in lines


def test_the_command_prints_json(two, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", "a", "b", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["tasks", "mean", "only_first", "only_second", "seed", "resamples", "confidence"]
    assert found["tasks"][0]["first"]["files"][0].startswith("a/one/predictions/epochs-3_")
    assert list(found["mean"]) == ["first", "second", "difference", "low", "high", "p", "sign_flips"]
    assert (found["seed"], found["resamples"], found["confidence"]) == (7, 10_000, 0.95)
    assert found["only_second"] == ["three"]


def test_the_command_refuses_what_cannot_be_compared(two, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", "a", "nowhere"]) == 2
    assert "nowhere: there is no such file or folder" in capsys.readouterr().err
    assert run(["compare", "a", "b/three"]) == 2
    assert "no task in common" in capsys.readouterr().err
    assert run(["compare", "a"]) == 2
