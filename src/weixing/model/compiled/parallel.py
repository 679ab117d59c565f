"""Gradients of one model on several cores: each core runs passes over rows of its own, then the sums are joined."""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import nn

from weixing.model.compiled.buffers import Buffers
from weixing.model.compiled.encoder import Gradients, Weights
from weixing.model.compiled.updates import add, scale, sum_of_squares
from weixing.model.compiled.workers import Workers, evenly


class HasGradients(Protocol):
    """A pass: what computes for one core, and sums its gradients."""

    @property
    def gradients(self) -> Gradients:
        """The sums."""


Pass = TypeVar("Pass", bound=HasGradients)
Result = TypeVar("Result")


class ParallelGradients(Generic[Pass]):
    """Fills ``grad`` of a model's parameters.

    Args:
        model: on the CPU; its parameters must stay in the memory that they are in.
        dtype: of the matrix products, torch.bfloat16 or torch.float32.
        workers: the cores.
        make_pass: makes what computes on one core.
        chosen: see `Weights`.
        add_up: adds up arrays, in place, with those of other processes that have rows of the same update.
    """

    def __init__(
        self,
        model: nn.Module,
        dtype: torch.dtype,
        workers: Workers,
        make_pass: Callable[[Weights, Gradients, Buffers], Pass],
        chosen: Mapping[str, np.ndarray | None] = MappingProxyType({}),
        add_up: Callable[[Sequence[np.ndarray]], None] | None = None,
    ) -> None:
        self.workers, self._add_up = workers, add_up
        self.weights = Weights(model, dtype, chosen)
        self.norm = 0.0
        of = self.weights.pieces
        pieces = {name: of[p] for name, p in self.weights.parameters.items()}
        self._pieces = [(name, part) for name, parts in pieces.items() for part in parts]
        few = {name: pieces[name] for name in self.weights.chosen}
        self.passes: list[Pass] = []
        for number in range(workers.count):
            own = {name: torch.zeros_like(p) for name, p in self.weights.parameters.items()}
            if number == 0:
                for name, p in self.weights.parameters.items():
                    p.grad = own[name]
            buffers = Buffers(dtype)
            self.passes.append(make_pass(self.weights, Gradients(own, buffers, few), buffers))
        self._flat = [
            {name: total.array.reshape(-1) for name, total in one.gradients.sums.items()} for one in self.passes
        ]

    def run(self, rows: int, at_once: int, work: Callable[[Pass, slice], Result]) -> list[Result]:
        """Call `work` with a core's pass and some rows, until all `rows` had their turn; ``grad`` is their sum then.

        Args:
            rows: in all.
            at_once: most rows of one call.
            work: adds gradients of some rows to ``pass.gradients``.

        Returns:
            What `work` returned, in the order of the rows.
        """
        everyone = range(self.workers.count)
        self.workers.map(lambda number: self.weights.copy_chosen(number, self.workers.count), everyone)
        shares = [share for share in np.array_split(np.arange(rows), self.workers.count) if len(share)]

        def work_off(number: int) -> list[Result]:
            one, share = self.passes[number], shares[number]
            one.gradients.begin()
            results = [
                work(one, slice(int(part[0]), int(part[-1]) + 1))
                for part in np.array_split(share, -(-len(share) // max(1, at_once)))
            ]
            one.gradients.finish()
            return results

        results = self.workers.map(work_off, range(len(shares)))
        squares = self._of_pieces(lambda name, part: self._join(name, part, len(shares)))
        if self._add_up:
            self._add_up([self._flat[0][name][part] for name, part in self._pieces])
            squares = self._of_pieces(lambda name, part: float(sum_of_squares(self._flat[0][name][part])))
        self.norm = math.sqrt(math.fsum(squares))
        return [result for some in results for result in some]

    def clip(self, limit: float) -> float:
        """Scale ``grad`` so that its L2 norm is at most `limit`; return the norm that it was."""
        if self.norm > limit:
            factor = np.float32(limit / (self.norm + 1e-6))  # as torch's clip_grad_norm_ has it

            def scale_run(run: slice) -> None:
                for name, part in self._pieces[run]:
                    scale(self._flat[0][name][part], factor)

            self.workers.map(scale_run, self._runs())
        return self.norm

    def _of_pieces(self, number: Callable[[str, slice], float]) -> list[float]:
        """A number of each piece, made by all cores."""
        runs = self.workers.map(lambda run: [number(*piece) for piece in self._pieces[run]], self._runs())
        return [of_piece for run in runs for of_piece in run]

    def _runs(self) -> list[slice]:
        return evenly([part.stop - part.start for _, part in self._pieces], self.workers.count)

    def _join(self, name: str, part: slice, count: int) -> float:
        total = self._flat[0][name][part]
        for other in self._flat[1:count]:
            add(total, other[name][part])
        return float(sum_of_squares(total))
