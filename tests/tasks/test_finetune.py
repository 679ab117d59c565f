"""Fine-tuning of a cell and of a grid: learns, repeats, resumes, and says where it diverged."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from weixing.errors import UserError
from weixing.model.compiled.workers import Workers
from weixing.model.encoder import Encoder
from weixing.tasks.cells import Cell
from weixing.tasks.encoding import encode_examples
from weixing.tasks.files import Task
from weixing.tasks.finetune import Outcome, fine_tune
from weixing.tasks.kinds import objective_for
from weixing.tasks.logits import logits_of
from weixing.tasks.losses import Loss
from weixing.tasks.steps import make_steps
from weixing.text.tokenizer import Tokenizer
from weixing.training.optimizers import uer_adamw

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


def test_a_cell_learns_the_task(tune) -> None:
    outcome = tune(CELL)
    assert outcome.epoch_scores[-1] > 90
    assert outcome.epoch_losses[-1] < outcome.epoch_losses[0]
    assert len(outcome.epoch_scores) == len(outcome.epoch_losses) == CELL.epochs
    assert outcome.steps == CELL.total_steps(300) == 3 * 19


def test_by_default_a_cell_is_trained_as_before_there_were_options(tune) -> None:
    """What the code gave before (d5aa76f), by which docs/results.md was measured."""
    outcome = tune(CELL)
    assert outcome.epoch_losses == pytest.approx([0.7166389, 0.2616985, 0.0876005], rel=1e-4)
    assert outcome.predictions[0].tolist() == pytest.approx([0.991394, 0.008606], abs=1e-4)
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
    again = logits_of(steps.logits, dev, max_length=32).softmax(1).numpy()
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
