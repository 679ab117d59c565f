"""What computes for a loaded model: torch as it stands (any device), or compiled passes on the cores of a CPU.

Shapes: B texts, T positions, H hidden units, M asked positions, V vocabulary entries.
"""

from collections.abc import Callable, Sequence
from queue import LifoQueue
from threading import Lock
from typing import Literal, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from weixing.formats.bert import encoder_of
from weixing.model.compiled.buffers import Buffers
from weixing.model.compiled.encoder import CompiledEncoder, Rows, Weights
from weixing.model.compiled.masked_lm import masked_lm_logits
from weixing.model.compiled.workers import Workers, one_thread
from weixing.model.encoder import Encoder
from weixing.model.heads import MaskedLanguageModel
from weixing.training.devices import Precision, autocast, product_type

Pooling = Literal["cls", "mean", "tokens"]
Padded = tuple[np.ndarray, np.ndarray]
"""Texts as int64 ids [B, T], padded at the end, and their lengths, int64 [B]."""


class Backend(Protocol):
    """Computes; both kinds give the same numbers.

    Attributes:
        name: as `weixing.load` takes it.
        precision: of the matrix products.
    """

    name: str
    precision: Precision

    def pool(self, texts: Sequence[Padded], pooling: Pooling, on_batch: Callable[[int], None]) -> list[np.ndarray]:
        """Of each batch float32 [B, H] (``cls``, ``mean``) or [B, T, H] (``tokens``); `on_batch` hears B each time."""

    def logits(self, ids: np.ndarray, places: np.ndarray) -> Tensor:
        """Of one text, int64 [1, T], the scores at some places, int64 [1, M]: float32 [M, V]."""


class TorchBackend:
    """Torch.

    Args:
        model: on its device, in evaluation mode.
        precision: of the matrix products.
    """

    name = "torch"

    def __init__(self, model: MaskedLanguageModel | Encoder, precision: Precision) -> None:
        self.model, self.encoder, self.precision = model, encoder_of(model), precision
        self.device = self.encoder.embeddings.token.weight.device

    @torch.inference_mode()
    def pool(self, texts: Sequence[Padded], pooling: Pooling, on_batch: Callable[[int], None]) -> list[np.ndarray]:
        """As in `Backend`."""
        results = []
        for ids, lengths in texts:
            real = torch.from_numpy(np.arange(ids.shape[1]) < lengths[:, None]).to(self.device)
            first = torch.zeros_like(real[:, :1], dtype=torch.int64) if pooling == "cls" else None
            # Without padding no mask is given, and the quickest attention kernel is taken.
            attention = None if (lengths == ids.shape[1]).all() else real
            with autocast(self.device, self.precision):
                hidden = self.encoder(torch.from_numpy(ids).to(self.device), attention=attention, keep=first)
            results.append(_pooled(hidden.float(), lengths, pooling))
            on_batch(len(ids))
        return results

    @torch.inference_mode()
    def logits(self, ids: np.ndarray, places: np.ndarray) -> Tensor:
        """As in `Backend`."""
        text, predict = (torch.from_numpy(array).to(self.device) for array in (ids, places))
        with autocast(self.device, self.precision):
            return cast(Tensor, self.model(text, predict=predict))[0].float().cpu()


class CompiledBackend:
    """Compiled passes: every core takes whole batches of `pool`; one batch, or one text, has all cores for its matrix
    products.

    Several threads may call at once: each pass takes an encoder, and memory with it, for as long as it lasts. All
    passes are in inference mode, as torch lets memory that was made in it be written to in it alone.

    Args:
        model: on the CPU.
        precision: of the matrix products.
    """

    name = "compiled"

    def __init__(self, model: MaskedLanguageModel | Encoder, precision: Precision) -> None:
        self.precision, self.workers = precision, Workers()
        dtype = product_type(precision)
        self.weights = Weights(model, dtype, constant=True)
        prefix = "" if isinstance(model, Encoder) else "encoder."
        self._free: LifoQueue[CompiledEncoder] = LifoQueue()  # first the one whose memory is still in the cache
        for _ in range(self.workers.count):
            self._free.put(CompiledEncoder(encoder_of(model), self.weights, None, Buffers(dtype), prefix))

    def pool(self, texts: Sequence[Padded], pooling: Pooling, on_batch: Callable[[int], None]) -> list[np.ndarray]:
        """As in `Backend`."""
        telling = Lock()

        @torch.inference_mode()  # a setting of the thread's own
        def work(batch: Padded) -> np.ndarray:
            ids, lengths = batch
            asked = np.zeros((len(ids), 1), np.int64) if pooling == "cls" else None
            last = np.ascontiguousarray(np.broadcast_to(lengths[:, None], ids.shape))
            encoder = self._free.get()
            try:
                encoder.forward(Rows.of(ids, last=last, asked=asked))
                hidden = encoder.exact.tensor
                result = _pooled(hidden.view(len(ids), -1, hidden.shape[1]), lengths, pooling)
            finally:
                self._free.put(encoder)
            with telling:
                on_batch(len(ids))
            return result

        with one_thread(self.workers if len(texts) > 1 else None):
            return self.workers.map(work, texts)

    @torch.inference_mode()
    def logits(self, ids: np.ndarray, places: np.ndarray) -> Tensor:
        """As in `Backend`."""
        encoder = self._free.get()
        try:
            return masked_lm_logits(encoder, Rows.of(ids, asked=places))
        finally:
            self._free.put(encoder)


def _pooled(hidden: Tensor, lengths: np.ndarray, pooling: Pooling) -> np.ndarray:
    """Float32 [B, T, H] → what `Backend.pool` gives of it."""
    if pooling == "cls":
        hidden = hidden[:, 0]
    elif pooling == "mean":
        real = (
            torch.arange(hidden.shape[1], device=hidden.device) < torch.from_numpy(lengths).to(hidden.device)[:, None]
        )
        hidden = torch.einsum("bth,bt->bh", hidden, real / real.sum(1, keepdim=True))
    return hidden.cpu().numpy().copy()
