"""Ways to the gradients of an update: autograd (any device), and compiled passes on every core of a CPU.

All leave the mean loss' gradient in each parameter's ``grad``, and are tested to give the same. On several ranks the
mean is over the rows of all of them; autograd then is `weixing.training.replicas`.
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import Protocol, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from weixing.model.compiled.encoder import dropout_key
from weixing.model.compiled.masked_lm import TOKENS, MaskedLanguageModelPass
from weixing.model.compiled.parallel import ParallelGradients
from weixing.model.compiled.rows import Rows
from weixing.model.compiled.workers import Workers
from weixing.model.heads import MaskedLanguageModel
from weixing.training.batch import Batch, Loss, masked_loss
from weixing.training.cutting import has_cut
from weixing.training.devices import Precision, autocast, product_type
from weixing.training.ranks import ALONE, Ranks
from weixing.training.replicas import ReplicatedGradients
from weixing.training.sharding import ShardedGradients

CHUNK_NUMBERS = 1 << 19  # positions times hidden units of one pass: larger ones leave the cache


class GradientMaker(Protocol):
    """Makes gradients, and clips them.

    Attributes:
        workers: the cores it uses of a CPU, or None.
        copies: what optimizers keep equal to the parameters, by parameter.
        pieces: what of a parameter has gradients, by parameter; all where it says nothing.
    """

    workers: Workers | None
    copies: Mapping[Tensor, np.ndarray]
    pieces: Mapping[Tensor, list[slice]]

    def refresh(self) -> None:
        """To be called after parameters were changed by anything but an optimizer that knows `copies`."""

    def __call__(self, batch: Batch, seed: int) -> Tensor:
        """Fill ``grad`` of all parameters with the gradient of the mean loss over the rows of all ranks.

        Returns:
            The sum of the losses of this rank's rows.
        """

    def clip(self, limit: float) -> Tensor:
        """Scale the gradients so that their L2 norm is at most `limit`; return the norm that it was."""


class AutogradGradients:
    """By torch's autograd.

    Args:
        model: on its device, with its dropout set.
        precision: of the matrix products.
        micro_batch_size: rows of one forward pass.
        entries: vocabulary entries that can be predicted (`weixing.data.reach`), or None: all.
        loss: `masked_loss`, plain or compiled.
    """

    def __init__(
        self,
        model: MaskedLanguageModel,
        precision: Precision,
        micro_batch_size: int,
        entries: np.ndarray | None = None,
        loss: Loss = masked_loss,
    ) -> None:
        self.entries = None if entries is None else torch.from_numpy(entries).to(model.head.bias.device)
        self.model, self.precision, self.micro_batch_size, self.loss = model, precision, micro_batch_size, loss
        self.parameters = list(model.parameters())  # to walk the modules in every step would take a GPU's host long
        self.workers: Workers | None = None
        self.copies: Mapping[Tensor, np.ndarray] = {}
        self.pieces: Mapping[Tensor, list[slice]] = {}

    def refresh(self) -> None:
        """Nothing to do."""

    def __call__(self, batch: Batch, seed: int) -> Tensor:
        """Fill ``grad``; dropout follows torch's own random state, not `seed`."""
        device = batch.masked.ids.device
        for parameter in self.parameters:
            parameter.grad = None
        predicted = batch.masked.weights.sum().clamp(min=1)
        total = torch.zeros((), device=device)
        sums: list[Tensor] = []
        for start in range(0, len(batch), self.micro_batch_size):
            with autocast(device, self.precision):
                part = self.loss(self.model, batch[start : start + self.micro_batch_size], self.entries)
            gradients = torch.autograd.grad(part / predicted, self.parameters)
            if sums:
                torch._foreach_add_(sums, gradients)
            else:
                sums = [gradient.contiguous() for gradient in gradients]
            total += part.detach()
        for parameter, gradient in zip(self.parameters, sums, strict=True):
            parameter.grad = gradient
        return total

    def clip(self, limit: float) -> Tensor:
        """As in `GradientMaker`."""
        return clip_grad_norm_(self.parameters, limit)


