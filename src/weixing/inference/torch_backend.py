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
            first = np.zeros((len(batch.ids), 1), np.int64) if pooling == "cls" else None
            with autocast(self.device, "bf16" if self.precision == "bf16" else "float32"):
                hidden = self._hidden(batch, first)
            results.append(pooled(hidden.float(), batch.lengths, pooling))
            on_batch(len(batch.ids))
        return results

    @torch.inference_mode()
    def logits(self, texts: Padded, places: np.ndarray) -> Tensor:
        """As in `Backend`."""
        with autocast(self.device, "bf16" if self.precision == "bf16" else "float32"):
            hidden = self._hidden(texts, places).flatten(0, 1)
            logits = cast(MaskedLanguageModelHead, self.head)(hidden, self.encoder.embeddings.token.weight)
            return cast(Tensor, logits).float().cpu()

    def _hidden(self, batch: Padded, keep: np.ndarray | None) -> Tensor:
        """Hidden states [B, T, H], or [B, M, H] at the places to keep, [B, M]."""
        # Without padding no mask is given, and the quickest attention kernel is taken.
        real = None if batch.real.all() else batch.real
        kinds = None if batch.firsts is None else batch.kinds
        given = (None if array is None else torch.from_numpy(array).to(self.device) for array in (kinds, real, keep))
        types, attention, places = given
        return cast(Tensor, self.encoder(torch.from_numpy(batch.ids).to(self.device), types, attention, keep=places))
