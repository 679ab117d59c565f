"""Fine-tuning of one cell: a pretrained encoder, a task and four numbers in, a classifier and its dev scores out.

Opens no file. The recipe is that of the published scores (UER-py `finetune/run_classifier.py` and
`run_classifier_grid.py`): AdamW without bias correction, linear warm-up and decay, mean cross entropy, no clipping,
encoder dropout 0.1, no dropout in the head, the score taken after the last epoch. `Tuning` has what may be changed;
`weixing.tasks.objectives` has what is learnt in place of classes. What differs:

* every cell is reseeded, so that a cell alone gives the number that it gives in a grid (UER-py seeds once a grid);
* a batch is padded to its longest row, in UER-py to 128 tokens;
* a pair that is too long loses the end of its longer text and keeps both [SEP] (`weixing.tasks.encoding`); UER-py cuts
  the end of the joined row;
* the matrix products are in bf16 where the hardware has it and ``float32`` is not asked for; UER-py's are in float32;
* weight decay is 0.01, as in today's UER-py; the published scores very likely had none, as a misspelt key (corrected
  in July 2021, after them) kept it from the optimizer;
* the encoder has the LayerNorm of BERT (biased variance, epsilon 1e-12 inside the root); UER-py's divides by the
  unbiased standard deviation + 1e-6;
* the schedule ends with the last update, where UER-py's count may be off by a few (`run_classifier.py:303`).
"""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from weixing.errors import UserError
from weixing.model.compiled.workers import Workers, one_thread
from weixing.model.encoder import Encoder
from weixing.model.heads import TaskModel
from weixing.tasks.batches import shuffled_batches, width_of
from weixing.tasks.cells import Cell
from weixing.tasks.encoding import Encoded
from weixing.tasks.logits import logits_of
from weixing.tasks.losses import Loss
from weixing.tasks.objectives import Objective, Predictions, Score
from weixing.tasks.steps import make_steps
from weixing.tasks.tuning import Tuning
from weixing.training.adamw import CompiledAdamW
from weixing.training.devices import Precision
from weixing.training.optimizers import decay_groups, set_learning_rates, uer_adamw
from weixing.training.schedules import linear_schedule

DROPOUT = 0.1
BETAS = (0.9, 0.999)
EPSILON = 1e-6
WEIGHT_DECAY = 0.01  # not on biases and LayerNorm
WARMUP_SHARE = 0.1
UPDATES_BETWEEN_CHECKS = 50  # looking at a loss makes the processor wait for the device


@dataclass(frozen=True)
class Outcome:
    """What a cell gave: a model, how it did, and how it went on the way.

    Attributes:
        model: as it is after epoch `best_epoch`, in the form that is exported.
        predictions: its own, on the dev rows, in the form of the objective.
        metric: what `score` and `epoch_scores` are.
        score: on the dev rows, in percent.
        correct, total: dev rows that are exactly right, and all; both 0 for numbers.
        best_epoch: from 1; the last one, unless the cell might stop early: then the best, the first of equals.
        epoch_scores, epoch_losses: dev score in percent, and mean training loss, of each epoch that was trained.
        steps: optimizer updates.
        seconds: of training and dev evaluation.
    """

    model: TaskModel
    predictions: Predictions
    metric: str
    score: float
    correct: int
    total: int
    best_epoch: int
    epoch_scores: list[float]
    epoch_losses: list[float]
    steps: int
    seconds: float


@dataclass(frozen=True)
class _Kept:
    """An epoch that may be the one that counts; `weights` are a copy, or None if the model still has them."""

    epoch: int
    predictions: Predictions
    score: Score
    weights: dict[str, Tensor] | None


