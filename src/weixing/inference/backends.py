"""What computes for a loaded model. Each back end has a module of its own; `weixing.inference.choosing` takes one.

Shapes: B texts, T positions, H hidden units, M asked positions, V vocabulary entries.
"""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from weixing.inference.batching import Padded

Pooling = Literal["cls", "mean", "tokens"]
Precision = Literal["float32", "bf16", "int16", "int8"]
"""Of the matrix products; sums, LayerNorms and the attention's softmax are float32 in all of them."""


class Backend(Protocol):
    """Computes an encoder and its masked-LM head; all kinds give the same numbers, as nearly as their precision allows.

    Several threads may call at once.

    Attributes:
        name: as `weixing.load` takes it.
        precision: of the matrix products.
        parallel: how many batches it computes at a time, so that few texts are worth being cut into as many.
    """

    name: str
    precision: Precision
    parallel: int

    def pool(self, texts: Sequence[Padded], pooling: Pooling, on_batch: Callable[[int], None]) -> list[np.ndarray]:
        """Of each batch float32 [B, H] (``cls``, ``mean``) or [B, T, H] (``tokens``); `on_batch` hears B each time."""

    def logits(self, texts: Padded, places: np.ndarray) -> Tensor:
        """The scores at some places of texts, int64 [B, M]: float32 [B·M, V]."""


def pooled(hidden: Tensor, lengths: np.ndarray, pooling: Pooling) -> np.ndarray:
    """Float32 [B, T, H] → what `Backend.pool` gives of it."""
    if pooling == "cls":
        hidden = hidden[:, 0]
    elif pooling == "mean":
        real = (
            torch.arange(hidden.shape[1], device=hidden.device) < torch.from_numpy(lengths).to(hidden.device)[:, None]
        )
        hidden = torch.einsum("bth,bt->bh", hidden, real / real.sum(1, keepdim=True))
    return hidden.cpu().numpy().copy()
