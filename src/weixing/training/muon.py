"""Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon): momentum, made orthogonal, for matrices."""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from weixing.model.compiled.workers import Workers

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
        lr: learning rate.
        momentum: of the moving average of gradients.
        weight_decay: decoupled.
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
        *,
        workers: Workers | None = None,
        dtype: torch.dtype = torch.bfloat16,
        updated: Callable[[Tensor], None] = lambda parameter: None,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self._workers, self._dtype, self._updated = workers, dtype, updated

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # no closure is used here
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            matrices = [p for p in group["params"] if p.grad is not None]
            for p in matrices:
                if not self.state[p]:
                    self.state[p] = {"momentum": torch.zeros_like(p)}
            if self._workers:
                largest_first = sorted(matrices, key=lambda p: -p.numel() * min(p.shape))
                self._workers.map(partial(self._update, group), [[p] for p in largest_first])
            else:
                for shape in {p.shape for p in matrices}:
                    self._update(group, [p for p in matrices if p.shape == shape])

    @torch.no_grad()  # a setting of the thread's own
    def _update(self, group: dict[str, Any], matrices: list[Tensor]) -> None:
        """One update of matrices of one shape."""
        rows, columns = matrices[0].shape
        averages = [self.state[p]["momentum"] for p in matrices]
        gradients = [p.grad for p in matrices if p.grad is not None]
        torch._foreach_lerp_(averages, gradients, 1 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, averages, group["momentum"])
        updates = orthogonalise(torch.stack(ahead).to(self._dtype)).unbind()
        torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
        length = group["lr"] * math.sqrt(max(1, rows / columns))
        for p, update in zip(matrices, updates, strict=True):
            p.add_(update, alpha=-length)
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
