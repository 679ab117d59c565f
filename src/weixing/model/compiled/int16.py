"""Matrix products in 16-bit whole numbers, for x86 processors without instructions for bf16.

AVX2's `vpmaddwd` multiplies 16 pairs of 16-bit numbers and adds neighbours, where a float32 instruction has 8 pairs.
(8 bits would go no faster there: their products have 16 bits, which the same instruction has to add up.) What is
multiplied has 12 bits and a sign, row by row, and a weight as many as keep every possible sum below 2³¹.

Pure, but that loops write to arrays that they are given. Shapes: N rows, K units in, C units out, P panels of columns.
"""

from typing import NamedTuple

import numpy as np
import torch
from llvmlite import binding
from torch import Tensor, nn

from weixing.model.compiled.blocks import COLUMNS, ROWS, block_int16
from weixing.model.compiled.buffers import Numbers
from weixing.model.compiled.numbers import bits_of_float, compiled, float_of_bits, inlined
from weixing.model.compiled.parameters import Weights

LARGEST = 4095  # of what is multiplied
BLOCK_BYTES = 1 << 18  # of rows, which stay in a core's cache while all panels pass

_ROUNDER = np.float32(12_582_912)  # 1.5 · 2²³: a number added to it is in the last bits of the sum, rounded
_WITHOUT_SIGN = np.int32(0x7FFFFFFF)
_LEAST = np.float32(1e-30)  # a row with nothing larger is taken for zeros


class Int16Matrix(NamedTuple):
    """A matrix [C, K] for products x @ matrix.T.

    Args:
        panels: int16 [P, K/2, COLUMNS, 2]: 16 columns at a time, and of each two units side by side; zeros beyond.
        scales: float32 [P · COLUMNS], what a column's numbers are to be multiplied by.
    """

    panels: np.ndarray
    scales: np.ndarray

    @classmethod
    def of(cls, weight: np.ndarray) -> "Int16Matrix":
        """From float32 [C, K]."""
        (C, K), sizes = weight.shape, np.abs(weight)
        # After rounding, a sum is at most LARGEST · (sizes / scale + 1/2 for each of K).
        scale = np.maximum(sizes.max(1) / 32767, sizes.sum(1, dtype=np.float64) / ((2**31 - 1) / LARGEST - K / 2))
        scale[scale == 0] = 1
        columns, units = -(-C // COLUMNS) * COLUMNS, K + K % 2
        whole = np.zeros((columns, units), np.int16)
        whole[:C, :K] = np.rint(weight / scale[:, None])
        panels = whole.reshape(-1, COLUMNS, units // 2, 2).transpose(0, 2, 1, 3)
        scales = np.zeros(columns, np.float32)
        scales[:C] = scale
        return cls(np.ascontiguousarray(panels), scales)


class Int16Weights(Weights):
    """Parameters that do not change, whose matrices are multiplied in 16 bits.

    Args:
        module: whose parameters, float32, on the CPU.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module, torch.float32)
        self._matrices: dict[tuple[str, int | None, int | None], Int16Matrix] = {}

    def apply(self, name: str, x: Tensor, out: Numbers, rows: slice = slice(None)) -> Numbers:
        """As in `Weights`; a matrix is converted when it is first met."""
        matrix = self._matrices.get((name, rows.start, rows.stop))
        if matrix is None:
            matrix = Int16Matrix.of(self.matrix(name)[rows].numpy())
            self._matrices[name, rows.start, rows.stop] = matrix
        numbers = x.numpy()
        multiply_int16(numbers, numbers.view(np.int32), matrix.panels, matrix.scales, out.array)
        return out


def has_int16() -> bool:
    """Whether this processor has the instruction: x86 with AVX2."""
    return bool(binding.get_host_cpu_features().get("avx2"))


@compiled
def multiply_int16(x, bits, panels, scales, out):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """out = x @ matrix.T, float32 [N, K] and [N, C], C-contiguous; `bits` are those of x, int32 [N, K]."""
    N, C, pairs = len(x), out.shape[1], panels.shape[1]
    most = max(1, BLOCK_BYTES // (4 * pairs * ROWS))
    groups = min(most, (N + ROWS - 1) // ROWS)
    whole, packed = np.zeros((ROWS, 2 * pairs), np.int16), np.zeros((groups, pairs, ROWS), np.int32)
    steps, result = np.zeros(groups * ROWS, np.float32), np.empty((ROWS, COLUMNS), np.float32)
    two_by_two, flat, flat_panels = whole.view(np.int32), packed.reshape(-1), panels.reshape(-1)
    flat_out, flat_result = out.reshape(-1), result.reshape(-1)
    for start in range(0, N, groups * ROWS):
        count = min(groups * ROWS, N - start)
        for row in range(0, count, ROWS):
            rows = min(ROWS, count - row)
            for r in range(rows):
                n = start + row + r
                steps[row + r] = _round(x[n], bits[n], whole[r])
            _interleave(two_by_two, packed[row // ROWS], rows)
        for panel in range(len(panels)):
            column = panel * COLUMNS
            for row in range(0, count, ROWS):
                at, to = row * pairs, (start + row) * C + column
                if count - row >= ROWS and C - column >= COLUMNS:
                    block_int16(  # type: ignore[call-arg]  # numba gives an intrinsic its context
                        flat, at, flat_panels, panel * pairs * 2 * COLUMNS, pairs, steps, row, scales, column,
                        flat_out, to, C,
                    )  # fmt: skip
                else:
                    block_int16(  # type: ignore[call-arg]  # numba gives an intrinsic its context
                        flat, at, flat_panels, panel * pairs * 2 * COLUMNS, pairs, steps, row, scales, column,
                        flat_result, 0, COLUMNS,
                    )  # fmt: skip
                    for r in range(min(ROWS, count - row)):
                        for c in range(min(COLUMNS, C - column)):
                            out[start + row + r, column + c] = result[r, c]


@inlined
def _round(row, bits, whole):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """A row of float32 in whole numbers up to LARGEST, int16; returns what one of them stands for."""
    top = np.int32(0)  # the order of floats without a sign is that of their bits, whose maximum is vector code
    for k in range(len(row)):
        top = max(top, np.int32(bits[k] & _WITHOUT_SIGN))
    largest = float_of_bits(np.uint32(top))
    factor = np.float32(LARGEST) / largest if largest > _LEAST else np.float32(0)
    for k in range(len(row)):
        whole[k] = np.int16(bits_of_float(row[k] * factor + _ROUNDER))
    return largest / np.float32(LARGEST)


@inlined
def _interleave(two_by_two, packed, rows):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """Rows [ROWS, K/2] of pairs to [K/2, ROWS]."""
    for r in range(rows):
        for k in range(len(packed)):
            packed[k, r] = two_by_two[r, k]
