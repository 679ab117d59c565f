"""Two ways to the gradients of an update: autograd (any device), and compiled passes on every core of a CPU.

Both leave the mean loss' gradient in each parameter's ``grad``, and both are tested to give the same.
"""

import math
from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from weixing.model.compiled.buffers import Buffers, numbers
from weixing.model.compiled.encoder import Gradients, Rows, Weights
from weixing.model.compiled.masked_lm import TOKENS, MaskedLanguageModelPass
from weixing.model.compiled.updates import add, scale, sum_of_squares
from weixing.model.compiled.workers import Workers, evenly
from weixing.model.heads import MaskedLanguageModel
from weixing.training.batch import Batch, masked_loss
from weixing.training.devices import Precision, autocast

PIECE = 1 << 18  # numbers of a parameter that one worker sums at a time
CHUNK_NUMBERS = 1 << 19  # positions times hidden units of one pass: larger ones leave the cache


class GradientMaker(Protocol):
    """Makes gradients, and clips them.

    Attributes:
        workers: the cores it uses of a CPU, or None.
        copies: what optimizers keep equal to the parameters, by parameter.
    """

    workers: Workers | None
    copies: Mapping[Tensor, np.ndarray]

    def refresh(self) -> None:
        """To be called after parameters were changed by anything but an optimizer that knows `copies`."""

    def __call__(self, batch: Batch, seed: int) -> Tensor:
        """Fill ``grad`` of all parameters with the gradient of the mean loss; return the sum of the losses."""

    def clip(self, limit: float) -> Tensor:
        """Scale the gradients so that their L2 norm is at most `limit`; return the norm that it was."""


class AutogradGradients:
    """By torch's autograd.

    Args:
        model: on its device, with its dropout set.
        precision: of the matrix products.
        micro_batch_size: rows of one forward pass.
        entries: vocabulary entries that can be predicted (`weixing.data.reach`), or None: all.
    """

    def __init__(
        self,
        model: MaskedLanguageModel,
        precision: Precision,
        micro_batch_size: int,
        entries: np.ndarray | None = None,
    ) -> None:
        self.entries = None if entries is None else torch.from_numpy(entries).to(model.head.bias.device)
        self.model, self.precision, self.micro_batch_size = model, precision, micro_batch_size
        self.workers, self.copies = None, {}

    def refresh(self) -> None:
        """Nothing to do."""

    def __call__(self, batch: Batch, seed: int) -> Tensor:
        """Fill ``grad``; dropout follows torch's own random state, not `seed`."""
        device = batch.masked.ids.device
        self.model.zero_grad(set_to_none=True)
        predicted = batch.masked.weights.sum().clamp(min=1)
        total = torch.zeros((), device=device)
        for start in range(0, len(batch), self.micro_batch_size):
            with autocast(device, self.precision):
                part = masked_loss(self.model, batch[start : start + self.micro_batch_size], self.entries)
            (part / predicted).backward()
            total += part.detach()
        return total

    def clip(self, limit: float) -> Tensor:
        """As in `GradientMaker`."""
        return clip_grad_norm_(self.model.parameters(), limit)


