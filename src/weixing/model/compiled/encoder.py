"""The encoder's forward and backward pass over some rows, written out by hand for one CPU core.

What `weixing.model.encoder.Encoder` says is computed here with its parameters, in bf16 or float32, dropout included:
matrix products by torch, into memory that is kept; all between two products in one compiled loop. Gradients are those
of the plain encoder; tests hold the two together. Several cores each take rows of their own (`weixing.model.compiled.workers`).

Shapes: B rows, T positions, N = B·T, M asked positions a row, H hidden units, A heads of 64 units.
"""

import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from weixing.model.compiled.attention import softmax_backward, softmax_forward
from weixing.model.compiled.buffers import Buffers, Numbers, multiply, numbers
from weixing.model.compiled.elementwise import (
    add_bias,
    add_column_sums,
    add_numbers,
    add_numbers_at,
    convert,
    convert_rows,
    gelu_backward,
    gelu_forward,
)
from weixing.model.compiled.norms import (
    add_and_normalise,
    add_rows_at,
    drop,
    embed_and_normalise,
    embed_backward,
    normalise_backward,
)
from weixing.model.encoder import Encoder
from weixing.zoo import HEAD_UNITS

SCALE = np.float32(1 / math.sqrt(HEAD_UNITS))


class Rows(NamedTuple):
    """What an encoder reads, int64 arrays.

    Args:
        ids, positions, kinds: [B, T], tokens, places, token types.
        first, last: [B, T], what a token sees: the keys from first up to, not including, last.
        asked: [B, M], positions within a row that are wanted of the last layer, or None: all.
    """

    ids: np.ndarray
    positions: np.ndarray
    kinds: np.ndarray
    first: np.ndarray
    last: np.ndarray
    asked: np.ndarray | None


