"""Decompression: the bytes of a plain, .gz, .zst or .xz file, piece by piece. Opens the file it is given, to read.

The libraries hold no Python lock while they decompress, so a thread that reads one file does not stop the others.
"""

import gzip
import lzma
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

from weixing.errors import UserError
from weixing.storage import is_remote, reaching

_ZSTANDARD_BYTES = 1 << 13  # compressed: what comes of them at once may be a hundred times as much


def pieces(file: Path, size: int) -> Iterator[tuple[bytes, int]]:
    """The decompressed bytes of a file piece by piece, each with how many bytes have been read from disk.

    Args:
        file: its name says how it is compressed.
        size: of a piece, about. Not empty.

    Raises:
        UserError: it cannot be opened or read, or its compressed data is damaged; with the byte that reading came to.
    """
    try:
        with reaching(file):
            disk = file.open("rb")
    except OSError as error:
        raise UserError(f"cannot read the corpus file: {error.strerror}", where=file) from None
    with disk, reaching(file):
        try:
            for piece in _decompressed(disk, file, size):
                yield piece, disk.tell()
        except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
            raise UserError(
                f"the compressed file is damaged or cut short, at byte {disk.tell():,} or before it ({error})",
                where=file,
                action="Copy it again",
            ) from None
        except OSError as error:  # the disk itself
            if is_remote(file):
                raise
            raise UserError(
                f"it cannot be read beyond byte {disk.tell():,}: {error.strerror or error}", where=file
            ) from None


def _decompressed(disk: IO[bytes], file: Path, size: int) -> Iterator[bytes]:
    stream: Any = disk
    match file.suffix.lower():
        case ".zst":
            return _zstandard_pieces(disk)
        case ".gz":
            stream = gzip.GzipFile(fileobj=disk)
        case ".xz":
            stream = lzma.LZMAFile(disk)  # noqa: SIM115  `disk` is what has to be closed
    return iter(partial(stream.read, size), b"")


def _zstandard_pieces(disk: IO[bytes]) -> Iterator[bytes]:
    """Decompressed bytes of Zstandard frames. (The library's own stream reader takes a cut file for a whole one.)

    Raises:
        EOFError: damaged data, or a frame that does not end.
    """
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 31)
    frame = None
    try:
        while compressed := disk.read(_ZSTANDARD_BYTES):
            while compressed:
                frame = frame or decompressor.decompressobj()
                if piece := frame.decompress(compressed):
                    yield piece
                compressed = b""
                if frame.eof:
                    compressed, frame = frame.unused_data, None
    except zstandard.ZstdError as error:
        raise EOFError(error) from None
    if frame:
        raise EOFError("the last frame does not end")
