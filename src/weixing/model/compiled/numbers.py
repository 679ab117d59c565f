"""Numbers inside compiled loops: bf16 and float32 read and written alike, exp, GELU, random bits. Pure.

bf16 arrays come as uint16, the upper half of a float32: `load` and `store` convert, for float32 arrays they do nothing,
so every loop of this package exists once for both. All is plain arithmetic, without a call, so that the compiler turns
the loops around it into vector code.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from weixing.compiling import compile_with

HOW: dict[str, Any] = {
    "error_model": "numpy",  # a division has no branch for zero
    "fastmath": {"contract", "reassoc", "nsz", "arcp"},  # infinities and NaN stay what they are
}
compiled = compile_with(**HOW)
"""How every loop of this package is compiled that Python calls."""

inlined = compile_with(**HOW, forceinline=True)
"""How what other loops call is compiled: as a part of each of them.

A call that is left finds one of several copies, each optimised in another place, and in the process that compiles not
the one that is found where loops are read from disk. Sums then come in another order: their last bits differ.
"""

LOG2_E = np.float32(1.4426950408889634)
# 2**r on [0, 1), to 2e-7: Chebyshev fit, highest power first.
P5, P4, P3, P2, P1, P0 = (
    np.float32(c)
    for c in (1.8775767e-3, 8.9893397e-3, 5.5826318e-2, 2.4015361e-1, 6.9315308e-1, 9.9999994e-1)
)  # fmt: skip
# 1 - erf(z) = (A1 t + … + A5 t⁵) exp(-z²) with t = 1 / (1 + A0 z), to 1.5e-7: Abramowitz & Stegun 7.1.26.
A0, A1, A2, A3, A4, A5 = (
    np.float32(c) for c in (0.3275911, 0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
)
SQRT_HALF = np.float32(0.7071067811865476)
NORMAL_PEAK = np.float32(0.3989422804014327)  # 1 / √(2π)


def _bitcast(source: Any, target: Any, llvm: Any) -> Callable[..., Any]:
    @intrinsic
    def cast(context, value):  # type: ignore[no-untyped-def]  # numba's own protocol
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]  # numba's own protocol
            return builder.bitcast(arguments[0], llvm)

        return target(source), generate

    return cast


float_of_bits = _bitcast(types.uint32, types.float32, ir.FloatType())
bits_of_float = _bitcast(types.float32, types.uint32, ir.IntType(32))


def load(array: np.ndarray, index: int) -> np.float32:
    """Number `index` of a one-dimensional bf16 (uint16) or float32 array; compiled code alone can call it."""
    raise NotImplementedError


def store(array: np.ndarray, index: int, value: np.float32) -> None:
    """Write `value` there, rounded to the nearest if it is a bf16 array; compiled code alone can call it."""
    raise NotImplementedError


@overload(load, inline="always")
def _load(array, index):  # type: ignore[no-untyped-def]  # numba's own protocol
    if array.dtype == types.uint16:
        return lambda array, index: float_of_bits(np.uint32(array[index]) << np.uint32(16))
    return lambda array, index: array[index]


@overload(store)
def _store(array, index, value):  # type: ignore[no-untyped-def]  # numba's own protocol
    if array.dtype == types.uint16:

        def narrow(array, index, value):  # type: ignore[no-untyped-def]  # compiled
            bits = bits_of_float(value)  # to the nearest, ties to even
            rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
            array[index] = np.uint16(rounded >> np.uint32(16))

        return narrow

    def keep(array, index, value):  # type: ignore[no-untyped-def]  # compiled
        array[index] = value

    return keep


@inlined
def exp(x):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """e**x to 3e-7 near 0 and 4e-6 at the ends; below -87 it stays at 1e-38, above 88 at 1.7e38."""
    power = min(max(x * LOG2_E, np.float32(-126)), np.float32(127))
    whole = np.floor(power)
    r = power - whole
    e = ((((P5 * r + P4) * r + P3) * r + P2) * r + P1) * r + P0
    return e * float_of_bits(np.uint32(np.int32(whole) + np.int32(127)) << np.uint32(23))


@inlined
def exponentials(row, bias, scale, values):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """values = exp(scale · row + bias - top); returns their sum and top. `bias` may be None.

    The largest number is sought only where the sum overflows or vanishes without: a search is slower than all else.
    """
    total, top = np.float32(0), np.float32(0)
    for i in range(len(row)):
        value = load(row, i) * scale
        if bias is not None:
            value += bias[i]
        e = exp(value)
        values[i] = e
        total += e
    if not np.float32(1e-20) < total < np.float32(1e30):
        top = np.float32(-3.0e38)
        for i in range(len(row)):
            value = load(row, i) * scale
            if bias is not None:
                value += bias[i]
            values[i] = value
            top = max(top, value)
        total = np.float32(0)
        for i in range(len(row)):
            e = exp(values[i] - top)
            values[i] = e
            total += e
    return total, top


@inlined
def normal_share_and_density(x):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """Φ(x) and φ(x) of the standard normal distribution: GELU is x Φ(x), its slope Φ(x) + x φ(x)."""
    size = abs(x)
    t = np.float32(1) / (np.float32(1) + A0 * SQRT_HALF * size)
    density = exp(np.float32(-0.5) * x * x)
    tail = np.float32(0.5) * ((((A5 * t + A4) * t + A3) * t + A2) * t + A1) * t * density
    return (tail if x < 0 else np.float32(1) - tail), NORMAL_PEAK * density


@inlined
def random_bits(key, counter):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """32 random bits, decided by a key and a counter (uint32): "lowbias32" of C. Wellons' hash-prospector."""
    # numba makes the sum of two uint32 a uint64: each step is cut back, so that 16 of them fit a vector register.
    x = np.uint32(key + np.uint32(np.uint32(counter) * np.uint32(0x9E3779B9)))
    x = np.uint32((x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D))
    x = np.uint32((x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B))
    return np.uint32(x ^ (x >> np.uint32(16)))
