"""A grid: what it leaves in its folder, what is refused, and that a cell is the same alone and among others."""

import json
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from weixing.errors import UserError
from weixing.formats.huggingface import export_masked_lm, import_classifier, import_masked_lm
from weixing.model.heads import MaskedLanguageModel
from weixing.model.initialisation import initialise
from weixing.tasks.cells import Cell, grid
from weixing.tasks.encoding import encode_examples
from weixing.tasks.files import Task
from weixing.tasks.grid import Summary, run_grid
from weixing.tasks.kinds import objective_for
from weixing.tasks.logits import logits_of, plain_logits
from weixing.tasks.results import Result, read_results
from weixing.tasks.tuning import Tuning
from weixing.text.tokenizer import Tokenizer
from weixing.text.vocabulary import Vocabulary
from weixing.zoo import Shape

CPU = torch.device("cpu")
CELL = Cell(epochs=3, batch_size=16, learning_rate=1e-3, seed=7)


@pytest.fixture
def run(model_folder: str, task: Task, tmp_path: Path) -> Callable[..., Summary]:
    def run(cells: list[Cell], out: str = "out", **options) -> Summary:
        fixed = {"device": CPU, "precision": "float32", "max_length": 32}
        return run_grid(model_folder, task, cells, tmp_path / out, **(fixed | options))

    return run


def test_a_grid_is_every_combination_with_distinct_names() -> None:
    cells = grid([3, 5], [32, 64], [3e-5, 3.0000001e-5], [7, 8])
    assert len({cell.name for cell in cells}) == len(set(cells)) == 16


def test_a_cell_alone_equals_the_cell_in_a_grid(run, tmp_path: Path) -> None:
    cells = grid([1, 2], [16], [1e-3], [7, 8])
    run(cells, "grid")
    run(cells[-1:], "alone")
    name = f"predictions/{cells[-1].name}.jsonl"
    assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "grid" / name).read_bytes()
    in_grid, alone = read_results([tmp_path / "grid"])[-1], read_results([tmp_path / "alone"])[0]
    assert alone.score == in_grid.score
    assert alone.details == in_grid.details


def test_a_folder_holds_what_the_contract_names(run, tmp_path: Path, task: Task) -> None:
    summary = run([CELL])
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == ["model", "predictions", "results.jsonl", "run.json"]
    (line,) = (out / "results.jsonl").read_text().splitlines()
    result = json.loads(line)
    assert list(result)[:13] == [key.name for key in fields(Result)][:-1]
    assert result["score"] == summary.best.score == 100 * result["correct"] / result["total"]
    assert (result["model"], result["task"], result["split"], result["metric"]) == (
        "pretrained",
        "tiny",
        "dev",
        "accuracy",
    )
    assert result["shape"] == "1/64"
    predictions = [json.loads(line) for line in (out / f"predictions/{CELL.name}.jsonl").read_text().splitlines()]
    assert [p["label"] for p in predictions] == task.dev.labels
    assert sum(p["label"] == p["predicted"] for p in predictions) == result["correct"]
    assert [task.labels[int(np.argmax(p["probabilities"]))] for p in predictions] == [
        p["predicted"] for p in predictions
    ]


def test_the_exported_model_is_the_best_cell(run, tmp_path: Path, task: Task) -> None:
    cells = [replace(CELL, learning_rate=1e-9), CELL, replace(CELL, learning_rate=2e-9)]
    summary = run(cells)
    assert summary.best.cell == CELL
    model, vocabulary, labels = import_classifier(tmp_path / "out" / "model")
    assert tuple(labels) == task.labels
    dev = encode_examples(task.dev, objective_for(task), Tokenizer(vocabulary), 32)
    logits = logits_of(partial(plain_logits, model, "float32"), dev, max_length=32)
    assert (logits.argmax(1) == dev.targets).sum() == summary.best.correct


def test_resuming_leaves_out_what_is_done(run, tmp_path: Path) -> None:
    cells = grid([1], [16], [1e-3, 3e-3], [7, 8])
    run(cells, "whole")
    run(cells[:2], "parts")
    before = (tmp_path / "parts" / "results.jsonl").read_text()
    summary = run(cells, "parts", resume=True)
    assert (tmp_path / "parts" / "results.jsonl").read_text().startswith(before)
    assert summary.cells == 4
    whole, parts = read_results([tmp_path / "whole"]), read_results([tmp_path / "parts"])
    assert [run.score for run in whole] == [run.score for run in parts]
    assert summary.best.cell == max(whole, key=lambda result: result.score).cell


