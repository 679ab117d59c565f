"""Compiled loops of what ends in a LayerNorm, forwards and backwards, with dropout and the embedding's look-ups.

Pure: each works in place on arrays that it is given. "numbers" are bf16 (as uint16) or float32; parameters and their
gradients are float32. Shapes: N positions, H hidden units, V vocabulary entries. A dropout probability of 0 leaves
dropout out; otherwise a key (uint32), the row and the column decide what is dropped, forwards and backwards alike.
"""

import numpy as np

from weixing.model.compiled.numbers import compiled, inlined, load, random_bits, store

ZERO, ONE = np.float32(0), np.float32(1)
EPSILON = np.float32(1e-12)  # on the variance


@inlined
def _dropout_factor(row_key, column, dropout):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    dropped = random_bits(row_key, column) < np.uint32(np.float64(dropout) * 4294967296.0)
    return ZERO if dropped else ONE / (ONE - dropout)


@inlined
def _normalise(values, gain, shift, standard, out, exact, n):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    size = len(values)
    total = ZERO
    for h in range(size):
        total += values[h]
    mean = total / np.float32(size)
    squares = ZERO
    for h in range(size):
        squares += (values[h] - mean) * (values[h] - mean)
    scale = ONE / np.sqrt(squares / np.float32(size) + EPSILON)
    for h in range(size):
        value = (values[h] - mean) * scale
        store(standard, h, value)
        result = value * gain[h] + shift[h]
        store(out, h, result)
        if exact is not None:
            exact[n, h] = result
    return scale


@compiled
def normalise(x, gain, shift, standard, scale, out, exact=None):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """out [N, H] = LayerNorm(x).

    Args:
        x: numbers [N, H].
        gain, shift: float32 [H].
        standard: numbers [N, H], written: the same before gain and shift (mean 0, variance 1).
        scale: float32 [N], written: 1 / the row's standard deviation.
        out: numbers [N, H], written.
        exact: float32 [N, H], the same unrounded, or None.
    """
    values = np.empty(x.shape[1], np.float32)
    for n in range(x.shape[0]):
        row = x[n]
        for h in range(x.shape[1]):
            values[h] = load(row, h)
        scale[n] = _normalise(values, gain, shift, standard[n], out[n], exact, n)


@compiled
def add_and_normalise(x, bias, residual, gain, shift, standard, scale, out, exact, dropout, key):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """out [N, H] = LayerNorm(residual + dropout(x + bias)), else as `normalise`."""
    size = x.shape[1]
    values = np.empty(size, np.float32)
    for n in range(x.shape[0]):
        row, other = x[n], residual[n]
        if dropout > 0:
            row_key = random_bits(key, np.uint32(n))
            for h in range(size):
                factor = _dropout_factor(row_key, np.uint32(h), dropout)
                values[h] = (load(row, h) + bias[h]) * factor + load(other, h)
        else:
            for h in range(size):
                values[h] = load(row, h) + bias[h] + load(other, h)
        scale[n] = _normalise(values, gain, shift, standard[n], out[n], exact, n)


@compiled
def embed_and_normalise(ids, positions, kinds, tokens, places, types, gain, shift, standard, scale, out, exact):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """out [N, H] = LayerNorm(tokens[ids] + places[positions] + types[kinds]), else as `normalise`.

    Args:
        ids, positions, kinds: int64 [N].
        tokens, places, types: float32 tables of H columns.
    """
    size = out.shape[1]
    values = np.empty(size, np.float32)
    for n in range(len(ids)):
        token, place, kind = tokens[ids[n]], places[positions[n]], types[kinds[n]]
        for h in range(size):
            values[h] = token[h] + place[h] + kind[h]
        scale[n] = _normalise(values, gain, shift, standard[n], out[n], exact, n)


@compiled
def normalise_backward(gradient, more, standard, scale, gain, gain_gradient, shift_gradient, out):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """out [N, H] = gradient of what was normalised, from `gradient` + `more`, both numbers [N, H] (`more` may be None).

    gain_gradient and shift_gradient, float32 [H], are added to. `out` may be `gradient` or `more`.
    """
    size = gradient.shape[1]
    values = np.empty(size, np.float32)
    share = ONE / np.float32(size)
    for n in range(gradient.shape[0]):
        row, stand, target = gradient[n], standard[n], out[n]
        if more is not None:
            other = more[n]
        total, product = ZERO, ZERO
        for h in range(size):
            value = load(row, h)
            if more is not None:
                value += load(other, h)
            x = load(stand, h)
            shift_gradient[h] += value
            gain_gradient[h] += value * x
            value *= gain[h]
            values[h] = value
            total += value
            product += value * x
        total, product = total * share, product * share
        for h in range(size):
            store(target, h, scale[n] * (values[h] - total - load(stand, h) * product))


@compiled
def drop(x, dropout, key, out):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """out [N, H] = dropout(x), of values as of gradients; the quickest if out is not x."""
    for n in range(x.shape[0]):
        row, target = x[n], out[n]
        row_key = random_bits(key, np.uint32(n))
        for h in range(x.shape[1]):
            store(target, h, load(row, h) * _dropout_factor(row_key, np.uint32(h), dropout))


@compiled
def embed_backward(gradient, ids, positions, kinds, tokens, places, types):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """Add the rows of `gradient` [N, H] to the rows of the three tables' gradients that they came from."""
    for n in range(gradient.shape[0]):
        row = gradient[n]
        token, place, kind = tokens[ids[n]], places[positions[n]], types[kinds[n]]
        for h in range(gradient.shape[1]):
            value = load(row, h)
            token[h] += value
            place[h] += value
            kind[h] += value


@compiled
def add_rows_at(x, more, places, out):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """out [K, H], at row places[n], += x [N, H] + more [N, H]; a place may come several times."""
    for n in range(len(places)):
        row, other, target = x[n], more[n], out[places[n]]
        for h in range(x.shape[1]):
            store(target, h, load(target, h) + load(row, h) + load(other, h))
