"""Files of vectors that grow row by row: NumPy's .npy and Parquet. Opens files.

What grows is an .npy from the start, with a header of fixed size in which the number of rows is filled in at the end.

Shapes: N rows, H hidden units.
"""

from pathlib import Path

import numpy as np

from weixing.errors import UserError

HEADER_BYTES = 128
ROWS_AT_ONCE = 16_384  # of a row group of Parquet


def npy_header(rows: int, hidden: int) -> bytes:
    """The header of an .npy of float32 [N, H], version 1.0, HEADER_BYTES long for any number of rows."""
    values = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {hidden}), }}"
    start = b"\x93NUMPY\x01\x00" + (HEADER_BYTES - 10).to_bytes(2, "little")
    return start + values.encode().ljust(HEADER_BYTES - len(start) - 1) + b"\n"


def as_npy(part: Path, rows: int, hidden: int) -> Path:
    """Fill in the number of rows; the part itself."""
    with open(part, "r+b") as stream:
        stream.write(npy_header(rows, hidden))
    return part


def as_parquet(part: Path, rows: int, hidden: int) -> Path:
    """The same rows as Parquet beside the part: a column ``vector`` of float32 lists of H; null where a row is NaN.

    Raises:
        UserError: the extra is missing.
    """
    require_parquet()
    import pyarrow
    from pyarrow import parquet

    vectors = np.memmap(part, "<f4", "r", HEADER_BYTES, (rows, hidden))
    schema = pyarrow.schema([pyarrow.field("vector", pyarrow.list_(pyarrow.float32(), hidden))])
    made = part.with_name(part.name + ".parquet")
    with parquet.ParquetWriter(made, schema, compression="none", use_dictionary=False) as writer:
        for start in range(0, rows, ROWS_AT_ONCE):
            some = np.array(vectors[start : start + ROWS_AT_ONCE])
            missing = pyarrow.array(np.isnan(some[:, 0]))
            column = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(some.ravel()), hidden, mask=missing)
            writer.write_table(pyarrow.table([column], schema))
    return made


def require_parquet() -> None:
    """Raise UserError unless the extra is there."""
    try:
        import pyarrow.parquet  # noqa: F401  # whether it is there
    except ImportError as error:
        raise UserError(
            f"Parquet files need the library pyarrow ({error})", action="pip install 'weixing[parquet]'"
        ) from None
