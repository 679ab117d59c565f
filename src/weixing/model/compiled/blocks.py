"""Blocks of matrix products in vector registers, float32 or 16-bit whole numbers, for compiled loops. Pure.

A block is ROWS × COLUMNS sums, which stay in registers while all units pass. Of a unit (in 16 bits: of two) the numbers
of all columns lie side by side.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 8  # 32-bit numbers of a register
ROWS, COLUMNS = 6, 2 * LANES  # 12 registers of sums, and 4 more for what they are made of

_HALVES = range(COLUMNS // LANES)
_FLOATS, _WHOLES = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(ir.IntType(32), LANES)
_PAIRS = ir.VectorType(ir.IntType(16), 2 * LANES)


@intrinsic
def block_float32(context, rows, row_at, row_width, columns, column_at, column_width, units, out, out_at, out_width):  # type: ignore[no-untyped-def]  # numba's own protocol
    """out = rows × columns, in flat float32 arrays, each with the index at which it begins.

    Args:
        rows: ROWS rows of units, `row_width` apart.
        columns: of each unit COLUMNS numbers, `column_width` apart.
        out: written, ROWS rows of COLUMNS, `out_width` apart.
    """
    arguments = (rows, row_at, row_width, columns, column_at, column_width, units, out, out_at, out_width)
    signature = types.void(*arguments)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]  # numba's own protocol
        rows, columns, out = _data(context, builder, signature, arguments, (0, 3, 7))
        row_at, row_width, column_at, column_width, units, out_at, width = (arguments[i] for i in (1, 2, 4, 5, 6, 8, 9))
        emit = _Emitter(builder)
        multiply_add = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_FLOATS, [_FLOATS] * 3), f"llvm.fma.v{LANES}f32"
        )
        sums = emit.sums(_FLOATS)
        with cgutils.for_range(builder, units) as loop:
            column = builder.add(column_at, builder.mul(loop.index, column_width))
            its_columns = [emit.load(columns, column, LANES * half, _FLOATS) for half in _HALVES]
            for r in range(ROWS):
                row = emit.step(builder.add(row_at, loop.index), row_width, r)
                its_row = emit.spread(emit.load(rows, row, 0, _FLOATS.element))
                for half in _HALVES:
                    total = builder.call(multiply_add, [its_row, its_columns[half], builder.load(sums[r][half])])
                    builder.store(total, sums[r][half])
        for r in range(ROWS):
            for half in _HALVES:
                emit.store(builder.load(sums[r][half]), out, emit.step(out_at, width, r), LANES * half)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def block_int16(context, rows, row_at, columns, column_at, pairs, steps, step_at, scales, scale_at, out, out_at, width):  # type: ignore[no-untyped-def]  # numba's own protocol
    """out = rows × columns, scaled, in flat arrays, each with the index at which it begins. Needs AVX2.

    Args:
        rows: int32 [pairs, ROWS], each two int16.
        columns: int16 [pairs, COLUMNS, 2].
        steps, scales: float32 [ROWS] and [COLUMNS], what 1 of a row and of a column stands for.
        out: float32, written, ROWS rows of COLUMNS, `width` apart.
    """
    signature = types.void(
        rows, row_at, columns, column_at, pairs, steps, step_at, scales, scale_at, out, out_at, width
    )

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]  # numba's own protocol
        rows, columns, steps, scales, out = _data(context, builder, signature, arguments, (0, 2, 5, 7, 9))
        row_at, column_at, pairs, step_at, scale_at, out_at, width = (arguments[i] for i in (1, 3, 4, 6, 8, 10, 11))
        emit = _Emitter(builder)
        multiply = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_WHOLES, [_PAIRS, _PAIRS]), "llvm.x86.avx2.pmadd.wd"
        )
        sums = emit.sums(_WHOLES)
        with cgutils.for_range(builder, pairs) as loop:
            row, column = emit.step(row_at, loop.index, ROWS), emit.step(column_at, loop.index, 2 * COLUMNS)
            its_columns = [emit.load(columns, column, 2 * LANES * half, _PAIRS) for half in _HALVES]
            for r in range(ROWS):
                its_row = builder.bitcast(emit.spread(emit.load(rows, row, r, _WHOLES.element)), _PAIRS)
                for half in _HALVES:
                    product = builder.call(multiply, [its_row, its_columns[half]])
                    builder.store(builder.add(builder.load(sums[r][half]), product), sums[r][half])
        its_scales = [emit.load(scales, scale_at, LANES * half, _FLOATS) for half in _HALVES]
        for r in range(ROWS):
            step = emit.spread(emit.load(steps, step_at, r, _FLOATS.element))
            for half in _HALVES:
                total = builder.sitofp(builder.load(sums[r][half]), _FLOATS)
                total = builder.fmul(total, builder.fmul(step, its_scales[half]))
                emit.store(total, out, emit.step(out_at, width, r), LANES * half)
        return context.get_dummy_value()

    return signature, generate


def _data(context: Any, builder: Any, signature: Any, arguments: Any, places: tuple[int, ...]) -> list[Any]:
    """Pointers to the data of those arguments that are arrays."""
    return [context.make_array(signature.args[i])(context, builder, arguments[i]).data for i in places]


class _Emitter:
    """Instructions on vectors, by llvmlite."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def sums(self, kind: Any) -> list[list[Any]]:
        """A place for each register of sums, zero. LLVM keeps them in registers."""
        zero = ir.Constant(kind, [0] * LANES)
        return [[cgutils.alloca_once_value(self.builder, zero) for _ in _HALVES] for _ in range(ROWS)]

    def step(self, at: Any, index: Any, size: int) -> Any:
        """at + index · size."""
        return self.builder.add(at, self.builder.mul(index, ir.Constant(ir.IntType(64), size)))

    def load(self, data: Any, at: Any, offset: int, kind: Any) -> Any:
        """What lies at data[at + offset]."""
        return self.builder.load(self._place(data, at, offset, kind), align=2)

    def store(self, value: Any, data: Any, at: Any, offset: int) -> None:
        """Write it there."""
        self.builder.store(value, self._place(data, at, offset, value.type), align=4)

    def _place(self, data: Any, at: Any, offset: int, kind: Any) -> Any:
        pointer = self.builder.gep(data, [self.builder.add(at, ir.Constant(ir.IntType(64), offset))])
        return self.builder.bitcast(pointer, kind.as_pointer())

    def spread(self, scalar: Any) -> Any:
        """A vector of LANES times the same number."""
        nothing = ir.Constant(ir.VectorType(scalar.type, LANES), ir.Undefined)
        first = self.builder.insert_element(nothing, scalar, ir.Constant(ir.IntType(32), 0))
        return self.builder.shuffle_vector(first, nothing, ir.Constant(_WHOLES, [0] * LANES))
