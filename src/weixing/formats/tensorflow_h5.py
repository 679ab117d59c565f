"""`tf_model.h5`, the weights of transformers' TensorFlow models, written and read without TensorFlow. Opens files.

The layout is Keras 2's: a group for each layer of the model, whose attribute `weight_names` lists what is in it. Needs
h5py (the extra `tf`).
"""

import importlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from weixing.errors import UserError
from weixing.files import atomic_file
from weixing.formats.huggingface_keys import all_names
from weixing.formats.tensorflow_names import h5_name, is_transposed_in_h5

H5_WEIGHTS = "tf_model.h5"
_MODEL = "tf_bert_for_pre_training"  # the first part of every weight's name, whatever it be: readers pass over it
_MASKED_LM_LAYER = "mlm___cls"
_LARGEST_ATTRIBUTE = 64_000  # bytes; HDF5 itself stops at 64 KiB


def write_h5(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors under their Hugging Face names to a file that transformers 4's TFBert models load, in float32.

    Raises:
        UserError: h5py is not installed.
    """
    layers: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().float()
        weight = h5_name(name)
        layers.setdefault(weight.split("/")[0], {})[weight] = tensor.T if is_transposed_in_h5(name) else tensor
    h5py = _h5py()
    with atomic_file(path) as beside, h5py.File(beside, "w") as file:
        _write_list(file, "layer_names", sorted(layers))
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.21.0"
        file.create_group("top_level_model_weights").attrs["weight_names"] = np.array([], "S1")
        for layer, weights in sorted(layers.items()):
            group = file.create_group(layer)
            for weight, tensor in weights.items():
                group[f"{_MODEL}/{weight}"] = tensor.numpy()
            names = list(weights)
            if layer == _MASKED_LM_LAYER:
                # In transformers the head owns the embeddings too, and is not complete without: a second name for each.
                shared = [name for name in layers.get("bert", {}) if name.startswith("bert/embeddings/")]
                for name in shared:
                    group[f"{_MODEL}/{name}"] = file[f"bert/{_MODEL}/{name}"]
                names += shared
            _write_list(group, "weight_names", [f"{_MODEL}/{name}" for name in names])


def read_h5(path: Path) -> dict[str, Tensor]:
    """The tensors of a `tf_model.h5` of a TFBert model under their Hugging Face names, in the precision of the file.

    Raises:
        UserError: h5py is not installed; the file is missing or damaged, or holds anything else.
    """
    h5py, path = _h5py(), Path(path)
    if not path.is_file():
        raise UserError("there is no such file", where=path, accepted=f"a {H5_WEIGHTS} of transformers")
    weights: dict[str, Tensor] = {}
    left = path.stat().st_size

    def read(place: str, item: Any) -> None:
        nonlocal left
        if not isinstance(item, h5py.Dataset):
            return
        # Plain storage within the file: what is compressed, elsewhere or not there at all may claim any size.
        if item.dtype.kind != "f" or item.id.get_offset() is None or item.id.get_storage_size() != item.nbytes:
            raise ValueError(f"{place} is not stored as plain floating-point numbers")
        left -= item.nbytes
        if left < 0:
            raise ValueError(f"{place} is longer than the file")
        array = item[()]
        # Keras has layer/model/name, where the name begins with the layer: "bert/tf_bert_model/bert/embeddings/…".
        weights["/".join(place.split("/")[2:])] = torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))

    try:
        with h5py.File(path, "r") as file:
            file.visititems(read)  # each object once, within the file: neither second names nor links
    except Exception as error:  # h5py raises many kinds
        raise UserError(f"these are no HDF5 weights of Keras, or they are damaged: {error}", where=path) from None
    return _under_hugging_face_names(path, weights)


def _under_hugging_face_names(path: Path, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    layers = [
        int(match[1]) for match in (re.match(r"bert/encoder/layer_\._(\d{1,3})/", name) for name in weights) if match
    ]
    theirs = {h5_name(name): name for name in all_names(max(layers, default=-1) + 1)}
    if unknown := sorted(weights.keys() - theirs.keys()):
        raise UserError(
            f"{len(unknown)} weights that no BERT model has: {', '.join(unknown[:5])}",
            where=path,
            accepted=f"a {H5_WEIGHTS} that transformers' TFBert models saved",
        )
    named = {theirs[weight]: tensor for weight, tensor in weights.items()}
    return {name: tensor.T.contiguous() if is_transposed_in_h5(name) else tensor for name, tensor in named.items()}


def _write_list(group: Any, name: str, values: Sequence[str]) -> None:
    """A list of names as Keras 2 stores it: an attribute, or where that is too long several, NAME0, NAME1 and so on."""
    array = np.array([value.encode() for value in values])
    pieces = -(-array.nbytes // _LARGEST_ATTRIBUTE)
    if pieces <= 1:
        group.attrs[name] = array
        return
    for number, piece in enumerate(np.array_split(array, pieces + 1)):  # one more: pieces are not all equally long
        group.attrs[f"{name}{number}"] = piece


def _h5py() -> Any:
    try:
        return importlib.import_module("h5py")
    except ImportError:
        raise UserError(
            f"{H5_WEIGHTS} is written and read by h5py, which is not installed", action="pip install 'weixing[tf]'"
        ) from None