class Weights:
    """The parameters of a module for compiled passes: float32 arrays, and of matrices a copy in the products' type.

    Args:
        module: whose parameters, on the CPU; they must stay in the same memory.
        dtype: torch.bfloat16 or torch.float32 (then the copies are the parameters).
        chosen: of a matrix, by name, the rows that products take, ascending; None: all. Their copy is made anew for
            every pass (`copy_chosen`).
    """

    def __init__(
        self, module: nn.Module, dtype: torch.dtype, chosen: Mapping[str, np.ndarray | None] = MappingProxyType({})
    ) -> None:
        self.parameters = dict(module.named_parameters())
        self.chosen = {name: rows for name, rows in chosen.items() if rows is not None}
        self._masters = {name: numbers(p) for name, p in self.parameters.items()}
        self._copies = {
            name: p if dtype == torch.float32 or p.tensor.dim() < 2 else numbers(p.tensor.to(dtype))
            for name, p in self._masters.items()
            if name not in self.chosen
        }
        for name, rows in self.chosen.items():
            self._copies[name] = numbers(torch.empty(len(rows), self.parameters[name].shape[1], dtype=dtype))

    def vector(self, name: str) -> np.ndarray:
        """The parameter itself, float32."""
        return self._masters[name].array

    def matrix(self, name: str) -> Tensor:
        """The copy that products take."""
        return self._copies[name].tensor

    @property
    def copies(self) -> dict[Tensor, np.ndarray]:
        """The copies by parameter, where they have memory of their own: to be kept equal to it."""
        return {
            p: self._copies[name].array
            for name, p in self.parameters.items()
            if self._copies[name] is not self._masters[name] and name not in self.chosen
        }

    def copy_chosen(self, share: int, shares: int) -> None:
        """Bring a share of the copies of chosen rows up to date."""
        for name, rows in self.chosen.items():
            part = slice(len(rows) * share // shares, len(rows) * (share + 1) // shares)
            convert_rows(self._masters[name].array, rows[part], self._copies[name].array[part])

    def refresh(self) -> None:
        """Bring all copies up to date after the parameters have changed."""
        for parameter, copy in self.copies.items():
            convert(parameter.detach().numpy(), copy)


class Gradients:
    """Sums of gradients, float32, by parameter name; those of matrices start anew with `begin`.

    Args:
        tensors: where they are summed.
        buffers: for the parts to add.
    """

    def __init__(self, tensors: dict[str, Tensor], buffers: Buffers) -> None:
        self.sums = {name: numbers(tensor) for name, tensor in tensors.items()}
        self.buffers = buffers
        self._fresh: set[str] = set()

    def begin(self) -> None:
        """Forget all that was summed up to now."""
        self._fresh = set(self.sums)

    def finish(self) -> None:
        """Zeros where nothing came."""
        for name in self._fresh:
            self.sums[name].array[...] = 0
        self._fresh = set()

    def sum(self, name: str) -> np.ndarray:
        """The sum up to now, to be added to."""
        array = self.sums[name].array
        if name in self._fresh:
            array[...] = 0
            self._fresh.discard(name)
        return array

    def add_product(self, name: str, left: Tensor, right: Tensor, rows: slice = slice(None)) -> None:
        """Add left.T @ right to (some rows of) the gradient of a matrix."""
        part = multiply(left.t(), right, self.buffers("gradient", left.shape[1], right.shape[1]))
        whole = rows == slice(None)
        add_numbers(part.array, self.sums[name].array if whole else self.sum(name)[rows], whole and name in self._fresh)
        self._fresh.discard(name)

    def add_product_at(self, name: str, left: Tensor, right: Tensor, places: np.ndarray) -> None:
        """Add left.T @ right to the gradient's rows at `places`; where it comes first, the other rows must be 0."""
        part = multiply(left.t(), right, self.buffers("gradient", left.shape[1], right.shape[1]))
        add_numbers_at(part.array, places, self.sums[name].array, name in self._fresh)
        self._fresh.discard(name)


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

        Args:
            rows: what to read.
            dropout: probability, as in `Encoder`.
            key: decides what is dropped.
        """
        self.rows, self.dropout = rows, np.float32(dropout)
        self._keys = _keys(key)
        get, at, H = self.weights.vector, self.embeddings, self.shape.hidden
        N = rows.ids.size
        x = self._kept("embedded", N, H)
        embed_and_normalise(
            rows.ids.ravel(), rows.positions.ravel(), rows.kinds.ravel(),
            get(f"{at}token.weight"), get(f"{at}position.weight"), get(f"{at}token_type.weight"),
            get(f"{at}norm.weight"), get(f"{at}norm.bias"),
            *self._norm("embedding", N), x.array,
        )  # fmt: skip
        self._embedding_key = next(self._keys)
        if dropout:
            drop(x.array, self.dropout, self._embedding_key, x.array)
        self._passes: list[_LayerPass] = []
        for layer in self.layers:
            last = layer == self.layers[-1]
            step = _LayerPass(self, layer, x, rows.asked if last else None)
            x = step.forward()
            self._passes.append(step)
        return x

    def backward(self, gradient: Numbers) -> None:
        """Add the gradients of all parameters, from that of what the last `forward` gave."""
        assert self.gradients
        more: Numbers | None = None
        for step in reversed(self._passes):
            gradient, more = step.backward(gradient, more)
        at, rows, total = self.embeddings, self.rows, self.gradients.sum
        if self.dropout:
            for part in (gradient, more):
                if part is not None:
                    drop(part.array, self.dropout, self._embedding_key, part.array)
        standard, scale = self._norm("embedding", rows.ids.size)
        normalise_backward(
            gradient.array, more.array if more else None, standard, scale, self.weights.vector(f"{at}norm.weight"),
            total(f"{at}norm.weight"), total(f"{at}norm.bias"), gradient.array,
        )  # fmt: skip
        embed_backward(
            gradient.array, rows.ids.ravel(), rows.positions.ravel(), rows.kinds.ravel(),
            total(f"{at}token.weight"), total(f"{at}position.weight"), total(f"{at}token_type.weight"),
        )  # fmt: skip

    def _kept(self, name: str, *shape: int) -> Numbers:
        """Memory for what the backward pass reads."""
        return self.buffers(name, *shape)

    def _norm(self, name: str, count: int) -> tuple[np.ndarray, np.ndarray]:
        standard = self.buffers(f"{name} standard", count, self.shape.hidden)
        return standard.array, self.buffers(f"{name} scale", count, dtype=torch.float32).array


class _LayerPass:
    """One layer of one pass: what the forward pass leaves for the backward pass."""

    def __init__(self, encoder: CompiledEncoder, name: str, x: Numbers, asked: np.ndarray | None) -> None:
        self.encoder, self.name, self.x = encoder, name, x
        self.buffers, self.weights = encoder.buffers, encoder.weights
        self.dropout, self.keys = encoder.dropout, [next(encoder._keys) for _ in range(3)]
        B, T = encoder.rows.ids.shape
        self.B, self.T, self.H = B, T, encoder.shape.hidden
        self.A = self.H // HEAD_UNITS
        self.first, self.last = encoder.rows.first, encoder.rows.last
        self.places: np.ndarray | None = None
        self.M = T
        if asked is not None:
            self.M = asked.shape[1]
            self.places = (asked + np.arange(B)[:, None] * T).ravel()
            self.first, self.last = self.first.ravel()[self.places], self.last.ravel()[self.places]
        self.first, self.last = self.first.reshape(B, self.M), self.last.reshape(B, self.M)
        self.count = B * self.M

    def _keep(self, name: str, *shape: int) -> Numbers:
        return self.buffers(f"{self.name}{name}", *shape)

    def _matrix(self, name: str) -> Tensor:
        return self.weights.matrix(f"{self.name}{name}.weight")

    def _vector(self, name: str) -> np.ndarray:
        return self.weights.vector(f"{self.name}{name}")

    def _heads(self) -> tuple[Tensor, Tensor, Tensor]:
        """Queries [B, M, A, 64], keys and values [B, T, A, 64]."""
        three = (self.B, self.T, 3, self.A, HEAD_UNITS)
        if self.places is None:
            q, k, v = self._keep("qkv", self.B * self.T, 3 * self.H).tensor.view(three).unbind(2)
            return q, k, v
        q = self._keep("q", self.count, self.H).tensor.view(self.B, self.M, self.A, HEAD_UNITS)
        k, v = self._keep("kv", self.B * self.T, 2 * self.H).tensor.view(self.B, self.T, 2, self.A, HEAD_UNITS).unbind(2)
        return q, k, v

    def forward(self) -> Numbers:
        H, N, count, x = self.H, self.B * self.T, self.count, self.x
        weight, bias = self._matrix("attention.query_key_value"), self._vector("attention.query_key_value.bias")
        if self.places is None:
            self.asking = x
            add_bias(multiply(x.tensor, weight.t(), self._keep("qkv", N, 3 * H)).array, bias)
        else:
            self.asking = self._keep("asking", count, H)
            np.take(x.array, self.places, axis=0, out=self.asking.array)
            add_bias(multiply(self.asking.tensor, weight[:H].t(), self._keep("q", count, H)).array, bias[:H])
            add_bias(multiply(x.tensor, weight[H:].t(), self._keep("kv", N, 2 * H)).array, bias[H:])
        self.context = self._keep("context", count, H)
        context = self.context.tensor.view(self.B, self.M, self.A, HEAD_UNITS)
        probabilities = self._keep("probabilities", self.A, self.B, self.M, self.T)
        dropped = self.buffers("dropped", self.B, self.M, self.T) if self.dropout else None
        for a, (q, k, v) in enumerate(_each_head(*self._heads())):
            torch.bmm(q, k.transpose(1, 2), out=probabilities.tensor[a])
            scores = probabilities.array[a]
            softmax_forward(
                scores, SCALE, self.first, self.last, dropped.array if dropped else scores, self.dropout,
                _of_head(self.keys[0], a),
            )  # fmt: skip
            torch.bmm(dropped.tensor if dropped else probabilities.tensor[a], v, out=context[:, :, a])
        branch = multiply(self.context.tensor, self._matrix("attention.output").t(), self.buffers("branch", count, H))
        self.middle = self._add_and_normalise(branch, "attention.output", self.asking, "attention_norm", self.keys[1])
        self.slope = multiply(self.middle.tensor, self._matrix("feed_forward.inner").t(), self._keep("slope", count, 4 * H))
        self.inner = self._keep("inner", count, 4 * H)
        gelu_forward(self.slope.array, self._vector("feed_forward.inner.bias"), self.inner.array)
        branch = multiply(self.inner.tensor, self._matrix("feed_forward.output").t(), self.buffers("branch", count, H))
        return self._add_and_normalise(branch, "feed_forward.output", self.middle, "feed_forward_norm", self.keys[2])

    def _add_and_normalise(self, x: Numbers, bias: str, residual: Numbers, norm: str, key: np.uint32) -> Numbers:
        out = self._keep(norm, self.count, self.H)
        add_and_normalise(
            x.array, self._vector(f"{bias}.bias"), residual.array,
            self._vector(f"{norm}.weight"), self._vector(f"{norm}.bias"),
            *self.encoder._norm(f"{self.name}{norm}", self.count), out.array, self.dropout, key,
        )  # fmt: skip
        return out

    def backward(self, gradient: Numbers, more: Numbers | None) -> tuple[Numbers, Numbers | None]:
        """From the gradient of the layer's output to that of its input, each the sum of two (or of one)."""
        H, N, count = self.H, self.B * self.T, self.count
        assert self.encoder.gradients
        gradients = self.encoder.gradients

        residual = self._norm_backward(gradient, more, "feed_forward_norm", "residual 2")
        branch = self._branch_backward(residual, "feed_forward.output", self.keys[2])
        gradients.add_product(f"{self.name}feed_forward.output.weight", branch.tensor, self.inner.tensor)
        inner = multiply(branch.tensor, self._matrix("feed_forward.output"), self.buffers("inner", count, 4 * H))
        gelu_backward(inner.array, self.slope.array, gradients.sum(f"{self.name}feed_forward.inner.bias"))
        gradients.add_product(f"{self.name}feed_forward.inner.weight", inner.tensor, self.middle.tensor)
        middle = multiply(inner.tensor, self._matrix("feed_forward.inner"), self.buffers("middle", count, H))

        residual = self._norm_backward(middle, residual, "attention_norm", "residual 1")
        branch = self._branch_backward(residual, "attention.output", self.keys[1])
        gradients.add_product(f"{self.name}attention.output.weight", branch.tensor, self.context.tensor)
        context = multiply(branch.tensor, self._matrix("attention.output"), self.buffers("context", count, H))
        return self._attention_backward(context, residual)

    def _norm_backward(self, gradient: Numbers, more: Numbers | None, norm: str, name: str) -> Numbers:
        assert self.encoder.gradients
        total = self.encoder.gradients.sum
        standard, scale = self.encoder._norm(f"{self.name}{norm}", self.count)
        out = self.buffers(name, self.count, self.H)
        normalise_backward(
            gradient.array, more.array if more else None, standard, scale, self._vector(f"{norm}.weight"),
            total(f"{self.name}{norm}.weight"), total(f"{self.name}{norm}.bias"), out.array,
        )  # fmt: skip
        return out

    def _branch_backward(self, residual: Numbers, bias: str, key: np.uint32) -> Numbers:
        """Gradient of the branch that was added to the residual, and that of its bias."""
        assert self.encoder.gradients
        branch = residual
        if self.dropout:
            branch = self.buffers("branch", self.count, self.H)
            drop(residual.array, self.dropout, key, branch.array)
        add_column_sums(branch.array, self.encoder.gradients.sum(f"{self.name}{bias}.bias"))
        return branch

    def _attention_backward(self, context: Numbers, residual: Numbers) -> tuple[Numbers, Numbers | None]:
        H, N, B, T, M, A = self.H, self.B * self.T, self.B, self.T, self.M, self.A
        assert self.encoder.gradients
        gradients = self.encoder.gradients
        if self.places is None:
            all_three = self.buffers("qkv", N, 3 * H)
            dq, dk, dv = all_three.tensor.view(B, T, 3, A, HEAD_UNITS).unbind(2)
        else:
            queries, others = self.buffers("q", self.count, H), self.buffers("kv", N, 2 * H)
            dq = queries.tensor.view(B, M, A, HEAD_UNITS)
            dk, dv = others.tensor.view(B, T, 2, A, HEAD_UNITS).unbind(2)
        outer = context.tensor.view(B, M, A, HEAD_UNITS)
        probabilities = self._keep("probabilities", A, B, M, T)
        score, dropped = self.buffers("score", B, M, T), self.buffers("dropped", B, M, T) if self.dropout else None
        for a, (q, k, v) in enumerate(_each_head(*self._heads())):
            torch.bmm(outer[:, :, a], v.transpose(1, 2), out=score.tensor)
            softmax_backward(
                score.array, probabilities.array[a], SCALE, self.first, self.last,
                dropped.array if dropped else score.array, self.dropout,
            )  # fmt: skip
            shares = dropped.tensor if dropped else probabilities.tensor[a]
            torch.bmm(shares.transpose(1, 2), outer[:, :, a], out=dv[:, :, a])
            torch.bmm(score.tensor, k, out=dq[:, :, a])
            torch.bmm(score.tensor.transpose(1, 2), q, out=dk[:, :, a])
        name, bias = f"{self.name}attention.query_key_value.weight", f"{self.name}attention.query_key_value.bias"
        weight, out = self._matrix("attention.query_key_value"), self.buffers("x", N, H)
        if self.places is None:
            add_column_sums(all_three.array, gradients.sum(bias))
            gradients.add_product(name, all_three.tensor, self.x.tensor)
            return multiply(all_three.tensor, weight, out), residual
        add_column_sums(queries.array, gradients.sum(bias)[:H])
        add_column_sums(others.array, gradients.sum(bias)[H:])
        gradients.add_product(name, queries.tensor, self.asking.tensor, rows=slice(H))
        gradients.add_product(name, others.tensor, self.x.tensor, rows=slice(H, None))
        multiply(others.tensor, weight[H:], out)
        asking = multiply(queries.tensor, weight[:H], self.buffers("asking", self.count, H))
        add_rows_at(asking.array, residual.array, self.places, out.array)
        return out, None


def _each_head(*parts: Tensor) -> Iterator[tuple[Tensor, ...]]:
    return zip(*(part.unbind(2) for part in parts), strict=True)


def _of_head(key: np.uint32, head: int) -> np.uint32:
    return np.uint32((int(key) + 0x9E3779B9 * head) % 2**32)


def _keys(key: int) -> Iterator[np.uint32]:
    """An endless stream of keys of random bits."""
    generator = np.random.default_rng(key)
    while True:
        yield np.uint32(generator.integers(2**32))
