"""Compiled passes on the cores of a CPU. Shapes as in `backends`."""

from collections.abc import Callable, Sequence
from queue import LifoQueue
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from weixing.formats.bert import Bert
from weixing.inference.backends import Pooling, Precision, pooled
from weixing.inference.batching import Padded
from weixing.model.compiled.buffers import Buffers
from weixing.model.compiled.encoder import CompiledEncoder, Rows, Weights
from weixing.model.compiled.int16 import Int16Weights
from weixing.model.compiled.masked_lm import masked_lm_logits
from weixing.model.compiled.workers import Workers, one_thread


class CompiledBackend:
    """Compiled passes: every core takes whole batches of `pool`; one batch, or one text, has all cores for its matrix
    products, but in int16 one core.

    Several threads may call at once: each pass takes an encoder, and memory with it, for as long as it lasts. All
    passes are in inference mode, as torch lets memory that was made in it be written to in it alone.

    Args:
        bert: on the CPU.
        precision: ``float32``, ``bf16``, or ``int16`` where `model.compiled.int16` can.
    """

    name = "compiled"

    def __init__(self, bert: Bert, precision: Precision) -> None:
        self.precision = precision
        self.workers = Workers()
        self.parallel = self.workers.count
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self.weights = Int16Weights(bert) if precision == "int16" else Weights(bert, dtype, constant=True)
        self._free: LifoQueue[CompiledEncoder] = LifoQueue()  # first the one whose memory is still in the cache
        for _ in range(self.workers.count):
            self._free.put(CompiledEncoder(bert.encoder, self.weights, None, Buffers(dtype), "encoder."))

    def pool(self, texts: Sequence[Padded], pooling: Pooling, on_batch: Callable[[int], None]) -> list[np.ndarray]:
        """As in `Backend`."""
        telling = Lock()

        @torch.inference_mode()  # a setting of the thread's own
        def work(batch: Padded) -> np.ndarray:
            ids, lengths = batch.ids, batch.lengths
            asked = np.zeros((len(ids), 1), np.int64) if pooling == "cls" else None
            encoder = self._free.get()
            try:
                encoder.forward(_rows_of(batch, asked))
                hidden = encoder.exact.tensor
                result = pooled(hidden.view(len(ids), -1, hidden.shape[1]), lengths, pooling)
            finally:
                self._free.put(encoder)
            with telling:
                on_batch(len(ids))
            return result

        with one_thread(self.workers if len(texts) > 1 else None):
            return self.workers.map(work, texts)

    @torch.inference_mode()
    def logits(self, texts: Padded, places: np.ndarray) -> Tensor:
        """As in `Backend`."""
        encoder = self._free.get()
        try:
            return masked_lm_logits(encoder, _rows_of(texts, places))
        finally:
            self._free.put(encoder)


def _rows_of(texts: Padded, asked: np.ndarray | None) -> Rows:
    last = np.ascontiguousarray(np.broadcast_to(texts.lengths[:, None], texts.ids.shape))
    return Rows.of(texts.ids, kinds=texts.kinds, last=last, asked=asked)
