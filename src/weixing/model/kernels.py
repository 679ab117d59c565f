"""Compiled loops for what torch does in many passes on a CPU. Pure: they work in place on arrays that they are given.

bf16 numbers come as uint16: the upper half of a float32. The compiler turns the inner loops into vector code, which is
why exp is written out as arithmetic.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

LOG2_E = np.float32(1.4426950408889634)
# 2**r on [0, 1), to 2e-7: Chebyshev fit, highest power first.
POWERS = tuple(
    np.float32(c)
    for c in (1.8775767e-3, 8.9893397e-3, 5.5826318e-2, 2.4015361e-1, 6.9315308e-1, 9.9999994e-1)
)  # fmt: skip
P5, P4, P3, P2, P1, P0 = POWERS


def _bitcast(source: Any, target: Any, llvm: Any) -> Callable[..., Any]:
    @intrinsic
    def cast(context, value):  # type: ignore[no-untyped-def]  # numba's own protocol
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]  # numba's own protocol
            return builder.bitcast(arguments[0], llvm)

        return target(source), generate

    return cast


_float_of_bits = _bitcast(types.uint32, types.float32, ir.FloatType())
_bits_of_float = _bitcast(types.float32, types.uint32, ir.IntType(32))


@njit(inline="always")
def _widen(half):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    return _float_of_bits(np.uint32(half) << np.uint32(16))


@njit(inline="always")
def _narrow(value):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    bits = _bits_of_float(value)  # to the nearest, ties to even
    return np.uint16((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16))


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz", "arcp"})
def cross_entropy_rows(logits, labels, weights, losses, scratch):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """Replace each row of logits by the gradient of its weighted cross entropy, and write the loss.

    Args:
        logits: uint16 [N, V], bf16 numbers; afterwards ``weight · (softmax - onehot)``.
        labels: int64 [N].
        weights: float32 [N].
        losses: float32 [N], written: ``-weight · log softmax[label]``.
        scratch: float32 [V], overwritten.
    """
    count, size = logits.shape
    for n in range(count):
        row = logits[n]
        top = np.float32(-3.0e38)
        for j in range(size):
            top = max(top, _widen(row[j]))
        total = np.float32(0)
        for j in range(size):
            power = max((_widen(row[j]) - top) * LOG2_E, np.float32(-126))
            whole = np.floor(power)
            r = power - whole
            e = ((((P5 * r + P4) * r + P3) * r + P2) * r + P1) * r + P0
            e *= _float_of_bits(np.uint32(np.int32(whole) + np.int32(127)) << np.uint32(23))
            scratch[j] = e
            total += e
        label, weight = labels[n], weights[n]
        losses[n] = weight * (np.log(total) + top - _widen(row[label]))
        scale = weight / total
        for j in range(size):
            row[j] = _narrow(scratch[j] * scale)
        row[label] = _narrow(scratch[label] * scale - weight)
