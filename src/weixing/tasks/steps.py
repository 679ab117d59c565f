"""Gradients and logits of a classifier in two ways: by torch's autograd (any device), and by compiled passes (CPU)."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from weixing.model.compiled.classifier import ClassifierPass
from weixing.model.compiled.encoder import dropout_key
from weixing.model.compiled.masked_lm import TOKENS
from weixing.model.compiled.parallel import ParallelGradients
from weixing.model.compiled.workers import Workers
from weixing.model.heads import AnyClassifier, Embedder, TaskModel
from weixing.tasks.batches import width_of
from weixing.tasks.encoding import Batch
from weixing.tasks.logits import compiled_logits, forward, plain_logits, rows_of
from weixing.tasks.losses import Loss
from weixing.training.devices import Precision, product_type

ROWS_AT_ONCE = 8  # of like length; fewer are less padded, more make better use of a core


class Steps(Protocol):
    """What training and scoring ask of a classifier.

    Attributes:
        workers: the cores it uses of a CPU, or None.
        copies: what the optimizer keeps equal to the parameters, by parameter.
        pieces: what of a parameter has gradients, by parameter; all where it says nothing.
    """

    workers: Workers | None
    copies: Mapping[Tensor, np.ndarray]
    pieces: Mapping[Tensor, list[slice]]

    def gradients(self, batch: Batch, key: int) -> Tensor:
        """Fill ``grad`` with the gradient of the mean loss and return that; `key` decides what is dropped."""

    def logits(self, batches: list[Batch]) -> list[Tensor]:
        """Logits of each batch, [B, L] or [B, T, L], on the CPU, without dropout."""


class AutogradSteps:
    """By torch; dropout follows torch's own random state.

    Args:
        model: on its device, with its dropout set.
        loss: of a batch.
        precision: of the matrix products.
    """

    def __init__(self, model: TaskModel, loss: Loss, precision: Precision) -> None:
        self.model, self.loss, self.precision = model, loss, precision
        self.workers: Workers | None = None
        self.copies: Mapping[Tensor, np.ndarray] = {}
        self.pieces: Mapping[Tensor, list[slice]] = {}

    def gradients(self, batch: Batch, key: int) -> Tensor:
        """As in `Steps`."""
        self.model.train()
        self.model.zero_grad()
        logits = forward(self.model, self.precision, batch.repeated(self.loss.passes))
        loss = self.loss.sum(logits, batch.targets, batch.soft) / self.loss.count(batch.targets)
        loss.backward()
        return loss.detach()

    def logits(self, batches: list[Batch]) -> list[Tensor]:
        """As in `Steps`."""
        return plain_logits(self.model, self.precision, batches)


class CompiledSteps:
    """By compiled passes, each core with rows of its own.

    Args:
        model: on the CPU; its parameters must stay in the memory that they are in.
        loss: of a batch.
        precision: of the matrix products.
        workers: the cores.
        dropout: of the encoder.
        entries: int64, ascending: the vocabulary entries that rows of training hold; None: all.
    """

    def __init__(
        self,
        model: AnyClassifier,
        loss: Loss,
        precision: Precision,
        workers: Workers,
        dropout: float,
        entries: np.ndarray | None = None,
    ) -> None:
        self.workers: Workers | None = workers
        self.model, self.loss, self.dropout = model, loss, dropout
        self._parallel = ParallelGradients(
            model, product_type(precision), workers, partial(ClassifierPass, model), {TOKENS: entries}
        )
        self.copies: Mapping[Tensor, np.ndarray] = self._parallel.weights.copies
        self.pieces: Mapping[Tensor, list[slice]] = self._parallel.weights.pieces

    def gradients(self, batch: Batch, key: int) -> Tensor:
        """As in `Steps`."""
        self.model.train()
        lengths, cores = batch.attention.sum(1), self._parallel.workers.count
        # Every core has its share of the long rows and goes from long to short ones, a few of like length at a time.
        order = torch.argsort(lengths, descending=True, stable=True)
        order = torch.cat([order[core::cores] for core in range(cores)])
        batch, widths = batch[order], lengths[order].numpy()
        rows, weight = rows_of(batch, self.model.each_token), 1 / int(self.loss.count(batch.targets))

        def work(one: ClassifierPass, part: slice) -> float:
            width = width_of(widths[part], rows.ids.shape[1])
            cut = (part, slice(width)) if self.model.each_token else part
            targets, soft = batch.targets[cut], None if batch.soft is None else batch.soft[cut]
            some = rows.some(part).narrow(width).repeated(self.loss.passes)

            def loss(logits: Tensor) -> Tensor:
                return weight * self.loss.sum(logits, targets, soft)

            return one.add_gradients(some, loss, self.dropout, dropout_key(key, part.start))

        at_once = ROWS_AT_ONCE // self.loss.passes
        return torch.tensor(math.fsum(self._parallel.run(len(batch.ids), at_once, work)))

    def logits(self, batches: list[Batch]) -> list[Tensor]:
        """As in `Steps`."""
        self.model.eval()
        return compiled_logits(self._parallel.passes, self._parallel.workers, batches)


def make_steps(
    model: TaskModel,
    loss: Loss,
    precision: Precision,
    dropout: float,
    workers: Workers | None,
    entries: np.ndarray | None = None,
) -> Steps:
    """By compiled passes if there are `workers` (of a CPU), else by autograd; `dropout`, of the encoder, is set.

    A loss of whole batches is not for compiled passes.

    Args:
        entries: as in `CompiledSteps`; autograd has gradients of all others too, zeros.
    """
    if workers:
        assert not isinstance(model, Embedder)
        return CompiledSteps(model, loss, precision, workers, dropout, entries)
    model.encoder.set_dropout(dropout)
    return AutogradSteps(model, loss, precision)
