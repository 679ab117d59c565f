"""AdamW on a CPU: one compiled pass over each parameter, spread over the cores."""

import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from weixing.model.compiled.parameters import PIECE
from weixing.model.compiled.updates import adamw
from weixing.model.compiled.workers import Workers, evenly


class CompiledAdamW(Optimizer):
    """AdamW as torch has it (Loshchilov & Hutter 2019), or, without the correction, as UER-py has it.

    Args:
        params: float32 parameters on the CPU, or groups of them.
        lr, betas, eps, weight_decay: as in `torch.optim.AdamW`.
        bias_correction: False: no division by 1 - βᵗ, weight decay after the step (uer/utils/optimizers.py:324-400).
        workers: the cores.
        copies: arrays, by parameter, that receive the new values as well (bf16 copies for matrix products).
        pieces: by parameter, flattened, what is to be updated, in pieces for one core each; all of it if left out.
            The rest must have no gradient ever; `catch_up` gives it its weight decay.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float = 0.0,
        *,
        bias_correction: bool,
        workers: Workers,
        copies: Mapping[Tensor, np.ndarray],
        pieces: Mapping[Tensor, list[slice]] = MappingProxyType({}),
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "updates": 0})
        self._correct, self._workers, self._copies, self._pieces = bias_correction, workers, copies, pieces
        self._behind: dict[Tensor, float] = {}  # by parameter, the factor of weight decay that its rest has not had

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # no closure is used here
        """Update every parameter that has a gradient."""
        pieces: list[tuple[tuple[Any, ...], list[np.ndarray]]] = []
        for group in self.param_groups:
            group["updates"] += 1
            numbers = self._numbers(group)
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["mean"], state["square"] = torch.zeros_like(p), torch.zeros_like(p)
                arrays = [t.detach().numpy().reshape(-1) for t in (p, p.grad, state["mean"], state["square"])]
                arrays.append(self._copies[p].reshape(-1) if p in self._copies else arrays[0])
                if p in self._pieces:
                    decay = 1 - group["lr"] * group["weight_decay"]
                    self._behind[p] = self._behind.get(p, 1.0) * decay
                for part in self._pieces.get(p) or [slice(at, at + PIECE) for at in range(0, p.numel(), PIECE)]:
                    pieces.append((numbers, [array[part] for array in arrays]))

        def work(run: slice) -> None:
            for numbers, arrays in pieces[run]:
                adamw(*arrays, *numbers)

        self._workers.map(work, evenly([len(arrays[0]) for _, arrays in pieces], self._workers.count))

    @torch.no_grad()
    def catch_up(self) -> None:
        """Decay what is left out of `pieces` as all updates since the last call would have."""
        for p, factor in self._behind.items():
            flat, before = p.detach().view(-1), 0
            for part in [*self._pieces[p], slice(p.numel(), p.numel())]:
                flat[before : part.start] *= factor
                before = part.stop
        self._behind = {}

    def _numbers(self, group: dict[str, Any]) -> tuple[Any, ...]:
        beta1, beta2 = group["betas"]
        step, root_scale, decay = group["lr"], 1.0, 1 - group["lr"] * group["weight_decay"]
        if self._correct:
            step /= 1 - beta1 ** group["updates"]
            root_scale = 1 / math.sqrt(1 - beta2 ** group["updates"])
        before, after = (decay, 1.0) if self._correct else (1.0, decay)
        return tuple(np.float32(x) for x in (beta1, beta2, step, root_scale, group["eps"], before, after))
