"""Files of weights: safetensors and torch's pickles, whole or in shards. Opens files, runs nothing that is in them.

Pickles are read by torch's own restricted reader, which knows tensors and containers and calls nothing else. It would
believe what a file says of its sizes; here that is held against the file, so that none costs much more memory than it
has bytes. A name of a shard is that of a file beside the index, and nothing further away.
"""

import codecs
import json
import re
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from weixing.errors import UserError
from weixing.files import read_json
from weixing.formats.compact import restored

WEIGHTS, WEIGHTS_INDEX = "model.safetensors", "model.safetensors.index.json"
# transformers 4's TensorFlow models take model.safetensors before tf_model.h5, and then fail: beside one it has this
# name, which config.json tells PyTorch's (its field transformers_weights).
WEIGHTS_BESIDE_H5 = "pytorch_model.safetensors"
OLD_WEIGHTS, OLD_WEIGHTS_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
# The first that is there is read.
IN_ORDER = (WEIGHTS, WEIGHTS_INDEX, WEIGHTS_BESIDE_H5, OLD_WEIGHTS, OLD_WEIGHTS_INDEX)


def read_safetensors(file: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file, on the CPU; those in 8 bits (`weixing.formats.compact`) in float32.

    Raises:
        UserError: the file is none, or damaged.
    """
    try:
        tensors = safetensors.torch.load_file(file)
    except SafetensorError as error:
        raise UserError(f"these are no safetensors weights, or they are damaged: {error}", where=file) from None
    try:
        return restored(tensors)
    except UserError as error:
        raise UserError(error.what, where=file) from None


def read_pickle(file: Path) -> dict[str, Tensor]:
    """Tensors of a state dict that torch saved, on the CPU, wherever it was saved; tied ones share their memory.

    Raises:
        UserError: the file is none, damaged, holds more than tensors, or says that these are larger than the file.
    """
    with open(file, "rb") as stream:  # what goes wrong from here on is the content's fault
        beginning = stream.read(_BEGINNING_BYTES)
    _refuse_other_kinds(file, beginning)
    is_zip = beginning.startswith(b"PK\x03\x04")  # as torch tells it; before 1.6 it saved pickles one after another
    try:
        lengths = _lengths_of_members(file) if is_zip else set()
        # Mapped, a tensor is a piece of the file, so that none can reach beyond it, whatever the pickle says.
        tensors = torch.load(file, map_location="cpu", weights_only=True, mmap=is_zip)
        if is_zip and not {tensor.untyped_storage().nbytes() for tensor in tensors.values()} <= lengths:
            tensors = None
    except UserError:
        raise
    except Exception:  # whatever a damaged pickle makes the reader stumble over
        tensors = None
    if not isinstance(tensors, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) and _is_plain_tensor(tensor)
        for name, tensor in tensors.items()
    ):
        raise UserError(
            "this file is damaged, or holds other things than tensors, which might run when they are read",
            where=file,
            accepted=_ACCEPTED,
            action=f"Get the model with {WEIGHTS}, or save its state_dict() alone",
        )
    if _claim_too_much(tensors.values(), file.stat().st_size):
        raise UserError(
            "its tensors would take far more memory than the file has bytes", where=file, accepted=_ACCEPTED
        )
    return {name: tensor.detach() for name, tensor in tensors.items()}


_ACCEPTED = "a state dict saved by torch.save"
_MOST_SHARED = 32  # how often a number of a file may be used: a model may have one set of weights in all its layers
_BEGINNING_BYTES = 256
# What files of other kinds begin with, where it is certain: what they are, and what to do.
_OTHER_KINDS = (
    (rb"version https://git-lfs", "a pointer of Git LFS, not the file itself", "Get the file: git lfs pull"),
    (
        # Torch's own pickles begin with a long number, others of state dicts with a dictionary.
        rb"\x80[\x02-\x05](\x95.{8})?\]",
        "a pickled list, which data sets of UER-py begin with and weights do not",
        "Make shards of a data set: weixing prepare {file} --from-uer",
    ),
    (
        rb"\x89HDF\r\n\x1a\n",
        "an HDF5 file",
        "Weights of transformers' TensorFlow models are read as tf_model.h5, with their config.json beside them",
    ),
    (rb"\x08[\x01-\x1f][\x12\x1a\x22\x3a\x42]", "an ONNX model", "Name the model that it was made from"),
)


def _refuse_other_kinds(file: Path, beginning: bytes) -> None:
    for pattern, what, action in _OTHER_KINDS:
        if re.match(pattern, beginning, re.DOTALL):
            raise UserError(
                f"this is {what}", where=file, accepted=_ACCEPTED, action=action.replace("{file}", str(file))
            )
    if _is_text(beginning):
        raise UserError("this is a text file", where=file, accepted=_ACCEPTED)


def _is_text(beginning: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(beginning)  # the last character may be cut off
    except UnicodeDecodeError:
        return False
    return bool(text) and all(character.isprintable() or character.isspace() for character in text)


def _lengths_of_members(file: Path) -> set[int]:
    """How many bytes members of torch's zip file have; UserError if compressed, what zipfile raises if damaged."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    is_torchs = any(member.filename.endswith("/data.pkl") for member in members)  # others its reader refuses
    is_stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
    if is_torchs and (not is_stored or sum(member.file_size for member in members) > file.stat().st_size):
        raise UserError("this file is compressed, which torch.save never does", where=file, accepted=_ACCEPTED)
    return {member.file_size for member in members}


def _is_plain_tensor(tensor: Tensor) -> bool:
    """Whether its numbers are here, each in its place."""
    return tensor.device.type == "cpu" and tensor.layout == torch.strided and not tensor.is_quantized


def _claim_too_much(tensors: Collection[Tensor], size: int) -> bool:
    """Whether tensors of a file of `size` bytes use numbers that are not in it, or the same ones too often."""
    storages = {(tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes()) for tensor in tensors}
    return (
        any(tensor.nbytes > tensor.untyped_storage().nbytes() for tensor in tensors)
        or sum(length for _, length in storages) > size
        or sum(tensor.nbytes for tensor in tensors) > _MOST_SHARED * size
    )


def read_shards(index: Path) -> dict[str, Tensor]:
    """Tensors of several files, by an index ``{"weight_map": {name: file}}`` beside them.

    Raises:
        UserError: the index or one of its files is wrong, a file lacks a tensor that the index says is there, or two
            hold different ones of one name.
    """
    weight_map = shard_names(index)
    tensors: dict[str, Tensor] = {}
    holder: dict[str, str] = {}
    for name in sorted(set(weight_map.values())):
        file = index.parent / name
        if not file.is_file():
            raise UserError("this shard is missing", where=file, action=f"{index.name} names it: get it as well")
        its_tensors = read_safetensors(file) if name.endswith(".safetensors") else read_pickle(file)
        for both in tensors.keys() & its_tensors.keys():
            if not _are_same(tensors[both], its_tensors[both]):
                raise UserError(
                    f"the tensor {both} is not the one of this name in {holder[both]}",
                    where=file,
                    accepted="shards that hold each tensor once",
                )
        tensors |= its_tensors
        holder |= dict.fromkeys(its_tensors, name)
    if lacking := weight_map.keys() - tensors.keys():
        raise UserError(f"no shard holds {', '.join(sorted(lacking)[:5])}", where=index)
    return tensors


def _are_same(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors are the same bytes of the same type and shape."""
    if first.dtype != second.dtype or first.shape != second.shape:
        return False
    return torch.equal(first.flatten().view(torch.uint8), second.flatten().view(torch.uint8))


def shard_names(index: Path) -> dict[str, str]:
    """The map of an index from tensors to files, each a plain name."""
    content: Any = read_json(index, "an index of weights")
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict) or not weight_map or not all(_is_plain(name) for name in weight_map.values()):
        raise UserError(
            "this index names no files beside it",
            where=index,
            accepted=json.dumps({"weight_map": {"tensor": "model-00001-of-00002.safetensors"}}),
        )
    return weight_map


def _is_plain(name: object) -> bool:
    return isinstance(name, str) and name not in ("", ".", "..") and Path(name).name == name


def weights_in(folder: Path) -> Path | None:
    """The file in `folder` that its weights are to be read by, or None."""
    return next((folder / name for name in IN_ORDER if (folder / name).is_file()), None)


def read_weights(file: Path) -> dict[str, Tensor]:
    """Tensors of a file of weights of any of these forms, told by its name."""
    if file.name.endswith(".json"):
        return read_shards(file)
    return read_safetensors(file) if file.suffix == ".safetensors" else read_pickle(file)
