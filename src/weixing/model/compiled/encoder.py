"""The encoder's forward and backward pass over some rows, written out by hand for one CPU core.

What `weixing.model.encoder.Encoder` says is computed here with its parameters, in bf16 or float32, dropout included:
matrix products by torch, into memory that is kept; all between two products in one compiled loop. Gradients are those
of the plain encoder; tests hold the two together. Several cores each take rows of their own (`parallel`).

Shapes: B rows, T positions, N = B·T, M asked positions a row, H hidden units.
"""

from collections.abc import Iterator

import numpy as np

from weixing.model.compiled.buffers import Buffers, Numbers
from weixing.model.compiled.layer import LayerPass, exact_memory, norm_memory
from weixing.model.compiled.norms import drop, embed_and_normalise, embed_backward, normalise_backward
from weixing.model.compiled.parameters import Gradients, Weights
from weixing.model.compiled.rows import Rows
from weixing.model.encoder import Encoder


class CompiledEncoder:
    """Passes over some rows at a time, for one thread.

    Args:
        encoder: gives shape and dropout.
        weights: of a module that holds the encoder under `prefix`.
        gradients: of the same module, or None: forward passes alone.
        buffers: this thread's memory.
    """

    def __init__(
        self, encoder: Encoder, weights: Weights, gradients: Gradients | None, buffers: Buffers, prefix: str = ""
    ) -> None:
        self.shape = encoder.shape
        self.weights, self.gradients, self.buffers = weights, gradients, buffers
        self.embeddings = f"{prefix}embeddings."
        self.layers = [f"{prefix}layers.{number}." for number in range(encoder.shape.layers)]

    def forward(self, rows: Rows, dropout: float = 0.0, key: int = 0) -> Numbers:
        """Hidden states of the last layer, numbers [B·M, H] (or [B·T, H]), in memory that the next pass uses again.

        Where there are no gradients, `exact` holds them in float32 as well.

        Args:
            rows: what to read.
            dropout: probability, as in `Encoder`.
            key: decides what is dropped.
        """
        self.rows, self.dropout = rows, np.float32(dropout)
        keys = _keys(key)
        get, at, H = self.weights.vector, self.embeddings, self.shape.hidden
        N = rows.ids.size
        x = self.buffers("embedded", N, H)
        # Without a backward pass to come, what is added to is kept in float32: rounding it anew in every layer would
        # be most of the error of bf16.
        exact = None if self.gradients else exact_memory(self.buffers, "embedding", N, H)
        embed_and_normalise(
            rows.ids.ravel(), rows.positions.ravel(), rows.kinds.ravel(),
            get(f"{at}token.weight"), get(f"{at}position.weight"), get(f"{at}token_type.weight"),
            get(f"{at}norm.weight"), get(f"{at}norm.bias"),
            *norm_memory(self.buffers, "embedding", N, H), x.array, exact.array if exact else None,
        )  # fmt: skip
        self._embedding_key = next(keys)
        if dropout:
            x = self._dropped(x, "embedded, dropped")
        self._passes: list[LayerPass] = []
        for layer in self.layers:
            last = layer == self.layers[-1]
            step = LayerPass(
                layer, self.shape, self.weights, self.gradients, self.buffers, rows, rows.asked if last else None,
                self.dropout, [next(keys) for _ in range(2 + self.shape.heads)],
            )  # fmt: skip
            x, exact = step.forward(x, exact)
            self._passes.append(step)
        self.exact = exact or x
        return x

    def backward(self, gradient: Numbers) -> None:
        """Add the gradients of all parameters, from that of what the last `forward` gave."""
        assert self.gradients
        more: Numbers | None = None
        for step in reversed(self._passes):
            gradient, more = step.backward(gradient, more)
        at, rows, total = self.embeddings, self.rows, self.gradients.sum
        if self.dropout:
            gradient = self._dropped(gradient, "gradient, dropped")
            more = more and self._dropped(more, "more, dropped")
        standard, scale = norm_memory(self.buffers, "embedding", rows.ids.size, self.shape.hidden)
        normalise_backward(
            gradient.array, more.array if more else None, standard, scale, self.weights.vector(f"{at}norm.weight"),
            total(f"{at}norm.weight"), total(f"{at}norm.bias"), gradient.array,
        )  # fmt: skip
        embed_backward(
            gradient.array, rows.ids.ravel(), rows.positions.ravel(), rows.kinds.ravel(),
            total(f"{at}token.weight"), total(f"{at}position.weight"), total(f"{at}token_type.weight"),
        )  # fmt: skip

    def _dropped(self, x: Numbers, name: str) -> Numbers:
        """In memory of its own: a loop that writes over what it reads is not turned into vector code."""
        out = self.buffers(name, *x.array.shape)
        drop(x.array, self.dropout, self._embedding_key, out.array)
        return out


def dropout_key(seed: int, row: int) -> int:
    """Key of the rows from `row` on in the update that `seed` stands for."""
    return (seed * 0xD1342543DE82EF95 + row) % 2**64  # not a multiple of the step of `_keys`: streams do not overlap


def _keys(key: int) -> Iterator[np.uint32]:
    """An endless stream of keys of random bits ("splitmix64", Steele et al. 2014)."""
    while True:
        key = (key + 0x9E3779B97F4A7C15) % 2**64
        z = ((key ^ key >> 30) * 0xBF58476D1CE4E5B9) % 2**64
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) % 2**64
        yield np.uint32(z >> 32)
