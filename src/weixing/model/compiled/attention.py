"""Compiled loops of the attention's softmax, forwards and backwards. Pure: they work in place on arrays given.

A query sees the keys from `first` up to, not including, `last`: a row's tokens without its padding, or the tokens of
one document of a packed row. Shapes: R rows (sequences), M queries a row, T keys a row; numbers are bf16 or float32.
"""

import numpy as np

from weixing.model.compiled.numbers import compiled, exponentials, load, random_bits, store

ZERO, ONE = np.float32(0), np.float32(1)


@compiled
def softmax_forward(scores, scale, first, last, dropped, dropout, key):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """scores [R, M, T] become probabilities softmax(scale · scores), 0 outside of what a query sees.

    Args:
        first, last: int64 [R, M].
        dropped: numbers [R, M, T], written where dropout > 0: the probabilities after dropout. A probability that was
            dropped is marked by its sign in `scores`, for the backward pass.
        dropout, key: probability (float32) and uint32 of random bits.
    """
    rows, queries, size = scores.shape
    values = np.empty(size, np.float32)
    limit, kept = np.uint32(np.float64(dropout) * 4294967296.0), ONE / (ONE - dropout)
    for r in range(rows):
        for m in range(queries):
            low, high = first[r, m], last[r, m]
            whole = scores[r, m]
            row = whole[low:high]  # slices, since an index from `low` on might be negative: a check in every turn
            total, _ = exponentials(row, None, scale, values)
            share = ONE / total
            for t in range(len(row)):
                store(row, t, values[t] * share)
            whole[:low] = 0
            whole[high:] = 0
            if dropout > 0:
                target = dropped[r, m]
                row_key = random_bits(key, np.uint32(r * queries + m))
                for t in range(size):
                    probability = load(whole, t)
                    out = random_bits(row_key, np.uint32(t)) < limit
                    # numba loses a call that it inlines if an argument is a conditional expression: named first.
                    survived = ZERO if out else probability * kept
                    marked = -probability if out else probability
                    store(target, t, survived)
                    store(whole, t, marked)


@compiled
def softmax_backward(gradient, probabilities, scale, first, last, dropped, dropout):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """gradient [R, M, T], of the probabilities (after dropout), becomes that of the scores.

    `dropped` is written where dropout > 0, as in the forward pass; `probabilities` are what that left in `scores`.
    """
    rows, queries, _ = gradient.shape
    kept = ONE / (ONE - dropout)
    for r in range(rows):
        for m in range(queries):
            low, high = first[r, m], last[r, m]
            whole = gradient[r, m]
            row, shares = whole[low:high], probabilities[r, m][low:high]
            if dropout > 0:
                target = dropped[r, m]
                target[:low] = 0
                target[high:] = 0
                target = target[low:high]
                for t in range(len(row)):
                    share = load(shares, t)
                    store(target, t, max(share, ZERO) * kept)
                    passed = load(row, t) * kept if share > 0 else ZERO  # named first, as in the forward pass
                    store(row, t, passed)
            product = ZERO
            for t in range(len(row)):
                product += load(row, t) * abs(load(shares, t))
            for t in range(len(row)):
                store(row, t, (load(row, t) - product) * abs(load(shares, t)) * scale)
            whole[:low] = 0
            whole[high:] = 0
