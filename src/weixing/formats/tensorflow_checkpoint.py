"""Checkpoints of TensorFlow 1 (`bert_model.ckpt.index`, `.data-00000-of-00001`), read without TensorFlow. Opens files.

This is TensorFlow's "V2" form, a tensor bundle: a table of variables, which says where in which data file each lies.
TensorFlow alone reads it among kept libraries, and is 600 MB; PyPI's one reader without it was left unfinished in
2021. So this is own code, after tensorflow/core/util/tensor_bundle and tensor_bundle.proto. All that a file says of
lengths and places is held against the size of the files before anything is read, so that a damaged one costs no more
memory than a good one of its size; every variable's checksum is verified.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from weixing.errors import UserError
from weixing.formats.tensorflow_table import Damaged, masked_crc32c, message_fields, table_entries
from weixing.progress import say

FORM = "a TensorFlow checkpoint in its V2 form: NAME.index beside NAME.data-00000-of-00001"
_ENDING = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")
_LARGEST_INDEX = 4_000_000  # bytes; that of a BERT of 24 layers with its optimizer has 0.1 million
_OF_TENSORFLOW_2 = "/.ATTRIBUTES/VARIABLE_VALUE"

# Numbers of tensorflow/core/framework/types.proto: how numpy reads it, and what it is.
_DTYPES = {
    1: ("<f4", torch.float32),
    2: ("<f8", torch.float64),
    3: ("<i4", torch.int32),
    9: ("<i8", torch.int64),
    14: ("<i2", torch.bfloat16),
    19: ("<f2", torch.float16),
}


@dataclass(frozen=True)
class _Entry:
    """One variable: what it is and where it lies."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int
    in_parts: bool


