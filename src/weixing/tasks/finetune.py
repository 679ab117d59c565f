"""Fine-tuning of one cell: a pretrained encoder, a task and four numbers in, a classifier and its dev scores out.

Opens no file. The recipe is that of the published scores (UER-py `finetune/run_classifier.py` and
`run_classifier_grid.py`): AdamW without bias correction, linear warm-up and decay, mean cross entropy, no clipping,
encoder dropout 0.1, no dropout in the head, the score taken after the last epoch. What differs:

* every cell is reseeded, so that a cell alone gives the number that it gives in a grid (UER-py seeds once a grid);
* batches are drawn among rows of like length (`weixing.tasks.batches`), so that other rows share an update than in
  UER-py, which shuffles all rows and pads each to 128 tokens;
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

import numpy as np
import torch

from weixing.errors import UserError
from weixing.model.compiled.workers import Workers, one_thread
from weixing.model.encoder import Encoder
from weixing.model.heads import Classifier
from weixing.tasks.batches import shuffled_batches, sorted_batches, width_of
from weixing.tasks.cells import Cell
from weixing.tasks.encoding import Encoded
from weixing.tasks.steps import Steps, make_steps
from weixing.training.devices import Precision
from weixing.training.optimizers import decay_groups, uer_adamw
from weixing.training.schedules import linear_schedule

DROPOUT = 0.1
BETAS = (0.9, 0.999)
EPSILON = 1e-6
WEIGHT_DECAY = 0.01  # not on biases and LayerNorm
WARMUP_SHARE = 0.1
EVALUATION_BATCH_SIZE = 64
BATCHES_AT_ONCE = 64  # in memory, padded; the cores share them
UPDATES_BETWEEN_CHECKS = 50  # looking at a loss makes the processor wait for the device


@dataclass(frozen=True)
class Outcome:
    """What a cell gave: the model as it is after the last epoch, and how it did on the way.

    `probabilities` float32 [N, labels] are the model's, on the dev rows; `epoch_scores` are dev accuracies in percent
    and `epoch_losses` mean training losses, one an epoch; `seconds` count training and dev evaluation.
    """

    model: Classifier
    probabilities: np.ndarray
    correct: int
    epoch_scores: list[float]
    epoch_losses: list[float]
    steps: int
    seconds: float


def new_classifier(pretrained: Encoder, labels: int) -> Classifier:
    """A classifier on a copy of `pretrained`. The head starts uniform in ±1/√H, PyTorch's default, as in UER-py.

    Starting its first layer from the identity was tried (a 2/128 in mid-training, 2,000 rows, 3 epochs, 3 seeds):
    -1.4 and +3.6 points on chnsenticorp, +0.5 and 0.0 on tnews at learning rates 1e-4 and 3e-4, all within the spread.
    """
    return Classifier(copy.deepcopy(pretrained), labels)


def fine_tune(
    pretrained: Encoder,
    train: Encoded,
    dev: Encoded,
    labels: int,
    cell: Cell,
    *,
    max_length: int,
    device: torch.device,
    precision: Precision,
    report: Callable[[int, str], None] = lambda rows, note: None,
) -> Outcome:
    """Train one cell and score it after each epoch. The global random state is as before when it returns.

    Args:
        pretrained: left as it is.
        train, dev: on `device`.
        labels: classes.
        max_length: of the encoding, in tokens.
        precision: ``bf16`` or ``float32``.
        report: called after each update with the rows it took and a note.

    Raises:
        UserError: the training loss is no longer finite.
    """
    began = time.monotonic()
    lengths = train.lengths.cpu().numpy()
    total_steps = cell.total_steps(len(train))
    warmup_steps = int(WARMUP_SHARE * total_steps)
    epoch_scores: list[float] = []
    epoch_losses: list[float] = []
    step = 0
    workers = Workers() if device.type == "cpu" else None
    with one_thread(workers), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(cell.seed)
        generator = np.random.default_rng(cell.seed)
        model = new_classifier(pretrained, labels).to(device)
        steps = make_steps(model, precision, DROPOUT, workers)
        optimizer = uer_adamw(
            decay_groups(model.parameters(), WEIGHT_DECAY), lr=cell.learning_rate, betas=BETAS, eps=EPSILON,
            workers=steps.workers, copies=steps.copies,
        )  # fmt: skip
        for epoch in range(1, cell.epochs + 1):
            batches = shuffled_batches(len(train), cell.batch_size, generator)
            losses = torch.zeros(len(batches), device=device)
            for number, rows in enumerate(batches):
                factor = linear_schedule(step, warmup_steps, total_steps)
                for group in optimizer.param_groups:
                    group["lr"] = cell.learning_rate * factor
                batch = train.batch(torch.from_numpy(rows).to(device), width_of(lengths[rows], max_length))
                losses[number] = steps.gradients(batch, key=(cell.seed << 32) + step)
                optimizer.step()
                step += 1
                if step % UPDATES_BETWEEN_CHECKS == 0 or number + 1 == len(batches):
                    _require_finite(losses[: number + 1], cell, first_step=step - number)
                report(len(rows), f"epoch {epoch}/{cell.epochs}")
            epoch_losses.append(losses.mean().item())
            probabilities = predict(steps, dev, labels, max_length=max_length)
            correct = int((probabilities.argmax(axis=1) == dev.labels.cpu().numpy()).sum())
            epoch_scores.append(100 * correct / len(dev))
    return Outcome(model, probabilities, correct, epoch_scores, epoch_losses, step, time.monotonic() - began)


def predict(steps: Steps, examples: Encoded, labels: int, *, max_length: int) -> np.ndarray:
    """Probabilities, float32 [N, labels], in the order of `examples`; dropout is off."""
    lengths = examples.lengths.cpu().numpy()
    probabilities = np.empty((len(examples), labels), dtype=np.float32)
    batches = sorted_batches(lengths, EVALUATION_BATCH_SIZE)
    for start in range(0, len(batches), BATCHES_AT_ONCE):
        some = batches[start : start + BATCHES_AT_ONCE]
        logits = steps.logits(
            [
                examples.batch(torch.from_numpy(rows).to(examples.ids.device), width_of(lengths[rows], max_length))
                for rows in some
            ]
        )
        for rows, values in zip(some, logits, strict=True):
            probabilities[rows] = values.softmax(dim=1).numpy()
    return probabilities


def _require_finite(losses: torch.Tensor, cell: Cell, first_step: int) -> None:
    bad = (~losses.isfinite()).nonzero()
    if len(bad):
        raise UserError(
            f"the training loss is {losses[bad[0, 0]].item()} at step {first_step + int(bad[0, 0])}",
            where=f"cell {cell.name}",
            accepted="a finite loss",
            action="Lower the learning rate, or train in --precision float32",
        )
