"""Compiled loops over rows of numbers: biases, GELU, sums of gradients, conversions.

Pure: each works in place on arrays that it is given. "numbers" are bf16 (as uint16) or float32, biases and gradients of
parameters are float32. Shapes: N positions, H hidden units, F inner units, K rows of a matrix.
"""

from weixing.model.compiled.numbers import compiled, load, normal_share_and_density, store


@compiled
def add_bias(x, bias):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """x [N, H] += bias [H]."""
    for n in range(x.shape[0]):
        row = x[n]
        for h in range(x.shape[1]):
            store(row, h, load(row, h) + bias[h])


@compiled
def add_column_sums(x, sums):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """sums [H] += the sum of the rows of x [N, H]: the gradient of a bias."""
    for n in range(x.shape[0]):
        row = x[n]
        for h in range(x.shape[1]):
            sums[h] += load(row, h)


@compiled
def gelu_forward(x, bias, y):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """y [N, F] = GELU(x + bias [F]); x [N, F] becomes the slope of GELU there. y may be x: then the slope is lost."""
    for n in range(x.shape[0]):
        row, out = x[n], y[n]
        for f in range(x.shape[1]):
            value = load(row, f) + bias[f]
            share, density = normal_share_and_density(value)
            store(row, f, share + value * density)
            store(out, f, value * share)


@compiled
def gelu_backward(gradient, slope, bias_gradient):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """gradient [N, F], of GELU's output, becomes that of its input; bias_gradient [F] += its column sums."""
    for n in range(gradient.shape[0]):
        row, slopes = gradient[n], slope[n]
        for f in range(gradient.shape[1]):
            value = load(row, f) * load(slopes, f)
            store(row, f, value)
            bias_gradient[f] += value


@compiled
def add_numbers(x, total, first, places=None):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """total, float32 [K, H], += x, numbers [K, H]; where it is the first, total = x.

    With `places`, int64 [K], row k of x goes to row places[k] of a larger total.
    """
    for k in range(x.shape[0]):
        row, target = x[k], total[k]
        if places is not None:
            target = total[places[k]]
        if first:
            for h in range(x.shape[1]):
                target[h] = load(row, h)
        else:
            for h in range(x.shape[1]):
                target[h] += load(row, h)


@compiled
def convert_rows(x, places, out):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """Row k of out [K, H] = row places[k] of x, whatever of bf16 and float32 they are."""
    for k in range(len(places)):
        row, target = x[places[k]], out[k]
        for h in range(out.shape[1]):
            store(target, h, load(row, h))


@compiled
def convert(x, out):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """out [K, H] = x, whatever of bf16 and float32 they are."""
    for k in range(x.shape[0]):
        row, target = x[k], out[k]
        for h in range(x.shape[1]):
            store(target, h, load(row, h))
