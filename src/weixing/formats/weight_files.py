"""Files of weights: safetensors and torch's pickles, whole or in shards. Opens files, runs nothing that is in them.

Pickles are read by torch's own restricted reader, which knows tensors and containers and calls nothing else. A name of
a shard is that of a file beside the index, and nothing further away.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from weixing.errors import UserError
from weixing.files import read_json

WEIGHTS, WEIGHTS_INDEX = "model.safetensors", "model.safetensors.index.json"
# transformers 4's TensorFlow models take model.safetensors before tf_model.h5, and then fail: beside one it has this
# name, which config.json tells PyTorch's (its field transformers_weights).
WEIGHTS_BESIDE_H5 = "pytorch_model.safetensors"
OLD_WEIGHTS, OLD_WEIGHTS_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
# The first that is there is read.
IN_ORDER = (WEIGHTS, WEIGHTS_INDEX, WEIGHTS_BESIDE_H5, OLD_WEIGHTS, OLD_WEIGHTS_INDEX)


def read_safetensors(file: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file, on the CPU.

    Raises:
        UserError: the file is none, or damaged.
    """
    try:
        return safetensors.torch.load_file(file)
    except SafetensorError as error:
        raise UserError(f"these are no safetensors weights, or they are damaged: {error}", where=file) from None


def read_pickle(file: Path) -> dict[str, Tensor]:
    """Tensors of a state dict that torch saved, on the CPU, wherever it was saved.

    Raises:
        UserError: the file is none, damaged, or holds more than tensors.
    """
    with open(file, "rb") as stream:  # what goes wrong from here on is the content's fault
        try:
            tensors = torch.load(stream, map_location="cpu", weights_only=True)
            if isinstance(tensors, Mapping):
                # What a damaged file may claim of a tensor shows when its numbers are looked at.
                tensors = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
        except Exception:  # whatever a damaged pickle makes the reader stumble over
            tensors = None
    if not isinstance(tensors, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) and tensor.layout == torch.strided
        for name, tensor in tensors.items()
    ):
        raise UserError(
            "this file is damaged, or holds other things than tensors, which might run when they are read",
            where=file,
            accepted="a state dict saved by torch.save",
            action=f"Get the model with {WEIGHTS}, or save its state_dict() alone",
        )
    return tensors


def read_shards(index: Path) -> dict[str, Tensor]:
    """Tensors of several files, by an index ``{"weight_map": {name: file}}`` beside them.

    Raises:
        UserError: the index or one of its files is wrong, or a file lacks a tensor that the index says is there.
    """
    weight_map = shard_names(index)
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(weight_map.values())):
        file = index.parent / name
        if not file.is_file():
            raise UserError("this shard is missing", where=file, action=f"{index.name} names it: get it as well")
        tensors |= read_safetensors(file) if name.endswith(".safetensors") else read_pickle(file)
    if lacking := weight_map.keys() - tensors.keys():
        raise UserError(f"no shard holds {', '.join(sorted(lacking)[:5])}", where=index)
    return tensors


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
