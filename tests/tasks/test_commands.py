"""`weixing finetune` and `weixing table` from their command lines."""

import json
from pathlib import Path

import pytest

from weixing.cli.main import run
from weixing.errors import UserError
from weixing.tasks.cells import Cell

ONE_CELL = ["--epochs", "1", "--batch-sizes", "32", "--learning-rates", "1e-3", "--max-length", "32"]


@pytest.fixture
def finetune(model_folder: str, task_files: tuple[Path, Path], tmp_path: Path):
    """Runs the verb on the tiny task, with further options that win over the usual ones."""

    def finetune(*options: str, model: str = model_folder, files: bool = True) -> int:
        train, dev = map(str, task_files)
        which = ["--train", train, "--dev", dev] if files else []
        return run(["finetune", "--model", model, "--out", str(tmp_path / "out"), *which, *ONE_CELL, *options])

    return finetune


def test_json_is_one_document_with_the_keys_of_the_contract(finetune, capsys, tmp_path: Path) -> None:
    assert finetune("--epochs", "1,2", "--seeds", "7,8", "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert list(summary) == ["task", "model", "best", "cells", "seconds", "output"]
    assert list(summary["best"]) == ["score", "epochs", "batch_size", "learning_rate", "seed"]
    assert (summary["task"], summary["model"], summary["cells"]) == ("tiny", "pretrained", 4)
    assert summary["output"] == str(tmp_path / "out")


def test_the_wide_grid_has_more_learning_rates_and_lists_replace_one_dimension_each(
    finetune, capsys, monkeypatch
) -> None:
    seen: list[Cell] = []

    def look(model, task, cells, out, **options):
        seen.extend(cells)
        raise UserError("seen")

    monkeypatch.setattr("weixing.tasks.grid.run_grid", look)
    usual = ["finetune", "--model", "1/64", "--task", "pairs", "--out", "out"]
    for options, epochs, sizes, rates in (
        ([], {3, 5, 8}, {32, 64}, {3e-5, 1e-4, 3e-4}),
        (["--grid", "wide"], {3, 5, 8}, {32, 64}, {3e-5, 1e-4, 3e-4, 5e-4, 1e-3}),
        (["--grid", "wide", "--epochs", "4", "--batch-sizes", "16"], {4}, {16}, {3e-5, 1e-4, 3e-4, 5e-4, 1e-3}),
        (["--learning-rates", "2e-4"], {3, 5, 8}, {32, 64}, {2e-4}),
    ):
        seen.clear()
        assert run([*usual, *options]) == 2
        assert {cell.epochs for cell in seen} == epochs
        assert {cell.batch_size for cell in seen} == sizes
        assert {cell.learning_rate for cell in seen} == rates
        assert len(seen) == len(epochs) * len(sizes) * len(rates)


def test_a_search_says_what_it_ran_and_replay_how_it_would_have_done(finetune, capsys, tmp_path: Path) -> None:
    lists = ["--epochs", "1,2", "--learning-rates", "1e-9,1e-3"]
    assert finetune(*lists, "--search", "halving") == 0
    assert "halving ran 3 of 4 cells, 4 of 6 epochs; " in capsys.readouterr().out
    assert run(["replay", str(tmp_path / "out")]) == 2
    assert "there is no complete grid here" in capsys.readouterr().err
    assert finetune(*lists, "--resume", "--json") == 0
    assert "search" not in json.loads(capsys.readouterr().out)
    assert finetune(*lists, "--search", "halving", "--resume", "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["search"]["name"], summary["search"]["cells_run"], summary["cells"]) == ("halving", 3, 4)
    assert run(["replay", str(tmp_path / "out"), "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert (one["task"], one["cells_run"], one["cells"]) == ("tiny", 3, 4)
    assert one["best"] == summary["best"]["score"]
    assert run(["replay", str(tmp_path / "out")]) == 0
    assert "of 1 complete grids halving found the best score, with 67 % of the epochs" in capsys.readouterr().out


def test_a_folder_in_data_is_a_task(finetune, capsys, task_files: tuple[Path, Path]) -> None:
    data = str(task_files[0].parents[1])
    assert finetune("--data", data, "--task", "tiny", files=False) == 0
    assert "pretrained on tiny: " in capsys.readouterr().out


@pytest.mark.parametrize("task", ["sentiment", "pairs"])
def test_an_untrained_zoo_model_is_a_baseline_on_the_built_in_tasks(finetune, capsys, task: str) -> None:
    assert finetune("--task", task, "--batch-sizes", "256", model="1/64", files=False) == 0
    assert f"1/64 untrained on {task}: " in capsys.readouterr().out


def test_a_table_shows_what_was_run(finetune, capsys, tmp_path: Path) -> None:
    finetune()
    score = json.loads((tmp_path / "out" / "results.jsonl").read_text())["score"]
    capsys.readouterr()
    assert run(["table", str(tmp_path / "out")]) == 0
    shown = f"| model | tiny |\n| --- | ---: |\n| pretrained | {score:.1f} (1 seed) |\n\nScores in percent, "
    assert capsys.readouterr().out.startswith(shown)
    written = tmp_path / "table.json"
    assert run(["table", str(tmp_path / "out"), "--format", "json", "--out", str(written)]) == 0
    assert capsys.readouterr().out == ""
    assert json.loads(written.read_text())[0]["best"] == score
    assert run(["table", str(tmp_path / "out"), "--json"]) == 0
    assert capsys.readouterr().out == written.read_text()
    assert run(["table", str(tmp_path / "out"), "--out", str(written)]) == 2
    assert run(["table", str(tmp_path / "out"), "--out", str(written), "--overwrite"]) == 0
    assert written.read_text().startswith("| model |")


def test_what_was_run_can_be_compared(finetune, capsys, tmp_path: Path) -> None:
    finetune("--seeds", "7,8")
    finetune("--out", str(tmp_path / "untrained"), model="1/64")
    capsys.readouterr()
    assert run(["compare", str(tmp_path / "out"), str(tmp_path / "untrained"), "--json"]) == 0
    (task,) = json.loads(capsys.readouterr().out)["tasks"]
    assert (task["first"]["model"], task["second"]["model"]) == ("pretrained", "1/64 untrained")
    assert (task["first"]["seeds"], task["rows"]) == ([7, 8], 60)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epochs", "0"], "--epochs: '0' is no such list"),
        (["--epochs", "3,"], "--epochs: '3,' is no such list"),
        (["--batch-sizes", "32,1.5"], "--batch-sizes"),
        (["--learning-rates", "nan"], "--learning-rates: 'nan' is no such list. Accepted: numbers above 0"),
        (["--learning-rates", "1e-4,-1"], "--learning-rates"),
        (["--seeds", "x"], "--seeds"),
        (["--max-length", "7"], "--max-length: rows of 7 tokens. Accepted: 8 to 64"),
        (["--search", "halving"], "--search: a search over one number of epochs"),
        (["--patience", "0"], "--patience: 0. Accepted: 1 or more epochs"),
        (["--teacher-weight", "2"], "--teacher-weight: 2.0. Accepted: 0 to 1"),
        (["--teacher", "none/such/model"], "none/such/model"),
        (["--threads", "0"], "--threads"),
        (["--processes", "0"], "--processes"),
        (["--grid", "narrow"], "--grid"),
        (["--device", "abacus"], "--device"),
        (["--precision", "int1"], "--precision"),
        (["--resume", "--overwrite"], "--overwrite and --resume"),
        (["--task", "pairs"], "which task is meant? Accepted: --task T [--data DIR], or --train FILE --dev FILE"),
        (["--model", "none/such/model"], "none/such/model"),
        (["--dev", "missing.tsv"], "missing.tsv: there is no such file"),
        (["--learning-rates", "1e38", "--batch-sizes", "4"], "the training loss is nan at step"),
    ],
)
def test_wrong_options_give_one_message_and_no_result(
    finetune, capsys, tmp_path: Path, options: list[str], message: str
) -> None:
    assert finetune(*options) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.startswith("weixing: ")
    assert streams.err.count("\n") == 1
    assert message in streams.err
    assert not (tmp_path / "out" / "results.jsonl").exists()
    assert not (tmp_path / "out" / "model").exists()


def test_a_malformed_row_is_named_and_no_folder_appears(finetune, capsys, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.tsv"
    wrong.write_text("label\ttext_a\n1\t天\n0\n", encoding="utf-8")
    assert finetune("--train", str(wrong)) == 2
    assert capsys.readouterr().err.startswith(f"weixing: {wrong}:3: 1 fields, but the header names 2. Accepted: ")
    assert not (tmp_path / "out").exists()


def test_an_unknown_task_is_answered_with_those_that_there_are(finetune, capsys, task_files) -> None:
    assert finetune("--task", "none", files=False) == 2
    assert "there is no task 'none'. Accepted: book_review, chnsenticorp, lcqmc, " in capsys.readouterr().err
    assert finetune("--task", "none", "--data", str(task_files[0].parents[1]), files=False) == 2
    assert "Accepted: tiny, sentiment, pairs, similarity. " in capsys.readouterr().err


def test_a_task_folder_needs_one_file_of_each_kind(finetune, capsys, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "half"
    folder.mkdir(parents=True)
    (folder / "train.tsv").write_text("label\ttext_a\n")
    for found in ("0 dev files (none)", "2 dev files (dev.json, dev.tsv)"):
        assert finetune("--task", "half", "--data", str(tmp_path / "data"), files=False) == 2
        assert found in capsys.readouterr().err
        (folder / "dev.tsv").touch()
        (folder / "dev.json").touch()


def test_a_file_in_the_place_of_the_output_is_kept(finetune, capsys, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    assert finetune("--overwrite") == 2
    assert "this is a file" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "mine"
