"""ONNX Runtime on a CPU, float32 or int8. Reads and writes the user's cache, where the graphs that it makes are kept.

Needs the extra `onnx` to be imported. Shapes as in `backends`.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from weixing.files import atomic_file
from weixing.formats import onnx_graph
from weixing.formats.bert import Bert
from weixing.formats.onnx_file import open_session
from weixing.inference.backends import Pooling, Precision, pooled
from weixing.inference.batching import Padded
from weixing.model.heads import MaskedLanguageModelHead

Graph = Literal["features", "asked"]


def cache_folder() -> Path:
    """Where graphs are kept: ``$XDG_CACHE_HOME/weixing``, or ``~/.cache/weixing``. Whatever is in it may be deleted."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "weixing"


class OnnxBackend:
    """ONNX Runtime, all cores on one batch. The masked-LM head is torch's, in float32.

    Args:
        bert: on the CPU.
        precision: ``float32``, or ``int8``: weights and what they are multiplied by in 8 bits (`formats.onnx_graph`).
    """

    def __init__(self, bert: Bert, precision: Precision) -> None:
        self.name = "onnx-int8" if precision == "int8" else "onnx"
        self.precision = precision
        self.bert, self.parallel = bert, 1
        self._sessions: dict[Graph, Any] = {}
        self._making = Lock()

    def pool(self, texts: Sequence[Padded], pooling: Pooling, on_batch: Callable[[int], None]) -> list[np.ndarray]:
        """As in `Backend`."""
        results = []
        for batch in texts:
            if pooling == "cls":
                hidden = self._hidden("asked", batch, np.zeros((len(batch.ids), 1), np.int64))
            else:
                hidden = self._hidden("features", batch)
            results.append(pooled(torch.from_numpy(hidden), batch.lengths, pooling))
            on_batch(len(batch.ids))
        return results

    @torch.inference_mode()
    def logits(self, texts: Padded, places: np.ndarray) -> Tensor:
        """As in `Backend`."""
        hidden = self._hidden("asked", texts, places)
        head = cast(MaskedLanguageModelHead, self.bert.head)
        return cast(Tensor, head(torch.from_numpy(hidden).flatten(0, 1), self.bert.encoder.embeddings.token.weight))

    def _hidden(self, graph: Graph, batch: Padded, asked: np.ndarray | None = None) -> np.ndarray:
        with self._making:
            if graph not in self._sessions:
                self._sessions[graph] = open_session(self._graph(graph), torch.get_num_threads())
        values = dict(zip(onnx_graph.INPUTS, (batch.ids, batch.real.astype(np.int64), batch.kinds), strict=True))
        if asked is not None:
            values[onnx_graph.ASKED] = asked
        return cast(np.ndarray, self._sessions[graph].run(None, values)[0])

    def _graph(self, graph: Graph) -> Path | bytes:
        """The graph's file in the cache, made first if it is not there; its bytes where it cannot be kept."""
        kept = cache_folder() / "onnx" / f"{self._digest}-{graph}-{self.precision}.onnx"
        if kept.is_file():
            return kept
        with torch.device("meta"):
            encoder = Bert(self.bert.shape, [])  # no pooler, whose output nobody asks for
        encoder.encoder = self.bert.encoder
        model = onnx_graph.build(encoder, graph, "int8" if self.precision == "int8" else "fp32").SerializeToString()
        try:
            with atomic_file(kept) as beside:
                beside.write_bytes(model)
        except OSError:
            return cast(bytes, model)
        return kept

    @cached_property
    def _digest(self) -> str:
        """What a graph depends on: the encoder's shape and weights, and the code that makes graphs."""
        digest = hashlib.sha256(Path(onnx_graph.__file__).read_bytes() + str(self.bert.shape).encode())
        for name, tensor in self.bert.encoder.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.contiguous().numpy())
        return digest.hexdigest()[:32]