def test_resuming_with_other_settings_is_refused(run) -> None:
    run([replace(CELL, epochs=1)])
    with pytest.raises(UserError, match="the earlier cells had max_length 32, not 24"):
        run([CELL], resume=True, max_length=24)


def test_resuming_with_other_weights_under_the_same_name_is_refused(
    model_folder: str, task: Task, tmp_path: Path
) -> None:
    options = {"device": CPU, "precision": "float32", "max_length": 32}
    short, folder = replace(CELL, epochs=1), tmp_path / "pretrained"
    shutil.copytree(model_folder, folder)
    run_grid(str(folder), task, [short], tmp_path / "out", **options)
    model, vocabulary = import_masked_lm(folder)
    with torch.no_grad():
        model.encoder.embeddings.token.weight[7, 7] += 0.1
    export_masked_lm(model, vocabulary, folder, overwrite=True)
    with pytest.raises(UserError, match="the earlier cells had weights_sha256"):
        run_grid(str(folder), task, [CELL], tmp_path / "out", resume=True, **options)
    (result,) = read_results([tmp_path / "out"])
    assert json.loads((tmp_path / "out" / "run.json").read_text())["weights_sha256"].startswith(result.weights)


def test_a_fine_tuned_model_is_fine_tuned_further(run, task: Task, tmp_path: Path) -> None:
    short = replace(CELL, epochs=1)
    run([short])
    summary = run_grid(str(tmp_path / "out"), task, [short], tmp_path / "further", device=CPU, precision="float32",
                       max_length=32)  # fmt: skip
    assert summary.model == "out"
    assert summary.best.weights != read_results([tmp_path / "out"])[0].weights


def test_a_folder_of_results_is_kept_unless_it_may_be_overwritten(run, tmp_path: Path) -> None:
    short = replace(CELL, epochs=1)
    run([short])
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="--overwrite"):
        run([CELL])
    run([replace(short, seed=8)], overwrite=True)
    assert [result.seed for result in read_results([tmp_path / "out"])] == [8]
    assert len(list((tmp_path / "out" / "predictions").iterdir())) == 1
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