def find_checkpoint(path: Path) -> Path | None:
    """The common beginning of a checkpoint's files (`…/bert_model.ckpt`); None where there is no checkpoint.

    Args:
        path: that beginning itself, one of the files, or a folder that holds one checkpoint.

    Raises:
        UserError: the folder holds several.
    """
    path = Path(path)
    if path.is_dir():
        found = sorted(path.glob("*.index"))
        if len(found) > 1:
            raise UserError(
                f"there are {len(found)} checkpoints here: {', '.join(file.stem for file in found[:5])}",
                where=path,
                action=f"Name one of them, such as {path / found[0].stem}",
            )
        return found[0].with_suffix("") if found else None
    prefix = path.with_name(_ENDING.sub("", path.name))
    return prefix if _index(prefix).is_file() else None


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Every numeric variable of a checkpoint under its own name, optimizer state included, in its own precision.

    Variables that hold no numbers a tensor can have here (text, say) are left out, which is said on stderr.

    Args:
        path: as in `find_checkpoint`.

    Raises:
        UserError: there is no checkpoint; a file is missing or damaged; variables are stored in parts; it is of
            TensorFlow 2's object-based kind.
    """
    prefix = find_checkpoint(path)
    if prefix is None:
        raise UserError("there is no TensorFlow checkpoint here", where=path, accepted=FORM)
    index = _index(prefix)
    try:
        if index.stat().st_size > _LARGEST_INDEX:
            raise Damaged(f"an index of more than {_LARGEST_INDEX:,} bytes")
        shards, entries = _read_index(index.read_bytes())
    except Damaged as damage:
        raise UserError(f"this is no index of a checkpoint, or it is damaged: {damage}", where=index) from None
    if in_parts := sorted(name for name, entry in entries.items() if entry.in_parts):
        raise UserError(
            f"variables are stored in parts (partitioned): {', '.join(in_parts[:5])}",
            where=index,
            accepted="a checkpoint with every variable in one piece",
            action="Save it again from TensorFlow without a partitioner",
        )
    if any(name.endswith(_OF_TENSORFLOW_2) for name in entries):
        raise UserError(
            "this checkpoint is of TensorFlow 2's object-based kind",
            where=index,
            accepted="one with variables named as google-research/bert names them, written by tf.train.Saver",
        )
    numeric = {name: entry for name, entry in entries.items() if entry.dtype in _DTYPES}
    if others := sorted(entries.keys() - numeric.keys()):
        say(f"{index}: not used, as they hold no numbers: {', '.join(others[:5])}{' …' * (len(others) > 5)}")
    files = _data_files(prefix, shards, numeric)
    return {name: _read_variable(files[entry.shard], name, entry) for name, entry in numeric.items()}


def _index(prefix: Path) -> Path:
    return prefix.with_name(prefix.name + ".index")


def _read_index(data: bytes) -> tuple[int, dict[str, _Entry]]:
    """The number of data files, and the variables."""
    shards, entries = 0, {}
    for key, value in table_entries(data):
        if key == b"":
            shards = _read_header(value)
        elif key[0] != 0:  # else a part of a variable, whose own entry says that it is in parts
            try:
                name = key.decode("utf-8")
            except UnicodeDecodeError:
                raise Damaged(f"a variable's name is not UTF-8: {key[:40]!r}") from None
            entries[name] = _read_entry(name, value)
    if not 1 <= shards <= 99_999:
        raise Damaged(f"it says that there are {shards} data files")
    return shards, entries


def _read_header(data: bytes) -> int:
    """The number of data files, from a BundleHeaderProto."""
    fields = dict(message_fields(data))
    shards, big_endian = fields.get(1, 0), fields.get(2, 0)
    if big_endian != 0:
        raise Damaged("its numbers are big-endian")
    if not isinstance(shards, int):
        raise Damaged("it does not say how many data files there are")
    return shards


def _read_entry(name: str, data: bytes) -> _Entry:
    """A BundleEntryProto."""
    shape: tuple[int, ...] = ()
    in_parts = False
    numbers = dict.fromkeys(range(1, 7), 0)  # a field that is 0 is not written
    for field, value in message_fields(data):
        if field == 2 and isinstance(value, bytes):
            shape = tuple(_read_dimension(name, part) for number, part in message_fields(value) if number == 2)
        elif field == 7:
            in_parts = True
        elif field in numbers and isinstance(value, int):
            numbers[field] = value
    return _Entry(numbers[1], shape, numbers[3], numbers[4], numbers[5], numbers[6], in_parts)


def _read_dimension(name: str, data: int | bytes) -> int:
    """One Dim of a TensorShapeProto."""
    size = dict(message_fields(data)).get(1, 0) if isinstance(data, bytes) else 0
    if not isinstance(size, int) or size < 1 or size >> 63:
        raise Damaged(f"the variable {name} has an empty or unknown dimension")
    return size


def _data_files(prefix: Path, shards: int, entries: Mapping[str, _Entry]) -> dict[int, Path]:
    """The data files that hold `entries`: all there, and long enough for variables that do not overlap."""
    files: dict[int, Path] = {}
    end, last = 0, -1
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].shard, item[1].offset)):
        if entry.shard != last:
            if entry.shard >= shards:
                raise UserError(
                    f"{name} lies in data file {entry.shard}, of {shards}, so this is damaged", where=_index(prefix)
                )
            file = prefix.with_name(f"{prefix.name}.data-{entry.shard:05}-of-{shards:05}")
            if not file.is_file():
                raise UserError("this part of the checkpoint is missing", where=file, accepted=FORM)
            files[entry.shard], end, last, length = file, 0, entry.shard, file.stat().st_size
        item_size = np.dtype(_DTYPES[entry.dtype][0]).itemsize
        if len(entry.shape) > 8 or entry.size != math.prod(entry.shape) * item_size or entry.offset < end:
            raise UserError(
                f"size, shape and place of the variable {name} do not agree, so this is damaged", where=_index(prefix)
            )
        end = entry.offset + entry.size
        if end > length:
            raise UserError(
                f"this file of {length:,} bytes is cut short: the variable {name} ends at {end:,}",
                where=file,
                action="Copy or download it again",
            )
    return files


def _read_variable(file: Path, name: str, entry: _Entry) -> Tensor:
    """The variable as a tensor, its checksum verified."""
    numpy_dtype, dtype = _DTYPES[entry.dtype]
    array = np.fromfile(file, numpy_dtype, math.prod(entry.shape), offset=entry.offset)
    if array.nbytes != entry.size or masked_crc32c(array) != entry.crc:
        raise UserError(
            f"the checksum of the variable {name} is wrong: the file is damaged, or of another checkpoint",
            where=file,
            action="Copy or download it again",
        )
    return torch.from_numpy(array.reshape(entry.shape)).view(dtype)
