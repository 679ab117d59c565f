"""Fine-tuning of a cell and of a grid: learns, repeats, resumes, and says where it diverged."""

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
from weixing.model.compiled.workers import Workers
from weixing.model.encoder import Encoder
from weixing.model.heads import MaskedLanguageModel
from weixing.model.initialisation import initialise
from weixing.tasks.cells import Cell, grid
from weixing.tasks.encoding import encode_examples
from weixing.tasks.files import Task
from weixing.tasks.finetune import Outcome, fine_tune
from weixing.tasks.grid import Summary, run_grid
from weixing.tasks.logits import logits_of, plain_logits
from weixing.tasks.losses import Loss
from weixing.tasks.objectives import objective_for
from weixing.tasks.results import Result, read_results
from weixing.tasks.steps import make_steps
from weixing.text.tokenizer import Tokenizer
from weixing.text.vocabulary import Vocabulary
from weixing.training.optimizers import uer_adamw
from weixing.zoo import Shape

CPU = torch.device("cpu")
CELL = Cell(epochs=3, batch_size=16, learning_rate=1e-3, seed=7)


@pytest.fixture
def tune(encoder: Encoder, task: Task, tokenizer: Tokenizer) -> Callable[[Cell], Outcome]:
    objective = objective_for(task)
    train, dev = (encode_examples(e, objective, tokenizer, 32) for e in (task.train, task.dev))

    def tune(cell: Cell, **options) -> Outcome:
        fixed = {"max_length": 32, "device": CPU, "precision": "float32"}
        return fine_tune(encoder, train, dev, objective, cell, **(fixed | options))

    return tune


@pytest.fixture
def run(model_folder: str, task: Task, tmp_path: Path) -> Callable[..., Summary]:
    def run(cells: list[Cell], out: str = "out", **options) -> Summary:
        fixed = {"device": CPU, "precision": "float32", "max_length": 32}
        return run_grid(model_folder, task, cells, tmp_path / out, **(fixed | options))

    return run


def test_a_cell_learns_the_task(tune) -> None:
    outcome = tune(CELL)
    assert outcome.epoch_scores[-1] > 90
    assert outcome.epoch_losses[-1] < outcome.epoch_losses[0]
    assert len(outcome.epoch_scores) == len(outcome.epoch_losses) == CELL.epochs
    assert outcome.steps == CELL.total_steps(300) == 3 * 19


def test_by_default_a_cell_is_trained_as_before_there_were_options(tune) -> None:
    """What the code of September 2026 gave, whose results are published with this project."""
    outcome = tune(CELL)
    assert outcome.epoch_losses == pytest.approx([0.7201361, 0.3886791, 0.0858724], rel=1e-4)
    assert outcome.predictions[0].tolist() == pytest.approx([0.983053, 0.016947], abs=1e-4)
    assert outcome.best_epoch == 3
    assert outcome.metric == "accuracy"


def test_a_cell_learns_as_much_in_bf16(tune) -> None:
    outcome = tune(CELL, precision="bf16")
    assert outcome.epoch_scores[-1] > 90
    assert next(outcome.model.parameters()).dtype == torch.float32


def test_a_cell_gives_the_same_number_whatever_was_drawn_before_it(tune, encoder: Encoder) -> None:
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    first = tune(CELL)
    torch.rand(3)
    tune(replace(CELL, seed=8))
    second = tune(CELL)
    assert np.array_equal(first.predictions, second.predictions)
    assert first.epoch_losses == second.epoch_losses
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("cores", [1, 2])
def test_a_cell_repeats_bit_for_bit_on_one_core_and_on_two(tune, cores: int, precision: str) -> None:
    torch.set_num_threads(cores)  # of this test alone: see tests/conftest.py
    outcomes = [tune(replace(CELL, epochs=2), precision=precision) for _ in range(2)]
    assert outcomes[0].epoch_losses == outcomes[1].epoch_losses
    assert np.array_equal(outcomes[0].predictions, outcomes[1].predictions)
    for first, second in zip(*(outcome.model.parameters() for outcome in outcomes), strict=True):
        assert torch.equal(first, second)
    assert torch.get_num_threads() == cores


def test_without_dropout_a_cell_is_the_same_by_compiled_passes_and_by_autograd(
    tune, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weixing.tasks.finetune.DROPOUT", 0.0)
    cell = Cell(epochs=2, batch_size=16, learning_rate=3e-4, seed=7)
    compiled = tune(cell)
    monkeypatch.setattr("weixing.tasks.finetune.Workers", lambda count: None)
    autograd = tune(cell)
    assert compiled.epoch_losses == pytest.approx(autograd.epoch_losses, rel=1e-5)
    np.testing.assert_allclose(compiled.predictions, autograd.predictions, atol=1e-4)


def test_the_seed_matters_and_the_global_random_state_does_not_move(tune) -> None:
    state = torch.get_rng_state()
    first, second = tune(CELL), tune(replace(CELL, seed=8))
    assert not np.array_equal(first.predictions, second.predictions)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_first_update_has_learning_rate_0_the_peak_comes_after_a_tenth_and_the_last_is_close_to_0(
    tune, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []

    def recorded(*arguments, **options) -> torch.optim.Optimizer:
        optimizer = uer_adamw(*arguments, **options)
        optimizer.register_step_pre_hook(lambda *_: rates.append(optimizer.param_groups[0]["lr"]))
        return optimizer

    monkeypatch.setattr("weixing.tasks.finetune.uer_adamw", recorded)
    outcome = tune(Cell(epochs=2, batch_size=30, learning_rate=1e-3, seed=7))
    assert len(rates) == outcome.steps == 20
    assert rates[0] == 0
    assert rates[2] == max(rates) == 1e-3
    assert rates[-1] == pytest.approx(1e-3 / 18)


def test_dev_scores_do_not_depend_on_batches_or_padding(tune, task: Task, tokenizer: Tokenizer) -> None:
    outcome = tune(CELL)
    objective = objective_for(task)
    dev = encode_examples(task.dev, objective, tokenizer, 32)
    outcome.model.eval()
    with torch.no_grad():
        for row in (0, 17, 59):
            alone = dev.batch(torch.tensor([row]), int(dev.lengths[row]))
            logits = outcome.model(alone.ids, alone.token_types)
            np.testing.assert_allclose(logits.softmax(1)[0].numpy(), outcome.predictions[row], atol=1e-5)
    steps = make_steps(outcome.model, Loss(objective), "float32", 0.1, Workers())
    again = logits_of(steps.logits, dev, 2, max_length=32).softmax(1).numpy()
    assert np.array_equal(again, outcome.predictions)
    right = again.argmax(1) == np.array([int(label) for label in task.dev.labels])
    assert outcome.correct == right.sum()
    assert outcome.total == len(dev)
    assert outcome.score == outcome.epoch_scores[-1] == pytest.approx(100 * right.mean())


def test_every_training_row_is_reported(tune) -> None:
    seen = []
    tune(CELL, report=lambda count, note: seen.append(count))
    assert sum(seen) == 3 * 300


def test_a_loss_that_is_no_number_names_cell_and_step(tune) -> None:
    cell = replace(CELL, learning_rate=1e38)
    with pytest.raises(UserError) as caught:
        tune(cell)
    assert str(caught.value).startswith(f"cell {cell.name}: the training loss is nan at step 3")


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
    logits = logits_of(partial(plain_logits, model, "float32"), dev, 2, max_length=32)
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
