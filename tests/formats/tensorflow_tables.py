"""Writes what TensorFlow writes, tables and entries of checkpoints; or wrong ones on purpose, but rightly signed."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from weixing.formats.tensorflow_table import TABLE_MAGIC, masked_crc32c


def varint(value: int) -> bytes:
    pieces = []
    while value >= 0x80:
        pieces.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*pieces, value])


def field(number: int, value: int | bytes) -> bytes:
    """A field of a protocol buffer: an int as varint, but number 6 (the CRC) as fixed32; or bytes."""
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    if number == 6:
        return varint(number << 3 | 5) + value.to_bytes(4, "little")
    return varint(number << 3) + varint(value)


def entry(array: np.ndarray, offset: int, *, dtype: int = 1, shard: int = 0, **changed: int | bytes) -> bytes:
    """A BundleEntryProto; `changed` takes the place of any of its fields: f1, f2 and so on."""
    shape = b"".join(field(2, field(1, size)) for size in array.shape)
    fields = {"f1": dtype, "f2": shape, "f3": shard, "f4": offset, "f5": array.nbytes, "f6": masked_crc32c(array)}
    return b"".join(field(int(key[1:]), value) for key, value in (fields | changed).items())


def block(entries: Sequence[tuple[bytes, bytes]], restart_every: int = 16) -> bytes:
    """Entries, each key without what it shares with the one before; and its table of contents."""
    data, restarts, last = b"", [], b""
    for number, (key, value) in enumerate(entries):
        shared = 0
        if number % restart_every == 0:
            restarts.append(len(data))
        else:
            while shared < min(len(key), len(last)) and key[shared] == last[shared]:
                shared += 1
        data += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    restarts = restarts or [0]
    return data + b"".join(place.to_bytes(4, "little") for place in [*restarts, len(restarts)])


def table(blocks: Iterable[bytes], compression: int = 0) -> bytes:
    """A table file of whole blocks."""
    data, handles = b"", []

    def add(content: bytes) -> bytes:
        nonlocal data
        handle = varint(len(data)) + varint(len(content))
        signed = content + bytes([compression])
        crc = masked_crc32c(np.frombuffer(bytearray(signed), np.uint8))
        data += signed + crc.to_bytes(4, "little")
        return handle

    for content in blocks:
        handles.append((b"key", add(content)))
    meta, index = add(block([])), add(block(handles, restart_every=1))
    return data + (meta + index).ljust(40, b"\0") + TABLE_MAGIC.to_bytes(8, "little")


HEADER = (b"", field(1, 1) + field(3, b"\x08\x01"))


def write_checkpoint(prefix: Path, arrays: dict[str, np.ndarray], block_size: int = 20) -> None:
    """float32 variables as `tf.train.Saver` writes them."""
    entries, data = [HEADER], b""
    for name in sorted(arrays, key=str.encode):
        entries.append((name.encode(), entry(arrays[name], len(data))))
        data += arrays[name].tobytes()
    pieces = (entries[start : start + block_size] for start in range(0, len(entries), block_size))
    prefix.with_name(prefix.name + ".index").write_bytes(table(block(piece) for piece in pieces))
    prefix.with_name(prefix.name + ".data-00000-of-00001").write_bytes(data)