class CompiledGradients:
    """By compiled passes (`weixing.model.compiled`), each core with rows of its own.

    Args:
        model: on the CPU; its parameters must stay in the memory that they are in.
        precision: of the matrix products.
        workers: the cores.
        dropout: of the encoder.
        micro_batch_size: most rows of one pass; it may take fewer.
        entries: vocabulary entries that can be predicted (`weixing.data.reach`), or None: all.
        ranks: the processes that have rows of the update.
    """

    def __init__(
        self,
        model: MaskedLanguageModel,
        precision: Precision,
        workers: Workers,
        dropout: float = 0.0,
        micro_batch_size: int = 1 << 30,
        entries: np.ndarray | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.workers: Workers | None = workers
        self.ranks = ranks
        self.dropout, self.micro_batch_size = dropout, micro_batch_size
        self.hidden = model.encoder.shape.hidden
        self._parallel = ParallelGradients(
            model, product_type(precision), workers, partial(MaskedLanguageModelPass, model), {TOKENS: entries},
            add_up=ranks.add_up if ranks.count > 1 else None,
        )  # fmt: skip
        self.copies: Mapping[Tensor, np.ndarray] = self._parallel.weights.copies
        self.pieces: Mapping[Tensor, list[slice]] = self._parallel.weights.pieces

    def __call__(self, batch: Batch, seed: int) -> Tensor:
        """Fill ``grad``; `seed` decides what is dropped."""
        rows, labels, counts = compiled_rows(batch), batch.masked.labels.numpy(), batch.masked.weights.numpy()
        predicted = max(1.0, self.ranks.totals(float(counts.sum()))[0])
        counts = counts / predicted
        soft = None if batch.soft is None else (batch.soft.entries.numpy(), batch.soft.shares.numpy())
        first_row = self.ranks.rank * len(batch)

        def work(one: MaskedLanguageModelPass, part: slice) -> float:
            return one.add_gradients(
                rows.some(part), labels[part], counts[part], self.dropout, dropout_key(seed, first_row + part.start),
                None if soft is None else (soft[0][part], soft[1][part]),
            )  # fmt: skip

        at_once = min(self.micro_batch_size, max(1, CHUNK_NUMBERS // (rows.ids.shape[1] * self.hidden)))
        return torch.tensor(math.fsum(self._parallel.run(len(batch), at_once, work)) * predicted)

    def refresh(self) -> None:
        """Copy the parameters anew for the matrix products."""
        self._parallel.weights.refresh()

    def clip(self, limit: float) -> Tensor:
        """As in `GradientMaker`."""
        return torch.tensor(self._parallel.clip(limit))


def compiled_rows(batch: Batch) -> Rows:
    """What a compiled pass reads of a batch."""
    first, last = (t.numpy() for t in batch.seen) if batch.seen else (None, None)
    positions = None if batch.positions is None else batch.positions.numpy()
    return Rows.of(
        batch.masked.ids.numpy(), positions=positions, first=first, last=last, asked=batch.masked.positions.numpy()
    )


def compiled_loss() -> Loss:
    """`masked_loss` by torch.compile, for a GPU.

    In one piece (nothing falls back to Python unseen) and of fixed sizes: rows, positions and slots of a run never
    change. No CUDA graph is made here: one goes around the whole update (`weixing.training.update`). Mode
    ``max-autotune`` searches for matrix kernels for minutes, where cuBLAS leaves little.
    """
    return cast(Loss, torch.compile(masked_loss, fullgraph=True, dynamic=False))


def make_gradients(
    model: MaskedLanguageModel,
    precision: Precision,
    device: torch.device,
    *,
    dropout: float,
    micro_batch_size: int,
    entries: np.ndarray | None,
    compiled: bool,
    ranks: Ranks,
) -> GradientMaker:
    """The fastest way on `device`; `dropout` is set.

    Args:
        compiled: whether torch.compile may be used, which is done on a GPU.
        ranks: the processes that have rows of the update.
    """
    if has_cut(model):
        model.encoder.set_dropout(dropout)
        return ShardedGradients(model, precision, micro_batch_size, device, ranks, entries)
    if device.type == "cpu":
        return CompiledGradients(model, precision, Workers(), dropout, micro_batch_size, entries, ranks)
    model.encoder.set_dropout(dropout)
    loss = compiled_loss() if compiled else masked_loss
    if ranks.count > 1:
        return ReplicatedGradients(model, precision, micro_batch_size, ranks, entries, loss)
    return AutogradGradients(model, precision, micro_batch_size, entries, loss)