def fine_tune(
    pretrained: Encoder,
    train: Encoded,
    dev: Encoded,
    objective: Objective,
    cell: Cell,
    *,
    max_length: int,
    device: torch.device,
    precision: Precision,
    threads: int | None = None,
    tuning: Tuning = Tuning(),  # noqa: B008  # frozen
    report: Callable[[int, str], None] = lambda rows, note: None,
) -> Outcome:
    """Train one cell and score it after each epoch. The global random state is as before when it returns.

    Args:
        pretrained: left as it is.
        train, dev: on `device`; with teachers, `train` as `weixing.tasks.teachers.taught` gives it.
        objective: that they were encoded for.
        max_length: of the encoding, in tokens.
        precision: ``bf16`` or ``float32``.
        threads: cores of a CPU to use; None: as many as torch. Sums come out differently in their last bits.
        tuning: what is changed about the recipe.
        report: called after each update with the rows it took and a note.

    Raises:
        UserError: the training loss is no longer finite.
    """
    began = time.monotonic()
    assert (train.soft is not None) == bool(tuning.teachers)
    lengths = train.lengths.cpu().numpy()
    total_steps = cell.total_steps(len(train))
    warmup_steps = int(WARMUP_SHARE * total_steps)
    epoch_scores: list[float] = []
    epoch_losses: list[float] = []
    kept: _Kept | None = None
    step = 0
    workers = Workers(threads) if device.type == "cpu" and not objective.whole_batch else None
    with one_thread(workers), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(cell.seed)
        generator = np.random.default_rng(cell.seed)
        model = objective.model(copy.deepcopy(pretrained)).to(device)
        # What no row holds has no gradient and is spared the work; what dev rows hold must be up to date.
        entries = np.unique(np.concatenate([train.ids.cpu().numpy(), dev.ids.cpu().numpy(), [train.pad_id]]))
        steps = make_steps(model, Loss(objective, tuning), precision, DROPOUT, workers, entries)
        optimizer = uer_adamw(
            parameter_groups(model, cell.learning_rate, tuning.layer_decay), lr=cell.learning_rate, betas=BETAS,
            eps=EPSILON, workers=steps.workers, copies=steps.copies, pieces=steps.pieces,
        )  # fmt: skip
        for epoch in range(1, cell.epochs + 1):
            batches = shuffled_batches(len(train), cell.batch_size, generator)
            losses = torch.zeros(len(batches), device=device)
            for number, rows in enumerate(batches):
                set_learning_rates([optimizer], linear_schedule(step, warmup_steps, total_steps))
                texts = train.texts_of(rows)
                batch = train.batch(torch.from_numpy(texts).to(device), width_of(lengths[texts], max_length))
                losses[number] = steps.gradients(batch, key=(cell.seed << 32) + step)
                optimizer.step()
                step += 1
                if step % UPDATES_BETWEEN_CHECKS == 0 or number + 1 == len(batches):
                    _require_finite(losses[: number + 1], cell, first_step=step - number)
                report(len(rows), f"epoch {epoch}/{cell.epochs}")
            if isinstance(optimizer, CompiledAdamW):
                optimizer.catch_up()
            epoch_losses.append(losses.mean().item())
            logits = logits_of(steps.logits, dev, max_length=max_length)
            predictions = objective.predictions(logits, dev.words_of_rows)
            score = objective.score(predictions, dev.labels)
            epoch_scores.append(score.percent)
            if tuning.patience is None:
                kept = _Kept(epoch, predictions, score, None)
            elif kept is None or score.percent > kept.score.percent:
                kept = _Kept(epoch, predictions, score, {n: x.clone() for n, x in model.state_dict().items()})
            elif epoch - kept.epoch >= tuning.patience:
                break
    assert kept
    if kept.weights is not None:
        model.load_state_dict(kept.weights)
    return Outcome(
        objective.exported(model), kept.predictions, objective.metric, *kept.score, kept.epoch,
        epoch_scores, epoch_losses, step, time.monotonic() - began,
    )  # fmt: skip


def parameter_groups(model: TaskModel, learning_rate: float, layer_decay: float) -> list[dict[str, Any]]:
    """Parameter groups, each with its peak learning rate under ``peak``: see `Tuning.layer_decay`.

    The head has `learning_rate`, the last layer that times the decay, and so on down; the embeddings are one layer
    more. Matrices are decayed, vectors not.
    """
    by_rate: dict[float, list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        above = 0
        if name.startswith("encoder."):
            parts = name.split(".")
            above = len(model.encoder.layers) - (int(parts[2]) if parts[1] == "layers" else -1)
        by_rate.setdefault(learning_rate * layer_decay**above, []).append(parameter)
    return [
        group | {"peak": rate}
        for rate, parameters in by_rate.items()
        for group in decay_groups(parameters, WEIGHT_DECAY)
    ]


def _require_finite(losses: Tensor, cell: Cell, first_step: int) -> None:
    bad = (~losses.isfinite()).nonzero()
    if len(bad):
        raise UserError(
            f"the training loss is {losses[bad[0, 0]].item()} at step {first_step + int(bad[0, 0])}",
            where=f"cell {cell.name}",
            accepted="a finite loss",
            action="Lower the learning rate, or train in --precision float32",
        )
