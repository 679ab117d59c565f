"""Masked-LM loss and gradients of some rows, on one CPU core. Shapes: n predicted positions, H units, V entries."""

import numpy as np
import torch
from torch import Tensor

from weixing.model.compiled.buffers import Buffers, Numbers, multiply
from weixing.model.compiled.cross_entropy import cross_entropy_rows, likely_entries_of_rows
from weixing.model.compiled.elementwise import gelu_backward, gelu_forward
from weixing.model.compiled.encoder import CompiledEncoder, Gradients, Rows, Weights
from weixing.model.compiled.norms import normalise, normalise_backward
from weixing.model.heads import MaskedLanguageModel
from weixing.model.soft_targets import LEAST_PROBABILITY, MOST_ENTRIES

TOKENS = "encoder.embeddings.token.weight"
BLOCK = 64  # positions whose logits are worked on at a time, so that they are still in the cache


class MaskedLanguageModelPass:
    """The passes of `weixing.model.heads.MaskedLanguageModel` for one thread.

    Args:
        model: the plain model.
        weights: its own.
        gradients: where its gradients are summed.
        buffers: this thread's memory.
    """

    def __init__(self, model: MaskedLanguageModel, weights: Weights, gradients: Gradients, buffers: Buffers) -> None:
        self.encoder = CompiledEncoder(model.encoder, weights, gradients, buffers, "encoder.")
        self.weights, self.gradients, self.buffers = weights, gradients, buffers
        self._places = _places(weights)

    def add_gradients(
        self,
        rows: Rows,
        labels: np.ndarray,
        counts: np.ndarray,
        dropout: float = 0.0,
        key: int = 0,
        soft: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> float:
        """Add the gradients of the weighted sum of the cross entropies, which is returned.

        Args:
            rows: with `asked` [B, M].
            labels: int64 [B, M], the tokens to predict.
            counts: float32 [B, M], the weight of each position.
            dropout, key: as in `CompiledEncoder.forward`.
            soft: entries int64 [B, M, K] and their shares float32 [B, M, K] (`weixing.model.soft_targets`), or None.
        """
        x = self.encoder.forward(rows, dropout, key)
        y, slope, standard, scale = _transform(self.encoder, x)
        n, H = x.array.shape
        total, matrix = self.gradients.sum, self.weights.matrix
        outer = self.buffers("head outer", n, H)
        flat = None if soft is None else (soft[0].reshape(n, -1), soft[1].reshape(n, -1))
        loss = self._decode(y, labels.ravel(), counts.ravel(), flat, outer)

        normalise_backward(
            outer.array, None, standard.array, scale.array, self.weights.vector("head.norm.weight"),
            total("head.norm.weight"), total("head.norm.bias"), outer.array,
        )  # fmt: skip
        gelu_backward(outer.array, slope.array, total("head.dense.bias"))
        self.gradients.add_product("head.dense.weight", outer.tensor, x.tensor)
        self.encoder.backward(multiply(outer.tensor, matrix("head.dense.weight"), self.buffers("head x", n, H)))
        return loss

    def _decode(
        self,
        y: Numbers,
        labels: np.ndarray,
        counts: np.ndarray,
        soft: tuple[np.ndarray, np.ndarray] | None,
        outer: Numbers,
    ) -> float:
        """Loss of y [n, H] against the token vectors; `outer` [n, H] becomes its gradient."""
        n, vectors, entries = len(labels), self.weights.matrix(TOKENS), self.weights.chosen.get(TOKENS)
        logits = self.buffers("logits", n, vectors.shape[0])
        losses = self.buffers("losses", n, dtype=torch.float32).array
        bias, bias_gradient = self.weights.vector("head.bias"), self.gradients.sum("head.bias")
        if entries is not None:
            assert self._places is not None
            labels, bias = self._places[labels], bias[entries]
            soft = None if soft is None else (self._places[soft[0]], soft[1])
            whole_gradient, bias_gradient = bias_gradient, np.zeros_like(bias)
        for start in range(0, n, BLOCK):
            part = slice(start, start + BLOCK)
            torch.mm(y.tensor[part], vectors.t(), out=logits.tensor[part])
            targets = (None, None) if soft is None else (soft[0][part], soft[1][part])
            cross_entropy_rows(
                logits.array[part], bias, labels[part], counts[part], losses[part], bias_gradient, *targets
            )
            torch.mm(logits.tensor[part], vectors, out=outer.tensor[part])
        if entries is None:
            self.gradients.add_product(TOKENS, logits.tensor, y.tensor)
        else:
            self.gradients.add_product_at(TOKENS, logits.tensor, y.tensor, entries)
            whole_gradient[entries] += bias_gradient
        return float(losses.sum(dtype=np.float64))


def _transform(encoder: CompiledEncoder, x: Numbers) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """Hidden states [n, H] → what is compared with the token vectors, and GELU's slope and LayerNorm's two."""
    (n, H), buffers, weights = x.array.shape, encoder.buffers, encoder.weights
    slope = weights.apply("head.dense.weight", x.tensor, buffers("head slope", n, H))
    inner, standard, y = (buffers(f"head {name}", n, H) for name in ("inner", "standard", "y"))
    scale = buffers("head scale", n, dtype=torch.float32)
    gelu_forward(slope.array, weights.vector("head.dense.bias"), inner.array)
    gain, shift = weights.vector("head.norm.weight"), weights.vector("head.norm.bias")
    normalise(inner.array, gain, shift, standard.array, scale.array, y.array)
    return y, slope, standard, scale


def _places(weights: Weights) -> np.ndarray | None:
    """Number of each vocabulary entry among the chosen ones, int64 [V], 0 for the others; None where all are."""
    entries = weights.chosen.get(TOKENS)
    if entries is None:
        return None
    places = np.zeros(len(weights.parameters[TOKENS]), np.int64)
    places[entries] = np.arange(len(entries))
    return places


def masked_lm_likely_entries(encoder: CompiledEncoder, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Likeliest entries of the asked positions, int64 [B·M, K], and their probabilities, float32, 0 where unused.

    Where the encoder's weights have chosen entries (`Weights.copy_chosen` brings them up to date), among these.
    """
    y, *_ = _transform(encoder, encoder.forward(rows))
    weights, n = encoder.weights, len(y.array)
    vectors, bias, chosen = weights.matrix(TOKENS), weights.vector("head.bias"), weights.chosen.get(TOKENS)
    if chosen is not None:
        bias = bias[chosen]
    entries, shares = np.empty((n, MOST_ENTRIES), np.int64), np.empty((n, MOST_ENTRIES), np.float32)
    for start in range(0, n, BLOCK):
        part = slice(start, min(start + BLOCK, n))
        block = encoder.buffers("logits", part.stop - start, len(bias))
        torch.mm(y.tensor[part], vectors.t(), out=block.tensor)
        likely_entries_of_rows(block.array, bias, np.float32(LEAST_PROBABILITY), entries[part], shares[part])
    return (entries if chosen is None else chosen[entries]), shares


def masked_lm_logits(encoder: CompiledEncoder, rows: Rows) -> Tensor:
    """Scores of all entries at the asked positions, float32 [B·M, V]; `encoder` is one of a masked language model."""
    y, *_ = _transform(encoder, encoder.forward(rows))
    bias = encoder.weights.vector("head.bias")
    logits = encoder.weights.apply(TOKENS, y.tensor, encoder.buffers("logits", len(y.array), len(bias)))
    return logits.tensor + torch.from_numpy(bias)
