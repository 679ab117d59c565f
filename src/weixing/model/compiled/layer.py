"""One layer of the encoder, forwards and backwards, written out by hand for one CPU core.

Shapes: B rows, T positions, N = B·T, M asked positions a row, H hidden units, A heads of U units, F
feed-forward units.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from weixing.model.compiled.attend import attend, can_attend
from weixing.model.compiled.attention import softmax_backward, softmax_forward
from weixing.model.compiled.buffers import Buffers, Numbers, multiply, numbers
from weixing.model.compiled.elementwise import add_bias, add_column_sums, gelu_backward, gelu_forward
from weixing.model.compiled.norms import add_and_normalise, add_rows_at, drop, normalise_backward
from weixing.model.compiled.parameters import Gradients, Weights
from weixing.model.compiled.rows import Rows
from weixing.zoo import Shape


def norm_memory(buffers: Buffers, name: str, count: int, hidden: int) -> tuple[np.ndarray, np.ndarray]:
    """What a LayerNorm of `count` rows leaves for its backward pass: standard [count, hidden] and scale [count]."""
    scale = buffers(f"{name} scale", count, dtype=torch.float32)
    return buffers(f"{name} standard", count, hidden).array, scale.array


def exact_memory(buffers: Buffers, name: str, count: int, hidden: int) -> Numbers | None:
    """Float32 memory for the unrounded values of a bf16 result; None where results are float32."""
    return None if buffers.dtype == torch.float32 else buffers(f"{name} exact", count, hidden, dtype=torch.float32)


class LayerPass:
    """One layer of one pass, over some rows: its forward pass keeps what its backward pass reads.

    Args:
        name: prefix of the layer's parameters.
        shape: of the encoder.
        weights, gradients: of the module; gradients None: there will be no backward pass.
        buffers: this thread's memory.
        rows: what tokens see.
        asked: int64 [B, M], positions that ask and are wanted, or None: all T.
        dropout: probability.
        keys: that decide what is dropped: of the feed-forward branch, of the attention branch, of each head.
    """

    def __init__(
        self,
        name: str,
        shape: Shape,
        weights: Weights,
        gradients: Gradients | None,
        buffers: Buffers,
        rows: Rows,
        asked: np.ndarray | None,
        dropout: np.float32,
        keys: list[np.uint32],
    ) -> None:
        self.name, self.weights, self.gradients, self.buffers = name, weights, gradients, buffers
        # Without a backward pass to come, every layer uses the same memory.
        self.memory = name if gradients else "layer."
        self.dropout, self.keys = dropout, keys
        B, T = rows.ids.shape
        self.B, self.T, self.H, self.F = B, T, shape.hidden, shape.feed_forward
        self.A, self.U = shape.heads, shape.head_units
        self.scale = np.float32(1 / math.sqrt(self.U))
        self.first, self.last = rows.first, rows.last
        self.places: np.ndarray | None = None
        self.M = T
        if asked is not None:
            self.M = asked.shape[1]
            self.places = (asked + np.arange(B)[:, None] * T).ravel()
            self.first, self.last = self.first.ravel()[self.places], self.last.ravel()[self.places]
        self.first, self.last = self.first.reshape(B, self.M), self.last.reshape(B, self.M)
        self.count = B * self.M

    def _keep(self, name: str, *shape: int) -> Numbers:
        return self.buffers(f"{self.memory}{name}", *shape)

    def _matrix(self, name: str) -> Tensor:
        return self.weights.matrix(f"{self.name}{name}.weight")

    def _apply(self, name: str, x: Numbers, out: Numbers, rows: slice = slice(None)) -> Numbers:
        return self.weights.apply(f"{self.name}{name}.weight", x.tensor, out, rows)

    def _vector(self, name: str) -> np.ndarray:
        return self.weights.vector(f"{self.name}{name}")

    def _by_row(self, memory: Callable[..., Numbers]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries [B, M, A, U], keys and values [B, T, A, U], or their gradients, as the products of rows have them."""
        three = (self.B, self.T, 3, self.A, self.U)
        if self.places is None:
            q, k, v = memory("qkv", self.B * self.T, 3 * self.H).tensor.view(three).unbind(2)
            return q, k, v
        q = memory("q", self.count, self.H).tensor.view(self.B, self.M, self.A, self.U)
        k, v = memory("kv", self.B * self.T, 2 * self.H).tensor.view(self.B, self.T, 2, self.A, self.U).unbind(2)
        return q, k, v

    def _by_head(self, memory: Callable[..., Numbers]) -> list[Tensor]:
        """The same by head, [A, B, M, U] and twice [A, B, T, U], in memory of their own.

        Products of matrices that lie together take half the time of those whose rows lie apart, copies included.
        """
        lengths = {"heads' q": self.M, "heads' k": self.T, "heads' v": self.T}
        return [memory(name, self.A, self.B, length, self.U).tensor for name, length in lengths.items()]

    def forward(self, x: Numbers, exact: Numbers | None) -> tuple[Numbers, Numbers | None]:
        """Numbers [B·T, H] → [B·M, H], both with their unrounded values if there will be no backward pass."""
        self.x = x
        H, N, count = self.H, self.B * self.T, self.count
        three, bias = "attention.query_key_value", self._vector("attention.query_key_value.bias")
        if self.places is None:
            self.asking = x
            add_bias(self._apply(three, x, self._keep("qkv", N, 3 * H)).array, bias)
        else:
            self.asking = self._keep("asking", count, H)
            np.take(x.array, self.places, axis=0, out=self.asking.array)
            if exact:
                exact = numbers(exact.tensor[torch.from_numpy(self.places)])
            add_bias(self._apply(three, self.asking, self._keep("q", count, H), slice(H)).array, bias[:H])
            add_bias(self._apply(three, x, self._keep("kv", N, 2 * H), slice(H, None)).array, bias[H:])
        self.context = self._keep("context", count, H)
        if self.gradients is None and can_attend(self.buffers.dtype, self.U) and not self.dropout:
            self._attend()
        else:
            self._attend_head_by_head()
        branch = self._apply("attention.output", self.context, self.buffers("branch", count, H))
        self.middle, exact = self._add_and_normalise(
            branch, "attention.output", exact or self.asking, "attention_norm", self.keys[1]
        )
        self.slope = self._apply("feed_forward.inner", self.middle, self._keep("slope", count, self.F))
        self.inner = self._keep("inner", count, self.F)
        gelu_forward(self.slope.array, self._vector("feed_forward.inner.bias"), self.inner.array)
        branch = self._apply("feed_forward.output", self.inner, self.buffers("branch", count, H))
        return self._add_and_normalise(
            branch, "feed_forward.output", exact or self.middle, "feed_forward_norm", self.keys[0]
        )

    def _attend(self) -> None:
        """Fill `context`, where there will be no backward pass."""
        if self.places is None:
            queries = others = self._keep("qkv", self.B * self.T, 3 * self.H).array
        else:
            queries = self._keep("q", self.count, self.H).array
            others = self._keep("kv", self.B * self.T, 2 * self.H).array
        key_at = self.H if self.places is None else 0
        attend(
            queries, 0, others, key_at, key_at + self.H, self.first, self.last, self.scale, self.A, self.context.array
        )  # fmt: skip

    def _attend_head_by_head(self) -> None:
        """Fill `context`, and keep the probabilities for a backward pass if there will be one."""
        heads = self._by_head(self._keep)
        for heads_own, rows_own in zip(heads, self._by_row(self._keep), strict=True):
            heads_own.copy_(rows_own.permute(2, 0, 1, 3))
        context = self.buffers("heads' context", self.A, self.B, self.M, self.U).tensor
        # Without a backward pass to come, each head's are looked at once.
        kept = self.A if self.gradients else 1
        probabilities = self._keep("probabilities", kept, self.B, self.M, self.T)
        dropped = self.buffers("dropped", self.B, self.M, self.T) if self.dropout else None
        for a, (q, k, v) in enumerate(zip(*heads, strict=True)):
            shares, scores = probabilities.tensor[a % kept], probabilities.array[a % kept]
            torch.bmm(q, k.transpose(1, 2), out=shares)
            softmax_forward(
                scores, self.scale, self.first, self.last, dropped.array if dropped else scores, self.dropout,
                self.keys[2 + a],
            )  # fmt: skip
            torch.bmm(dropped.tensor if dropped else shares, v, out=context[a])
        self.context.tensor.view(self.B, self.M, self.A, self.U).copy_(context.permute(1, 2, 0, 3))

    def _add_and_normalise(
        self, x: Numbers, bias: str, residual: Numbers, norm: str, key: np.uint32
    ) -> tuple[Numbers, Numbers | None]:
        out = self._keep(norm, self.count, self.H)
        exact = None if self.gradients else exact_memory(self.buffers, f"{self.memory}{norm}", self.count, self.H)
        add_and_normalise(
            x.array, self._vector(f"{bias}.bias"), residual.array,
            self._vector(f"{norm}.weight"), self._vector(f"{norm}.bias"),
            *norm_memory(self.buffers, f"{self.memory}{norm}", self.count, self.H),
            out.array, exact.array if exact else None, self.dropout, key,
        )  # fmt: skip
        return out, exact

    def backward(self, gradient: Numbers, more: Numbers | None) -> tuple[Numbers, Numbers | None]:
        """From the gradient of the layer's output to that of its input, each the sum of two (or of one)."""
        H, count = self.H, self.count
        assert self.gradients
        gradients = self.gradients

        residual = self._norm_backward(gradient, more, "feed_forward_norm", "residual 2")
        branch = self._branch_backward(residual, "feed_forward.output", self.keys[0])
        gradients.add_product(f"{self.name}feed_forward.output.weight", branch.tensor, self.inner.tensor)
        inner = multiply(branch.tensor, self._matrix("feed_forward.output"), self.buffers("inner", count, self.F))
        gelu_backward(inner.array, self.slope.array, gradients.sum(f"{self.name}feed_forward.inner.bias"))
        gradients.add_product(f"{self.name}feed_forward.inner.weight", inner.tensor, self.middle.tensor)
        middle = multiply(inner.tensor, self._matrix("feed_forward.inner"), self.buffers("middle", count, H))

        residual = self._norm_backward(middle, residual, "attention_norm", "residual 1")
        branch = self._branch_backward(residual, "attention.output", self.keys[1])
        gradients.add_product(f"{self.name}attention.output.weight", branch.tensor, self.context.tensor)
        context = multiply(branch.tensor, self._matrix("attention.output"), self.buffers("context", count, H))
        return self._attention_backward(context, residual)

    def _norm_backward(self, gradient: Numbers, more: Numbers | None, norm: str, name: str) -> Numbers:
        assert self.gradients
        total = self.gradients.sum
        standard, scale = norm_memory(self.buffers, f"{self.memory}{norm}", self.count, self.H)
        out = self.buffers(name, self.count, self.H)
        normalise_backward(
            gradient.array, more.array if more else None, standard, scale, self._vector(f"{norm}.weight"),
            total(f"{self.name}{norm}.weight"), total(f"{self.name}{norm}.bias"), out.array,
        )  # fmt: skip
        return out

    def _branch_backward(self, residual: Numbers, bias: str, key: np.uint32) -> Numbers:
        """Gradient of the branch that was added to the residual, and that of its bias."""
        assert self.gradients
        branch = residual
        if self.dropout:
            branch = self.buffers("branch", self.count, self.H)
            drop(residual.array, self.dropout, key, branch.array)
        add_column_sums(branch.array, self.gradients.sum(f"{self.name}{bias}.bias"))
        return branch

    def _attention_backward(self, context: Numbers, residual: Numbers) -> tuple[Numbers, Numbers | None]:
        H, N, B, T, M, A, U = self.H, self.B * self.T, self.B, self.T, self.M, self.A, self.U
        assert self.gradients
        gradients = self.gradients
        heads, (dq, dk, dv) = self._by_head(self._keep), self._by_head(self.buffers)
        outer = self.buffers("heads' context", A, B, M, U).tensor
        outer.copy_(context.tensor.view(B, M, A, U).permute(2, 0, 1, 3))
        probabilities = self._keep("probabilities", A, B, M, T)
        score, dropped = self.buffers("score", B, M, T), self.buffers("dropped", B, M, T) if self.dropout else None
        for a, (q, k, v) in enumerate(zip(*heads, strict=True)):
            torch.bmm(outer[a], v.transpose(1, 2), out=score.tensor)
            softmax_backward(
                score.array, probabilities.array[a], self.scale, self.first, self.last,
                dropped.array if dropped else score.array, self.dropout,
            )  # fmt: skip
            shares = dropped.tensor if dropped else probabilities.tensor[a]
            torch.bmm(shares.transpose(1, 2), outer[a], out=dv[a])
            torch.bmm(score.tensor, k, out=dq[a])
            torch.bmm(score.tensor.transpose(1, 2), q, out=dk[a])
        for rows_own, heads_own in zip(self._by_row(self.buffers), (dq, dk, dv), strict=True):
            rows_own.copy_(heads_own.permute(1, 2, 0, 3))
        name, bias = f"{self.name}attention.query_key_value.weight", f"{self.name}attention.query_key_value.bias"
        weight, out = self._matrix("attention.query_key_value"), self.buffers("x", N, H)
        if self.places is None:
            all_three = self.buffers("qkv", N, 3 * H)
            add_column_sums(all_three.array, gradients.sum(bias))
            gradients.add_product(name, all_three.tensor, self.x.tensor)
            return multiply(all_three.tensor, weight, out), residual
        queries, others = self.buffers("q", self.count, H), self.buffers("kv", N, 2 * H)
        add_column_sums(queries.array, gradients.sum(bias)[:H])
        add_column_sums(others.array, gradients.sum(bias)[H:])
        gradients.add_product(name, queries.tensor, self.asking.tensor, rows=slice(H))
        gradients.add_product(name, others.tensor, self.x.tensor, rows=slice(H, None))
        multiply(others.tensor, weight[H:], out)
        asking = multiply(queries.tensor, weight[:H], self.buffers("asking", self.count, H))
        add_rows_at(asking.array, residual.array, self.places, out.array)
        return out, None
