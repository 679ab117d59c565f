"""The model as it stands, in torch, on any device. Shapes as in `backends`."""

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor

from weixing.formats.bert import Bert
from weixing.inference.backends import Pooling, Precision, pooled
from weixing.inference.batching import Padded
from weixing.model.heads import MaskedLanguageModelHead
from weixing.training.devices import autocast


class TorchBackend:
    """Torch.

    Args:
        bert: on its device, in evaluation mode.
        precision: ``float32`` or ``bf16``.
    """

    name, parallel = "torch", 1

    def __init__(self, bert: Bert, precision: Precision) -> None:
        self.encoder, self.head = bert.encoder, bert.head
        self.precision = precision
        self.device = self.encoder.embeddings.token.weight.device

    @torch.inference_mode()
    def pool(self, texts: Sequence[Padded], pooling: Pooling, on_batch: Callable[[int], None]) -> list[np.ndarray]:
        """As in `Backend`."""
        results = []
        for batch in texts:
            real = torch.from_numpy(batch.real).to(self.device)
            first = torch.zeros_like(real[:, :1], dtype=torch.int64) if pooling == "cls" else None
            # Without padding no mask is given, and the quickest attention kernel is taken.
            attention = None if batch.real.all() else real
            kinds = None if batch.firsts is None else torch.from_numpy(batch.kinds).to(self.device)
            with autocast(self.device, "bf16" if self.precision == "bf16" else "float32"):
                hidden = self.encoder(torch.from_numpy(batch.ids).to(self.device), kinds, attention, keep=first)
            results.append(pooled(hidden.float(), batch.lengths, pooling))
            on_batch(len(batch.ids))
        return results

    @torch.inference_mode()
    def logits(self, ids: np.ndarray, places: np.ndarray) -> Tensor:
        """As in `Backend`."""
        text, keep = (torch.from_numpy(array).to(self.device) for array in (ids, places))
        with autocast(self.device, "bf16" if self.precision == "bf16" else "float32"):
            hidden = self.encoder(text, keep=keep)
            logits = cast(MaskedLanguageModelHead, self.head)(hidden, self.encoder.embeddings.token.weight)
            return cast(Tensor, logits)[0].float().cpu()
