"""Weights of the Hugging Face layout, read and checked: each tensor of a file is used, known, or an error. Opens files.

`model.safetensors` is preferred; older folders, most published Chinese models among them, have `pytorch_model.bin`,
a pickle, which is read without running what it may hold.
"""

from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from weixing.errors import UserError
from weixing.formats.huggingface_keys import (
    POOLER_WEIGHT,
    TIED,
    UNUSED,
    AnyModel,
    encoder_of,
    from_hugging_face,
    key_table,
    to_hugging_face,
    with_names_of_today,
)
from weixing.model.encoder import Encoder
from weixing.progress import say

WEIGHTS, OLD_WEIGHTS = "model.safetensors", "pytorch_model.bin"


def read_tensors(folder: Path) -> tuple[Path, dict[str, Tensor]]:
    """The file of weights in `folder` and its tensors, on the CPU, under the names of the key table.

    Raises:
        UserError: there is none, it is damaged, or it holds more than tensors.
    """
    file, old_file = Path(folder) / WEIGHTS, Path(folder) / OLD_WEIGHTS
    if file.is_file():
        try:
            return file, with_names_of_today(safetensors.torch.load_file(file))
        except SafetensorError as error:
            raise UserError(f"these are no safetensors weights, or they are damaged: {error}", where=file) from None
    if not old_file.is_file():
        raise UserError("there are no weights here", where=file, accepted=f"a folder with {WEIGHTS} or {OLD_WEIGHTS}")
    try:
        tensors = torch.load(old_file, map_location="cpu", weights_only=True)
    except Exception:  # whatever a damaged pickle makes the reader stumble over
        tensors = None
    if not isinstance(tensors, dict) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise UserError(
            "this file is damaged, or holds other things than tensors, which might run when they are read",
            where=old_file,
            accepted="a state dict saved by torch.save",
            action=f"Get the model with {WEIGHTS}",
        )
    return old_file, with_names_of_today(tensors)


def has_masked_lm_head(tensors: dict[str, Tensor]) -> bool:
    """Whether a masked-LM head, or a part of one, is among `tensors`."""
    return any(name.startswith("cls.predictions.") for name in tensors)


def fill(model: AnyModel, tensors: dict[str, Tensor], file: Path) -> None:
    """Give `model` (made on the meta device) the `tensors` of `file`. An encoder leaves any head aside, and says so.

    Raises:
        UserError: a tensor is missing, has another shape, or has no place in such a model.
    """
    table = key_table(model)
    expected = to_hugging_face(table, model.state_dict())
    kind = f"{type(model).__name__} of {encoder_of(model).shape.layers} layers"
    for name, tensor in expected.items():
        if name not in tensors:
            raise UserError(
                f"the tensor {name} is missing",
                where=file,
                accepted=f"the weights of a {kind}, as config.json says",
            )
        if tensors[name].shape != tensor.shape:
            raise UserError(
                f"the tensor {name} has the shape {list(tensors[name].shape)}",
                where=file,
                accepted=f"{list(tensor.shape)}, as config.json says",
            )
    left_out = tensors.keys() - expected.keys()
    for copied, original in TIED.items():
        if copied in left_out and original in tensors and torch.equal(tensors[copied], tensors[original]):
            left_out.remove(copied)
    heads = {name for name in left_out if isinstance(model, Encoder) and not name.startswith("bert.")}
    if unknown := sorted(left_out - heads - UNUSED.keys()):
        raise UserError(
            f"{len(unknown)} tensors that a {kind} has no place for: " + ", ".join(unknown[:5]),
            where=file,
            accepted="a BERT model whose decoder is tied to its token embedding",
        )
    _say_what_is_left_out(file, {name: tensors[name] for name in left_out})
    model.load_state_dict(from_hugging_face(table, tensors), assign=True)


def _say_what_is_left_out(file: Path, left_out: dict[str, Tensor]) -> None:
    """One line on stderr, unless nothing was learnt in it: position numbers, or the pooler of our own exports."""
    weight = left_out.get(POOLER_WEIGHT)
    names = (name for name in left_out if not name.endswith("position_ids"))
    learnt = {UNUSED.get(name, name.rpartition(".")[0]) for name in names}
    if weight is not None and torch.equal(weight.float(), torch.eye(len(weight))):
        learnt.discard("pooler")
    if learnt:
        say(f"{file}: not used: {' and '.join(sorted(learnt))}")
