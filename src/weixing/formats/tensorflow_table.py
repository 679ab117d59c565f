"""The pieces that a TensorFlow checkpoint is made of: a sorted table, protocol buffers, CRC-32C. Pure: bytes in.

The table is LevelDB's file format (doc/table_format.md there), which tensorflow/core/lib/io/table.cc reads and writes.
Whatever is wrong with the bytes is a `Damaged`; the caller knows the file that they came from.
"""

from collections.abc import Iterator

import numpy as np

from weixing.compiling import compiled

TABLE_MAGIC = 0xDB4775248B80FB57
LONGEST_KEY = 512  # in bytes: keys share beginnings, so a small damaged table could unfold into gigabytes
_FOOTER_BYTES, _HANDLES_BYTES = 48, 40
_TRAILER_BYTES = 5  # after each block: kind of compression, CRC
_MASK_DELTA = 0xA282EAD8


class Damaged(Exception):
    """Bytes that break the format; the message says how."""


def table_entries(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of a table file, in order. Every block's checksum is verified.

    Raises:
        Damaged: the bytes are no such table.
    """
    if len(data) < _FOOTER_BYTES or int.from_bytes(data[-8:], "little") != TABLE_MAGIC:
        raise Damaged("it does not end as a table does (cut short, or another kind of file)")
    footer = data[-_FOOTER_BYTES:][:_HANDLES_BYTES]
    _, at = _handle(footer, 0)  # of an index of filters, which TensorFlow does not write
    index, _ = _handle(footer, at)
    end = 0
    for _, value in _block_entries(_block(data, *index)):
        (offset, size), _ = _handle(value, 0)
        if offset < end:
            raise Damaged(f"the block at {offset} is out of order")
        end = offset + size
        yield from _block_entries(_block(data, offset, size))


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The number of 7 bits a byte, lowest first, at `at`, below 2**64; and where the next thing begins."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise Damaged("a number runs over the end")
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            if value >> 64:
                break
            return value, at
    raise Damaged("a number is longer than 64 bits")


def message_fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field of a protocol buffer: int (varint, fixed32, fixed64), or bytes.

    Raises:
        Damaged: the bytes are no protocol buffer.
    """
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        field, kind = key >> 3, key & 7
        if kind == 0:
            value, at = varint(data, at)
            yield field, value
            continue
        if kind == 2:
            size, at = varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise Damaged(f"a field of the unknown kind {kind}")
        if size > len(data) - at:
            raise Damaged("a field runs over the end")
        piece = data[at : at + size]
        yield field, piece if kind == 2 else int.from_bytes(piece, "little")
        at += size


def masked_crc32c(data: np.ndarray) -> int:
    """The CRC-32C of an array's bytes, rotated and shifted as these files hold it (LevelDB's util/crc32c.h)."""
    crc = int(_crc32c(np.ascontiguousarray(data).reshape(-1).view(np.uint8)))
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    """Offset and size of a block, and where the next thing begins."""
    offset, at = varint(data, at)
    size, at = varint(data, at)
    return (offset, size), at


def _block(data: bytes, offset: int, size: int) -> bytes:
    """A block of the file, whose checksum is right."""
    end = offset + size + _TRAILER_BYTES
    if end > len(data) - _FOOTER_BYTES:
        raise Damaged(f"a block of {size} bytes at {offset} runs over the end")
    checked = bytearray(data[offset : offset + size + 1])
    if masked_crc32c(np.frombuffer(checked, np.uint8)) != int.from_bytes(data[end - 4 : end], "little"):
        raise Damaged(f"the checksum of the block at {offset} is wrong")
    if checked[-1] != 0:
        raise Damaged(f"the block at {offset} is compressed, which TensorFlow does not do")
    return bytes(checked[:-1])


def _block_entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values in a block: each key is the beginning of the one before, and bytes of its own."""
    restarts = int.from_bytes(block[-4:], "little")
    entries = block[: max(0, len(block) - 4 * (restarts + 1))]
    if len(block) < 4 or len(entries) != len(block) - 4 * (restarts + 1):
        raise Damaged("a block is too short for its own table of contents")
    key, at = b"", 0
    while at < len(entries):
        shared, at = varint(entries, at)
        unshared, at = varint(entries, at)
        value_size, at = varint(entries, at)
        middle, end = at + unshared, at + unshared + value_size
        if shared > len(key) or end > len(entries) or shared + unshared > LONGEST_KEY:
            raise Damaged("an entry is longer than it can be")
        key = key[:shared] + entries[at:middle]
        yield key, entries[middle:end]
        at = end


def _crc_tables() -> np.ndarray:
    """uint32 [8, 256]: row k moves a byte over k further bytes (slicing by 8; Castagnoli's polynomial, reversed)."""
    tables = np.empty((8, 256), np.uint32)
    tables[0] = np.arange(256)
    for _ in range(8):
        tables[0] = tables[0] >> 1 ^ (tables[0] & 1) * np.uint32(0x82F63B78)
    for k in range(1, 8):
        tables[k] = tables[0][tables[k - 1] & 0xFF] ^ tables[k - 1] >> 8
    return tables


_TABLES = _crc_tables()


@compiled
def _crc32c(data):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """CRC-32C of a uint8 array, 8 bytes a step."""
    tables = _TABLES
    crc = np.uint32(0xFFFFFFFF)
    whole = len(data) // 8 * 8
    for i in range(0, whole, 8):
        crc = (
            tables[7, data[i] ^ (crc & np.uint32(0xFF))]
            ^ tables[6, data[i + 1] ^ ((crc >> np.uint32(8)) & np.uint32(0xFF))]
            ^ tables[5, data[i + 2] ^ ((crc >> np.uint32(16)) & np.uint32(0xFF))]
            ^ tables[4, data[i + 3] ^ (crc >> np.uint32(24))]
            ^ tables[3, data[i + 4]]
            ^ tables[2, data[i + 5]]
            ^ tables[1, data[i + 6]]
            ^ tables[0, data[i + 7]]
        )
    for i in range(whole, len(data)):
        crc = tables[0, data[i] ^ (crc & np.uint32(0xFF))] ^ (crc >> np.uint32(8))
    return crc ^ np.uint32(0xFFFFFFFF)
