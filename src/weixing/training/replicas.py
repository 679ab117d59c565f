"""Gradients by torch's autograd on several ranks, each of which has the whole model."""

from collections.abc import Mapping
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from weixing.model.compiled.workers import Workers
from weixing.model.heads import MaskedLanguageModel
from weixing.training.batch import Batch, Loss, masked_loss
from weixing.training.devices import Precision, autocast
from weixing.training.ranks import Ranks


class ReplicatedGradients:
    """DistributedDataParallel adds up what autograd gives on each rank, while it still works on the next gradients.

    Args:
        model, precision, micro_batch_size, entries, loss: as in `weixing.training.gradients.AutogradGradients`.
        ranks: the processes that have rows of the update.
    """

    def __init__(
        self,
        model: MaskedLanguageModel,
        precision: Precision,
        micro_batch_size: int,
        ranks: Ranks,
        entries: np.ndarray | None = None,
        loss: Loss = masked_loss,
    ) -> None:
        device = model.head.bias.device
        self.ranks, self.micro_batch_size = ranks, micro_batch_size
        self.parameters = list(model.parameters())
        self._loss = DistributedDataParallel(
            _Loss(model, precision, None if entries is None else torch.from_numpy(entries).to(device), loss),
            device_ids=None if device.type == "cpu" else [device],
            gradient_as_bucket_view=True,
        )
        self.workers: Workers | None = None
        self.copies: Mapping[Tensor, np.ndarray] = {}
        self.pieces: Mapping[Tensor, list[slice]] = {}

    def refresh(self) -> None:
        """Nothing to do."""

    def __call__(self, batch: Batch, seed: int) -> Tensor:
        """Fill ``grad``; dropout follows torch's own random state, not `seed`."""
        if old := [p.grad for p in self.parameters if p.grad is not None]:
            torch._foreach_zero_(old)  # they are views of the buckets, which stay
        # DistributedDataParallel gives the mean over the ranks of what is the sum here.
        factor = self.ranks.count / self.ranks.sum(batch.masked.weights.sum()).clamp(min=1)
        total = torch.zeros((), device=batch.masked.ids.device)
        for start in range(0, len(batch), self.micro_batch_size):
            last = start + self.micro_batch_size >= len(batch)
            with nullcontext() if last else self._loss.no_sync():
                part = self._loss(batch[start : start + self.micro_batch_size])
                (part * factor).backward()
            total += part.detach()
        return total

    def clip(self, limit: float) -> Tensor:
        """As in `weixing.training.gradients.GradientMaker`."""
        return clip_grad_norm_(self.parameters, limit)


class _Loss(nn.Module):
    """A loss as a module, whose calls DistributedDataParallel can watch."""

    def __init__(self, model: MaskedLanguageModel, precision: Precision, entries: Tensor | None, loss: Loss) -> None:
        super().__init__()
        self.model, self.precision, self.entries, self.loss = model, precision, entries, loss

    def forward(self, batch: Batch) -> Tensor:
        """As `Loss`."""
        with autocast(batch.masked.ids.device, self.precision):
            return self.loss(self.model, batch, self.entries)