def test_pairs_for_a_model_of_one_token_type_are_refused_and_nothing_is_written(
    pairs_task: Task, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    model = MaskedLanguageModel(Shape(1, 64, len(vocabulary), positions=64, token_types=1))
    initialise(model)
    export_masked_lm(model, vocabulary, tmp_path / "one-type")
    with pytest.raises(UserError, match="pairs of texts for a model of one token type"):
        run_grid(str(tmp_path / "one-type"), pairs_task, [CELL], tmp_path / "out", device=CPU, precision="float32",
                 max_length=32)  # fmt: skip
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("max_length", [4, 65])
def test_rows_that_the_model_cannot_take_are_refused_and_nothing_is_written(
    run, tmp_path: Path, max_length: int
) -> None:
    with pytest.raises(UserError, match="8 to 64"):
        run([CELL], max_length=max_length)
    assert not (tmp_path / "out").exists()


def test_a_search_runs_some_cells_says_so_and_resumes(run, tmp_path: Path) -> None:
    cells = grid([2, 3], [16], [1e-9, 1e-3], [7])
    summary = run(cells, search="halving")
    assert summary.cells == 3
    assert (summary.search.cells_run, summary.search.cells) == (3, 4)
    results = read_results([tmp_path / "out"])
    assert [result.cell for result in results] == [cells[0], cells[2], cells[3]]
    assert {result.details["search"] for result in results} == {"halving"}
    before = (tmp_path / "out" / "results.jsonl").read_text()
    assert run(cells, search="halving", resume=True).cells == 3
    assert (tmp_path / "out" / "results.jsonl").read_text() == before
    whole = run(cells, resume=True)
    assert whole.search is None
    assert whole.cells == 4
    alone = run(cells[1:2], "alone")
    assert alone.best.score == read_results([tmp_path / "out"])[1].score


def test_a_search_over_one_number_of_epochs_leaves_nothing_behind(run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--search: a search over one number of epochs"):
        run([CELL], search="halving")
    assert not (tmp_path / "out").exists()


def test_threads_are_recorded_taken_over_and_not_changed(run, tmp_path: Path) -> None:
    short = replace(CELL, epochs=1)
    run([short], threads=2)
    assert json.loads((tmp_path / "out" / "run.json").read_text())["threads"] == 2
    run([short, replace(short, seed=8)], resume=True)
    assert [result.details["threads"] for result in read_results([tmp_path / "out"])] == [2, 2]
    with pytest.raises(UserError, match="the earlier cells had threads 2, not 1"):
        run([CELL], resume=True, threads=1)


def test_cells_that_fail_are_named_in_the_end_and_others_are_kept(run, tmp_path: Path, capsys) -> None:
    cells = [replace(CELL, epochs=1, batch_size=4, learning_rate=rate) for rate in (1e38, 1e-3, 2e38)]
    with pytest.raises(UserError) as caught:
        run(cells)
    message = str(caught.value)
    assert message.startswith(f"cell {cells[0].name}: the training loss is nan at step ")
    assert message.endswith("2 cells failed. 1 results are kept; --resume runs what is missing.")
    assert capsys.readouterr().err.count(": failed: cell epochs-1_batch-4_lr-") == 2
    assert [result.cell for result in read_results([tmp_path / "out"])] == [cells[1]]
    assert (tmp_path / "out" / "model").is_dir()


def test_tuning_is_a_setting_and_is_recorded_where_it_changes_something(run, tmp_path: Path) -> None:
    run([CELL], tuning=Tuning(patience=1, layer_decay=0.9))
    (result,) = read_results([tmp_path / "out"])
    assert result.details["tuning"] == {"patience": 1, "layer_decay": 0.9}
    assert result.score == max(result.details["epoch_scores"])
    assert result.details["epoch_scores"][result.details["best_epoch"] - 1] == result.score
    with pytest.raises(UserError, match="the earlier cells had tuning"):
        run([CELL], resume=True)
    run([CELL], "plain")
    assert "tuning" not in read_results([tmp_path / "plain"])[0].details


def test_a_result_says_what_its_data_are(run, task: Task, tmp_path: Path) -> None:
    run([replace(CELL, epochs=1)])
    (result,) = read_results([tmp_path / "out"])
    assert (result.details["data"], result.details["data_note"]) == (task.data, task.data_note) == ("custom", "")
    assert json.loads((tmp_path / "out" / "run.json").read_text())["dev"]["sha256"].startswith(
        result.details["dev_sha256"]
    )


def test_a_lost_model_is_trained_once_more(run, tmp_path: Path) -> None:
    cells = [replace(CELL, epochs=1), CELL]
    run(cells)
    model = tmp_path / "out" / "model" / "model.safetensors"
    before, results = model.read_bytes(), read_results([tmp_path / "out"])
    shutil.rmtree(tmp_path / "out" / "model")
    run(cells, resume=True)
    assert model.read_bytes() == before
    assert [result.score for result in read_results([tmp_path / "out"])] == [result.score for result in results]


def test_a_grid_with_a_teacher_records_it_and_refuses_another_under_its_name(run, tmp_path: Path) -> None:
    run([CELL], "teacher")
    name = str(tmp_path / "teacher")
    tuning = Tuning(teachers=(name,))
    short = replace(CELL, epochs=1)
    run([short], tuning=tuning)
    (result,) = read_results([tmp_path / "out"])
    assert result.details["tuning"] == {"teachers": [name]}
    run([short], "alone")
    assert result.details["train_loss"] != read_results([tmp_path / "alone"])[0].details["train_loss"]
    run([replace(CELL, epochs=2)], "teacher", overwrite=True)
    with pytest.raises(UserError, match="the earlier cells had teachers_sha256"):
        run([CELL], tuning=tuning, resume=True)


def test_a_teacher_of_other_labels_is_refused_and_nothing_is_written(
    run, pairs_task: Task, model_folder: str, tmp_path: Path
) -> None:
    other = replace(pairs_task, labels=("0", "1", "2"))
    run_grid(model_folder, other, [replace(CELL, epochs=1)], tmp_path / "teacher", device=CPU, precision="float32",
             max_length=32)  # fmt: skip
    with pytest.raises(UserError, match="a model of the labels 0, 1, 2"):
        run([CELL], tuning=Tuning(teachers=(str(tmp_path / "teacher"),)))
    assert not (tmp_path / "out").exists()
