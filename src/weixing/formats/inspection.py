"""What a model file is, also one that cannot be used. Opens files; runs nothing that is in them."""

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from weixing.errors import UserError
from weixing.files import read_json
from weixing.formats.bert import Part
from weixing.formats.huggingface_description import FOLDED, shape_of_config
from weixing.formats.huggingface_keys import POSITIONS, TIED, is_norm_weight, key_table
from weixing.formats.reading import NAMES, Found, find_model, tensors_of
from weixing.formats.tensors import Tensors
from weixing.formats.uer import check, heads_in
from weixing.text.vocabulary import Vocabulary
from weixing.zoo import Shape

MOST = 0.5  # share of LayerNorm weights still at a value that tells


@dataclass(frozen=True)
class Inspection:
    """What was found.

    Attributes:
        format: its name.
        where: the weights.
        shape: None where the tensors do not tell.
        parts: that are there besides the encoder.
        vocabulary: a vocab.txt beside it: its file and size; None: there is none.
        tensors: how many there are by type of number, ``{"float32": 43}``.
        parameters: numbers in the tensors that a model of this shape takes.
        missing, unknown: names of tensors, as the file has them.
        left_aside: tensors that carry nothing, or belong to no model, by name with what they are.
        heads_assumed: whether nothing says how many heads there are, and 64 units each were assumed.
        layer_norms: whether they look folded (`weixing.formats.uer`).
        problems: what keeps the model from being read.
    """

    format: str
    where: Path
    shape: Shape | None
    parts: list[Part]
    vocabulary: tuple[Path, int] | None
    tensors: dict[str, int]
    parameters: int
    missing: list[str]
    unknown: list[str]
    left_aside: dict[str, str]
    heads_assumed: bool
    layer_norms: str
    problems: list[str]


def inspect(name: str, config: Path | None = None) -> Inspection:
    """What the model called `name` is.

    Args:
        name: as in `reading.find_model`.
        config: as in `reading.read_model`.

    Raises:
        UserError: there is no such model, or its weights cannot be read at all.
    """
    found = find_model(name)
    tensors = tensors_of(found)
    config = config or found.config
    problems: list[str] = []
    shape: Shape | None = None
    left_aside = tensors.left_aside
    try:
        if config is not None and found.format in ("hf", "h5"):
            tensors = tensors.described_by(read_json(config, "a model configuration"))
        shape = _shape(found, tensors, config)
        if found.format == "uer" and config is not None:
            check(config, shape, tensors.where)
        _, left_aside = tensors.bert(shape, told_by=config.name if config else "its other tensors")
    except UserError as error:
        problems.append(str(error))
    vocabulary = None
    if found.vocabulary:
        try:
            vocabulary = found.vocabulary, len(Vocabulary.read(found.vocabulary))
        except UserError as error:
            problems.append(str(error))
    if vocabulary and shape and vocabulary[1] != shape.vocabulary_size:
        problems.append(f"{vocabulary[0]}: {vocabulary[1]} tokens for a model of {shape.vocabulary_size}")
    each = {id(tensor): tensor for tensor in tensors.named.values()}  # one may have two names
    expected = [name for names in key_table(tensors.layers, tensors.parts).values() for name in names]
    known = {*expected, *TIED, POSITIONS}
    return Inspection(
        NAMES[found.format],
        tensors.where,
        shape,
        tensors.parts,
        vocabulary,
        dict(Counter(str(tensor.dtype).removeprefix("torch.") for tensor in each.values())),
        sum(tensors.named[name].numel() for name in expected if name in tensors.named),
        [tensors.own_name(name) for name in expected if name not in tensors.named],
        sorted(name for name in tensors.named if name not in known and not name.startswith("bert.pooler.")),
        left_aside,
        config is None,
        _layer_norms(found, tensors, config),
        problems,
    )


def _shape(found: Found, tensors: Tensors, config: Path | None) -> Shape:
    if config is None:
        return tensors.shape()
    if found.format == "uer":
        return tensors.shape(heads_in(config))
    return shape_of_config(read_json(config, "a model configuration"), config)


def _layer_norms(found: Found, tensors: Tensors, config: Path | None) -> str:
    """UER's weights are 1 in the beginning, folded ones sqrt((H-1)/H); training moves both, and then none can tell."""
    weights = [
        tensor.flatten().float()
        for name, tensor in tensors.named.items()
        if is_norm_weight(name) and not tensor.is_complex()
    ]
    if found.format == "uer":
        return "as UER-py computes them, with the unbiased deviation; conversion folds them"
    if found.format == "hf" and config is not None:
        content: Any = read_json(config, "a model configuration")
        if isinstance(content, dict) and FOLDED in content:
            return "folded, as its configuration says" if content[FOLDED] is True else "not folded, as it says"
    if not weights or not len(weights[0]):
        return "there are none"
    numbers = torch.cat(weights)
    hidden = len(weights[0])
    mean = float(numbers.mean())
    for value, verdict in ((1.0, "not folded"), (math.sqrt((hidden - 1) / hidden), "folded")):
        if float((numbers - value).abs().lt(1e-7).float().mean()) > MOST:
            return f"{verdict}: most weights are {value:.6g}, as in the beginning"
    return f"trained, and nothing says whether folded (mean weight {mean:.4f})"


def summary(found: Inspection) -> dict[str, Any]:
    """As ``--json`` prints it."""
    shape = found.shape
    return {
        "format": found.format,
        "where": str(found.where),
        "shape": shape.name if shape else None,
        "layers": shape.layers if shape else None,
        "hidden": shape.hidden if shape else None,
        "heads": shape.heads if shape else None,
        "heads_assumed": found.heads_assumed,
        "feed_forward": shape.feed_forward if shape else None,
        "positions": shape.positions if shape else None,
        "token_types": shape.token_types if shape else None,
        "vocabulary_size": shape.vocabulary_size if shape else None,
        "vocabulary": str(found.vocabulary[0]) if found.vocabulary else None,
        "parts": found.parts,
        "parameters": found.parameters,
        "tensors": found.tensors,
        "missing": found.missing,
        "unknown": found.unknown,
        "left_aside": found.left_aside,
        "layer_norms": found.layer_norms,
        "problems": found.problems,
    }