class CompiledGradients:
    """By compiled passes (`weixing.model.compiled`), each core with rows of its own.

    Args:
        model: on the CPU; its parameters must stay in the memory that they are in.
        precision: of the matrix products.
        workers: the cores.
        dropout: of the encoder.
        micro_batch_size: most rows of one pass; it may take fewer.
        entries: vocabulary entries that can be predicted (`weixing.data.reach`), or None: all.
    """

    def __init__(
        self,
        model: MaskedLanguageModel,
        precision: Precision,
        workers: Workers,
        dropout: float = 0.0,
        micro_batch_size: int = 1 << 30,
        entries: np.ndarray | None = None,
    ) -> None:
        self.workers, self.dropout, self.micro_batch_size = workers, dropout, micro_batch_size
        self.hidden = model.encoder.shape.hidden
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self.weights = Weights(model, dtype, {TOKENS: entries})
        self.parameters, self.copies = self.weights.parameters, self.weights.copies
        self.passes: list[MaskedLanguageModelPass] = []
        for number in range(workers.count):
            if number == 0:
                for p in self.parameters.values():
                    p.grad = torch.zeros_like(p)
            own = {name: p.grad if number == 0 else torch.zeros_like(p) for name, p in self.parameters.items()}
            buffers = Buffers(dtype)
            gradients = Gradients({name: t for name, t in own.items() if t is not None}, buffers)
            self.passes.append(MaskedLanguageModelPass(model, self.weights, gradients, buffers))
        self.pieces = [
            (name, slice(start, min(start + PIECE, p.numel())))
            for name, p in self.parameters.items()
            for start in range(0, p.numel(), PIECE)
        ]
        self._flat = [
            {name: total.array.reshape(-1) for name, total in one.gradients.sums.items()} for one in self.passes
        ]

    def __call__(self, batch: Batch, seed: int) -> Tensor:
        """Fill ``grad``; `seed` decides what is dropped."""
        counts = batch.masked.weights.numpy()
        counts = counts / max(1.0, float(counts.sum()))
        rows = compiled_rows(batch)
        shares = np.array_split(np.arange(len(batch)), min(self.workers.count, len(batch)))
        everyone = range(self.workers.count)
        self.workers.map(lambda number: self.weights.copy_chosen(number, self.workers.count), everyone)
        losses = self.workers.map(
            lambda number: self._passes_over(number, shares[number], rows, batch.masked.labels.numpy(), counts, seed),
            range(len(shares)),
        )
        squares = self.workers.map(
            lambda run: [self._sum(name, part, len(shares)) for name, part in self.pieces[run]], self._runs()
        )
        self._norm = math.sqrt(math.fsum(value for run in squares for value in run))
        return torch.tensor(math.fsum(losses) * float(batch.masked.weights.sum().clamp(min=1)))

    def refresh(self) -> None:
        """Copy the parameters anew for the matrix products."""
        self.weights.refresh()

    def clip(self, limit: float) -> Tensor:
        """As in `GradientMaker`."""
        if self._norm > limit:
            factor = np.float32(limit / (self._norm + 1e-6))  # as torch's clip_grad_norm_ has it
            self.workers.map(
                lambda run: [scale(self._flat[0][name][part], factor) for name, part in self.pieces[run]],
                self._runs(),
            )
        return torch.tensor(self._norm)

    def _runs(self) -> list[slice]:
        return evenly([part.stop - part.start for _, part in self.pieces], self.workers.count)

    def _passes_over(
        self, number: int, share: np.ndarray, rows: Rows, labels: np.ndarray, counts: np.ndarray, seed: int
    ) -> float:
        one, loss = self.passes[number], 0.0
        one.gradients.begin()
        at_once = min(self.micro_batch_size, max(1, CHUNK_NUMBERS // (rows.ids.shape[1] * self.hidden)))
        for chunk in np.array_split(share, -(-len(share) // at_once)):
            part = slice(int(chunk[0]), int(chunk[-1]) + 1)
            own = Rows(*(None if array is None else array[part] for array in rows))
            loss += one.add_gradients(own, labels[part], counts[part], self.dropout, (seed << 20) + part.start)
        one.gradients.finish()
        return loss

    def _sum(self, name: str, part: slice, count: int) -> float:
        total = self._flat[0][name][part]
        for other in self._flat[1:count]:
            add(total, other[name][part])
        return float(sum_of_squares(total))


def compiled_rows(batch: Batch) -> Rows:
    """What a compiled pass reads of a batch."""
    ids = batch.masked.ids.numpy()
    places = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
    first, last = (t.numpy() for t in batch.seen) if batch.seen else (np.zeros_like(ids), np.full_like(ids, ids.shape[1]))
    positions = np.ascontiguousarray(places) if batch.positions is None else batch.positions.numpy()
    return Rows(ids, positions, np.zeros_like(ids), first, last, batch.masked.positions.numpy())


def make_gradients(
    model: MaskedLanguageModel,
    precision: Precision,
    device: torch.device,
    *,
    dropout: float,
    micro_batch_size: int,
    entries: np.ndarray | None,
) -> GradientMaker:
    """The faster of the two ways on `device`; `dropout` is set."""
    if device.type == "cpu":
        return CompiledGradients(model, precision, Workers(), dropout, micro_batch_size, entries)
    model.encoder.set_dropout(dropout)
    return AutogradGradients(model, precision, micro_batch_size, entries)
