"""Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon): momentum, made orthogonal, for matrices."""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from weixing.model.compiled.workers import Workers
from weixing.training.cutting import joined_like, local, part_of, whole
from weixing.zoo import Shape

# Of one Newton-Schulz step, X ← a X + (b A + c A²) X with A = X Xᵀ: they bring every singular value near 1.
A, B, C = 3.4445, -4.7750, 2.0315
STEPS = 5
SMALLEST_NORM = 1e-7


class Muon(Optimizer):
    """Muon on matrices, all of them at once: stacked by shape on a GPU, one a core on a CPU.

    The update is lr · √max(1, rows / columns) · orthogonalised Nesterov momentum, as in the original; weight decay is
    decoupled. `torch.optim.Muon` gives the same numbers one matrix at a time.

    Args:
        params: matrices or groups of them.
        lr: learning rate; a group's may be a tensor on the device, which a CUDA graph reads anew.
        momentum: of the moving average of gradients.
        weight_decay: decoupled.
        every: updates between two orthogonalisations of a matrix; between them the last direction is gone on in.
        workers: the cores of a CPU; None on other devices.
        dtype: of the matrix products: torch.bfloat16 where the hardware has it.
        updated: called with the parameters after an update.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        every: int = 1,
        *,
        workers: Workers | None = None,
        dtype: torch.dtype = torch.bfloat16,
        updated: Callable[[Tensor], None] = lambda parameter: None,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "every": every, "updates": 0}
        )
        self._workers, self._dtype, self._updated = workers, dtype, updated

    @property
    def turn(self) -> int:
        """Which matrices are to have a new direction in the coming update: the same where this number is the same."""
        group = self.param_groups[0]
        return int(group["updates"] % group["every"])

    def count(self) -> None:
        """Count an update that was made without `step`, by a CUDA graph."""
        for group in self.param_groups:
            group["updates"] += 1

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # no closure is used here
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            jobs: dict[tuple[Any, bool], list[Tensor]] = {}
            for number, p in enumerate(p for p in group["params"] if p.grad is not None):
                if not self.state[p]:
                    self.state[p] = {"momentum": torch.zeros_like(p)}
                # Turns are staggered, so that all updates cost about the same; every matrix has one in the first.
                turn = "direction" not in self.state[p] or (group["updates"] + number) % group["every"] == 0
                jobs.setdefault((number if self._workers else p.shape, turn), []).append(p)
            work = [(matrices, turn) for (_, turn), matrices in jobs.items()]
            if self._workers:
                work.sort(key=lambda job: (-job[1], -job[0][0].numel()))  # the longest first
                self._workers.map(partial(self._update, group), work)
            else:
                for job in work:
                    self._update(group, job)
        self.count()

    @torch.no_grad()  # a setting of the thread's own
    def _update(self, group: dict[str, Any], job: tuple[list[Tensor], bool]) -> None:
        """One update of matrices of one shape, with a new direction if it is their turn."""
        matrices, turn = job
        rows, columns = matrices[0].shape
        # Of matrices that are cut among ranks, each rank works on its part; only to be made orthogonal they are whole.
        parts = [local(p) for p in matrices]
        averages = [local(self.state[p]["momentum"]) for p in matrices]
        gradients = [local(p.grad) for p in matrices if p.grad is not None]
        torch._foreach_lerp_(averages, gradients, 1 - group["momentum"])
        if turn:
            ahead = torch._foreach_lerp(gradients, averages, group["momentum"])
            wholes = [whole(joined_like(part, p)) for part, p in zip(ahead, matrices, strict=True)]
            orthogonal = orthogonalise(torch.stack(wholes).to(self._dtype)).unbind()
            directions = [part_of(direction, p) for direction, p in zip(orthogonal, matrices, strict=True)]
            if group["every"] > 1:
                for p, direction in zip(matrices, directions, strict=True):
                    # Always in one place, where CUDA graphs of other turns read it.
                    kept = self.state[p].setdefault("direction", joined_like(torch.empty_like(direction), p))
                    local(kept).copy_(direction)
        else:
            directions = [local(self.state[p]["direction"]) for p in matrices]
        torch._foreach_mul_(parts, 1 - group["lr"] * group["weight_decay"])
        length = group["lr"] * math.sqrt(max(1, rows / columns))
        if isinstance(length, Tensor):
            torch._foreach_sub_(parts, torch._foreach_mul(directions, length))
        else:
            for p, part, direction in zip(matrices, parts, directions, strict=True):
                part.add_(direction, alpha=-length)
                self._updated(p)


def orthogonalise(x: Tensor) -> Tensor:
    """The nearest (semi-)orthogonal matrices to x [K, m, n], roughly: singular values come out between 0.7 and 1.2."""
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.transpose(1, 2)
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=SMALLEST_NORM)
    for _ in range(STEPS):
        a = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(a, a, a, beta=B, alpha=C), x, beta=A)
    return x.transpose(1, 2) if tall else x


def orthogonalisation_interval(shape: Shape, tokens: int, predicted_share: float, sequence_length: int) -> int:
    """Updates between two orthogonalisations, so that they take at most a tenth of the operations, within limits.

    An orthogonalisation of m × n costs STEPS · (4 m² n + 2 m³); small updates of wide shapes would spend more on that
    than on their gradients. The momentum's memory is 20 updates; a direction is kept for 8 at most.

    Args:
        shape: of the model.
        tokens: positions an update.
        predicted_share, sequence_length: as in `Shape.training_flops_per_token`.
    """
    H, F = shape.hidden, shape.feed_forward
    costs = (4 * n * H * H + 2 * H**3 for n in (3 * H, H, F, F))  # queries, keys and values; output; two more
    cost = shape.layers * STEPS * sum(costs)
    return min(
        8, max(1, math.ceil(cost / (0.1 * tokens * shape.training_flops_per_token(sequence_length, predicted_share))))
    )
