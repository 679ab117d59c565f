"""Gradients and predictions of a classifier, in two ways: torch's autograd (any device), and compiled passes (CPU)."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from weixing.model.compiled.classifier import ClassifierPass
from weixing.model.compiled.encoder import Rows, dropout_key
from weixing.model.compiled.parallel import ParallelGradients
from weixing.model.compiled.workers import Workers
from weixing.model.heads import Classifier
from weixing.tasks.batches import width_of
from weixing.tasks.encoding import Batch
from weixing.training.devices import Precision, autocast, product_type

ROWS_AT_ONCE = 8  # of like length; fewer are less padded, more make better use of a core


class Steps(Protocol):
    """What training and scoring ask of a classifier.

    Attributes:
        workers: the cores it uses of a CPU, or None.
        copies: what the optimizer keeps equal to the parameters, by parameter.
    """

    workers: Workers | None
    copies: Mapping[Tensor, np.ndarray]

    def gradients(self, batch: Batch, key: int) -> Tensor:
        """Fill ``grad`` with the gradient of the mean cross entropy and return that; `key` decides what is dropped."""

    def logits(self, batches: list[Batch]) -> list[Tensor]:
        """Logits [B, labels] of each batch, on the CPU, without dropout."""


class AutogradSteps:
    """By torch; dropout follows torch's own random state.

    Args:
        model: on its device, with its dropout set.
        precision: of the matrix products.
    """

    def __init__(self, model: Classifier, precision: Precision) -> None:
        self.model, self.precision = model, precision
        self.device = model.output.weight.device
        self.workers: Workers | None = None
        self.copies: Mapping[Tensor, np.ndarray] = {}

    def gradients(self, batch: Batch, key: int) -> Tensor:
        """As in `Steps`."""
        self.model.train()
        self.model.zero_grad()
        loss = F.cross_entropy(self._logits(batch), batch.labels)
        loss.backward()
        return loss.detach()

    @torch.no_grad()
    def logits(self, batches: list[Batch]) -> list[Tensor]:
        """As in `Steps`."""
        self.model.eval()
        return [self._logits(batch).cpu() for batch in batches]

    def _logits(self, batch: Batch) -> Tensor:
        with autocast(self.device, self.precision):
            return self.model(batch.ids, batch.token_types, batch.attention).float()


class CompiledSteps:
    """By compiled passes, each core with rows of its own.

    Args:
        model: on the CPU; its parameters must stay in the memory that they are in.
        precision: of the matrix products.
        workers: the cores.
        dropout: of the encoder.
    """

    def __init__(self, model: Classifier, precision: Precision, workers: Workers, dropout: float) -> None:
        self.workers: Workers | None = workers
        self.model, self.dropout = model, dropout
        self._parallel = ParallelGradients(model, product_type(precision), workers, partial(ClassifierPass, model))
        self.copies: Mapping[Tensor, np.ndarray] = self._parallel.weights.copies

    def gradients(self, batch: Batch, key: int) -> Tensor:
        """As in `Steps`."""
        self.model.train()
        lengths, cores, count = batch.attention.sum(1), self._parallel.workers.count, len(batch.ids)
        # Every core has its share of the long rows and goes from long to short ones, a few of like length at a time.
        order = torch.argsort(lengths, descending=True, stable=True)
        order = torch.cat([order[core::cores] for core in range(cores)])
        batch, widths = batch[order], lengths[order].numpy()
        rows = _rows(batch)

        def work(one: ClassifierPass, part: slice) -> float:
            some = rows.some(part).narrow(width_of(widths[part], rows.ids.shape[1]))
            return one.add_gradients(some, batch.labels[part], 1 / count, self.dropout, dropout_key(key, part.start))

        return torch.tensor(math.fsum(self._parallel.run(count, ROWS_AT_ONCE, work)))

    def logits(self, batches: list[Batch]) -> list[Tensor]:
        """As in `Steps`."""
        self.model.eval()
        passes = self._parallel.passes

        def work(number: int) -> list[Tensor]:
            return [passes[number].logits(_rows(batch)) for batch in batches[number :: len(passes)]]

        shares = self._parallel.workers.map(work, range(len(passes)))
        return [shares[number % len(passes)][number // len(passes)] for number in range(len(batches))]


def make_steps(model: Classifier, precision: Precision, dropout: float, workers: Workers | None) -> Steps:
    """By compiled passes if there are `workers` (of a CPU), else by autograd; `dropout`, of the encoder, is set."""
    if workers:
        return CompiledSteps(model, precision, workers, dropout)
    model.encoder.set_dropout(dropout)
    return AutogradSteps(model, precision)


def _rows(batch: Batch) -> Rows:
    ids = batch.ids.numpy()
    lengths = batch.attention.sum(1, keepdim=True).expand_as(batch.ids).contiguous().numpy()
    first_token = np.zeros((len(ids), 1), np.int64)
    return Rows.of(ids, kinds=batch.token_types.numpy(), last=lengths, asked=first_token)
