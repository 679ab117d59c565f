"""Texts of tables: Parquet files, and the Arrow files that Hugging Face `datasets` saves. Opens the file it is given.

What `Dataset.save_to_disk` writes are streams of Arrow record batches, so that pyarrow alone reads them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from weixing.errors import UserError
from weixing.storage import reaching

COLUMN = "text"
ROWS_AT_ONCE = 256
BYTES_AT_ONCE = 2 << 20  # of texts; a longer one comes alone


def tables(file: Path, form: str) -> Iterator[tuple[bytes, np.ndarray, int]]:
    """The texts of a file in column `text`, some rows at a time; a missing value is an empty text.

    Args:
        file: the file.
        form: ``parquet`` or ``arrow``.

    Yields:
        The texts' bytes one after another; int64 [texts + 1], where in them each begins and the last one ends; how many
        bytes of the file have been read, about.

    Raises:
        UserError: the file cannot be read or is damaged, or has no such column of strings.
    """
    try:
        import pyarrow
    except ImportError:
        raise UserError(
            f"reading .{form} needs the extra `parquet`", where=file, action="pip install 'weixing[parquet]'"
        ) from None
    try:
        with reaching(file), file.open("rb") as stream:
            size = file.stat().st_size
            for batch, share in _parquet(stream) if form == "parquet" else _arrow(stream, size):
                data, borders = _bytes(batch, file)
                for first, last in _parts(borders):
                    start, end = borders[first], borders[last]
                    yield data[start:end], borders[first : last + 1] - start, int(share * size)
    except pyarrow.ArrowException as error:
        raise UserError(f"the table is damaged or cut short ({error})", where=file) from None
    except OSError as error:
        raise UserError(f"cannot read the table: {error.strerror or error}", where=file) from None


def _parts(borders: np.ndarray) -> Iterator[tuple[int, int]]:
    """Where to cut texts with these borders, so that parts are of about `BYTES_AT_ONCE`."""
    first, texts = 0, len(borders) - 1
    while first < texts:
        last = int(np.searchsorted(borders, borders[first] + BYTES_AT_ONCE, side="right")) - 1
        last = min(max(last, first + 1), texts)
        yield first, last
        first = last


def _parquet(stream: Any) -> Iterator[tuple[Any, float]]:
    """Record batches, and the share of the rows that has come with each."""
    from pyarrow.parquet import ParquetFile

    table, done = ParquetFile(stream), 0
    chosen = [COLUMN] if COLUMN in table.schema_arrow.names else None  # None: all, of which `_bytes` says what is wrong
    for batch in table.iter_batches(ROWS_AT_ONCE, columns=chosen):
        done += batch.num_rows
        yield batch, done / table.metadata.num_rows


def _arrow(stream: Any, size: int) -> Iterator[tuple[Any, float]]:
    """Record batches of an Arrow stream (or an Arrow file), and the share of the file that has been read."""
    from pyarrow import ArrowInvalid, ipc

    try:
        with ipc.open_stream(stream) as batches:
            for batch in batches:
                yield batch, stream.tell() / size
    except ArrowInvalid:
        stream.seek(0)
        if stream.read(6) != b"ARROW1":
            raise
        whole = ipc.open_file(stream)
        for number in range(whole.num_record_batches):
            yield whole.get_batch(number), (number + 1) / whole.num_record_batches


def _bytes(batch: Any, file: Path) -> tuple[bytes, np.ndarray]:
    import pyarrow
    from pyarrow import compute

    names = batch.schema.names
    if COLUMN not in names:
        raise UserError(f"the table has no column `{COLUMN}`, only {', '.join(names)}", where=file)
    texts = batch.column(COLUMN)
    kinds = pyarrow.types
    if not (kinds.is_string(texts.type) or kinds.is_large_string(texts.type) or kinds.is_string_view(texts.type)):
        raise UserError(f"column `{COLUMN}` holds {texts.type}", where=file, accepted="strings")
    texts = compute.fill_null(texts.cast(pyarrow.large_string()), "")
    _, offsets, data = texts.buffers()
    borders = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    if not len(texts) or data is None:
        return b"", np.zeros(len(texts) + 1, np.int64)
    return bytes(data[borders[0] : borders[-1]]), borders - borders[0]
