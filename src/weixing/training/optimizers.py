"""Optimizers: UER's AdamW, and which parameters a recipe gives to which optimizer. Pure tensor code.

A parameter is decayed unless it is a bias or belongs to a LayerNorm, that is, unless it is a vector.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from weixing.model.compiled.elementwise import convert
from weixing.model.compiled.workers import Workers
from weixing.model.heads import MaskedLanguageModel
from weixing.recipes import Recipe
from weixing.training.adamw import CompiledAdamW
from weixing.training.devices import has_bf16
from weixing.training.muon import Muon, orthogonalisation_interval


class UncorrectedAdamW(Optimizer):
    """AdamW without bias correction, decay applied after the update: ``p -= lr·m/(√v + ε)``, then ``p -= lr·wd·p``.

    UER uer/utils/optimizers.py:324-400 with correct_bias=False (BERT's own Adam; Devlin et al. 2018).

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        betas: decay of the mean of gradients and of their squares.
        eps: added to the root, not under it.
        weight_decay: decoupled.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # no closure is used here
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            gradients = [p.grad for p in parameters]
            for p in parameters:
                if not self.state[p]:
                    self.state[p] = {"mean": torch.zeros_like(p), "square": torch.zeros_like(p)}
            means = [self.state[p]["mean"] for p in parameters]
            squares = [self.state[p]["square"] for p in parameters]
            beta1, beta2 = group["betas"]
            torch._foreach_lerp_(means, gradients, 1 - beta1)
            torch._foreach_mul_(squares, beta2)
            torch._foreach_addcmul_(squares, gradients, gradients, 1 - beta2)
            roots = torch._foreach_sqrt(squares)
            torch._foreach_add_(roots, group["eps"])
            # In this order for learning rates that are tensors (`weixing.training.update`).
            torch._foreach_sub_(parameters, torch._foreach_mul(torch._foreach_div(means, roots), group["lr"]))
            if group["weight_decay"]:
                torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])


def decay_groups(parameters: Iterable[Tensor], weight_decay: float) -> list[dict[str, Any]]:
    """Two parameter groups: matrices (embeddings among them), decayed; vectors (biases, LayerNorms), not."""
    both: tuple[list[Tensor], list[Tensor]] = ([], [])
    for parameter in parameters:
        both[parameter.dim() < 2].append(parameter)
    groups = [{"params": both[0], "weight_decay": weight_decay}, {"params": both[1], "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def uer_adamw(
    groups: Iterable[Any],
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    workers: Workers | None,
    copies: Mapping[Tensor, np.ndarray],
    pieces: Mapping[Tensor, list[slice]] = MappingProxyType({}),
) -> Optimizer:
    """UER's AdamW, compiled if there are `workers` (see `build_optimizers`)."""
    if workers is None:
        return UncorrectedAdamW(groups, lr=lr, betas=betas, eps=eps)
    return CompiledAdamW(
        groups, lr=lr, betas=betas, eps=eps, bias_correction=False, workers=workers, copies=copies, pieces=pieces
    )


def build_optimizers(
    model: MaskedLanguageModel,
    recipe: Recipe,
    device: torch.device,
    workers: Workers | None = None,
    copies: Mapping[Tensor, np.ndarray] | None = None,
    pieces: Mapping[Tensor, list[slice]] = MappingProxyType({}),
) -> list[Optimizer]:
    """The recipe's optimizers for `model`, every group with its peak learning rate under ``peak``.

    Recipe optimizer ``muon``: Muon takes the matrices of the encoder's layers, queries, keys and values of a layer as
    the one matrix that they are; AdamW takes embeddings, head, vectors.

    Args:
        workers: the cores of a CPU: then the updates are compiled passes.
        copies: by parameter, arrays that are to follow it (`weixing.model.compiled.parameters.Weights.copies`).
        pieces: by parameter, what of it has gradients (`Weights.pieces`); all if left out.
    """
    copies = copies or {}
    matrices = [p for name, p in model.named_parameters() if ".layers." in name and p.dim() == 2]
    chosen = set(map(id, matrices)) if recipe.optimizer == "muon" else set()
    groups = decay_groups((p for p in model.parameters() if id(p) not in chosen), recipe.weight_decay)
    numbers: dict[str, Any] = {"lr": recipe.peak_learning_rate, "betas": recipe.betas, "eps": recipe.epsilon}
    corrected = recipe.optimizer != "uer_adamw"
    optimizers: list[Optimizer] = []
    if not corrected:
        optimizers.append(uer_adamw(groups, **numbers, workers=workers, copies=copies))
    elif workers:
        optimizers.append(
            CompiledAdamW(groups, **numbers, bias_correction=True, workers=workers, copies=copies, pieces=pieces)
        )
    else:
        optimizers.append(torch.optim.AdamW(groups, **numbers, fused=True))
    if chosen:
        interval = orthogonalisation_interval(
            model.encoder.shape, recipe.batch_size * recipe.sequence_length, recipe.masking_rate, recipe.sequence_length
        )

        def follow(parameter: Tensor) -> None:
            if parameter in copies:
                convert(parameter.detach().numpy(), copies[parameter])

        optimizers.append(
            Muon(
                matrices, lr=recipe.matrix_learning_rate, momentum=recipe.matrix_momentum,
                weight_decay=recipe.matrix_weight_decay, every=interval, workers=workers,
                dtype=torch.bfloat16 if has_bf16(device) else torch.float32, updated=follow,
            )
        )  # fmt: skip
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def set_learning_rates(optimizers: Iterable[Optimizer], factor: float) -> None:
    """Set every group's learning rate to its peak times `factor`."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            rate = group["peak"] * factor
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
