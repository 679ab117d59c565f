"""Compiled loops over parameters: sums and norms of gradients, and AdamW in one pass. Pure: they work in place."""

import numpy as np

from weixing.model.compiled.numbers import compiled, store

ONE = np.float32(1)
PART = 4096  # numbers summed in single precision before they join the double-precision total


@compiled
def add(total, part):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """total += part, float32 vectors."""
    for i in range(len(total)):
        total[i] += part[i]


@compiled
def scale(x, factor):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """x *= factor, a float32 vector and number."""
    for i in range(len(x)):
        x[i] *= factor


@compiled
def sum_of_squares(x):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """Of a float32 vector, in double precision."""
    total = 0.0
    for start in range(0, len(x), PART):
        run = x[start : start + PART]
        part = np.float32(0)
        for i in range(len(run)):
            part += run[i] * run[i]
        total += np.float64(part)
    return total


@compiled
def adamw(x, gradient, mean, square, copy, beta1, beta2, step, root_scale, epsilon, before, after):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """One update of AdamW; all vectors of one length, float32, and numbers of type float32.

    mean and square are the moving averages; then
    x ← (before · x - step · mean / (root_scale · √square + epsilon)) · after, before and after being the weight decay.
    `copy` (numbers, may be x itself) receives the new x.
    """
    rest1, rest2 = ONE - beta1, ONE - beta2
    for i in range(len(x)):
        g = gradient[i]
        m = beta1 * mean[i] + rest1 * g
        s = beta2 * square[i] + rest2 * g * g
        mean[i] = m
        square[i] = s
        value = (before * x[i] - step * m / (root_scale * np.sqrt(s) + epsilon)) * after
        x[i] = value
        store(copy, i, value)
