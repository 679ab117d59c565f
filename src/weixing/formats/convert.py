"""From any format to any other: read, written beside, read back, compared, and only then there. Opens files."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from weixing.errors import UserError
from weixing.files import atomic_folder, require_new
from weixing.formats import uer
from weixing.formats.bert import PARTS, Bert, Part
from weixing.formats.huggingface import CONFIG, FOLDED, finite_weights, read_folder, write_description, write_folder
from weixing.formats.onnx_file import measured_loss, run_onnx, write_onnx
from weixing.formats.reading import NAMES, read_model
from weixing.formats.source import (
    ROUNDING,
    Source,
    at_tokens,
    largest_difference,
    outputs,
    probe,
    require_vocabulary,
)
from weixing.formats.tensorflow import h5_tensors_of, read_tensorflow, write_tensorflow_h5
from weixing.formats.tensorflow_h5 import H5_WEIGHTS
from weixing.formats.tensors import NOT_LEARNT
from weixing.formats.weight_files import WEIGHTS, WEIGHTS_BESIDE_H5
from weixing.text.vocabulary import Vocabulary

Target = Literal["hf", "uer", "tf", "keras", "onnx"]
Head = Literal["features", "fill-mask", "classify"]
ONNX_WEIGHTS = "model.onnx"
_PART_OF: dict[Head, Part] = {"fill-mask": "head", "classify": "classifier"}


@dataclass(frozen=True)
class Options:
    """How to convert.

    Attributes:
        dtype: that the weights are stored in, for ``hf``; None: as they are.
        head: of ``onnx``; None: the one that the model has.
        precision: of ``onnx``, ``fp32`` or ``int8``.
        as_published: take UER's LayerNorms as they stand, as its own converter does, from or to ``uer``.
        labels: names of a classifier's outputs; None: those that it has.
        tolerance: largest accepted difference of any output, as a share of the largest one.
    """

    dtype: torch.dtype | None = None
    head: Head | None = None
    precision: Literal["fp32", "int8"] = "fp32"
    as_published: bool = False
    labels: Sequence[str] | None = None
    tolerance: float = ROUNDING


@dataclass(frozen=True)
class Converted:
    """What was done.

    Attributes:
        source: as it was read.
        dtype: that the weights are stored in now.
        largest_difference: of any output of the result from the source's, each as its own framework computes it.
        left_out: what was learnt and has no place in the result, by its name, with what it is.
        quality: of int8 beside float32; empty otherwise.
    """

    source: Source
    dtype: str
    largest_difference: float
    left_out: dict[str, str]
    quality: dict[str, float]


def convert(
    name: str,
    folder: Path,
    to: Target,
    *,
    config: Path | None = None,
    vocabulary: Vocabulary | None = None,
    options: Options | None = None,
    overwrite: bool = False,
) -> Converted:
    """Convert the model called `name` into a new folder.

    Args:
        name, config, vocabulary: as in `reading.read_model`.
        folder: that appears, whole or not at all.
        to: its format.
        options: see there.
        overwrite: whether `folder` may be replaced.

    Raises:
        UserError: the source cannot be read, the options do not fit, `folder` exists, or the result answers
            differently.
    """
    options = options or Options()
    require_new(folder, overwrite)
    source = read_model(name, config=config, vocabulary=vocabulary, as_published=options.as_published)
    bert = source.bert
    _check(source, to, options)
    dtype = options.dtype or (source.dtype if to == "hf" else torch.float32)
    finite_weights(bert, dtype)
    with atomic_folder(folder, overwrite=overwrite) as beside:
        left_out = {name: what for name, what in source.left_aside.items() if what not in NOT_LEARNT}
        if to == "onnx":
            difference, quality = _to_onnx(source, beside, options)
            head = options.head or _head(bert)
            kept = {"pooler"} if head == "classify" or (head == "features" and bert.pooler is not None) else set()
            kept |= {_PART_OF[head]} if head in _PART_OF else set()
            left_out |= {part: PARTS[part] for part in bert.parts if part not in kept}
        else:
            difference, quality = _to_weights(source, beside, to, dtype, options), {}
            if to == "uer" and bert.parts in (["pooler"], ["head", "pooler"]):
                left_out["bert.pooler.dense"] = "pooler"
    return Converted(source, str(dtype).removeprefix("torch."), difference, left_out, quality)


def _check(source: Source, to: Target, options: Options) -> None:
    """Raise UserError where options do not fit the model or the format."""
    if to != "hf" and options.dtype not in (None, torch.float32):
        raise UserError(f"--dtype for --to {to}", accepted="--to hf; the other formats hold float32")
    if to != "onnx" and (options.head or options.precision != "fp32"):
        raise UserError(f"--head or --precision for --to {to}", accepted="--to onnx")
    if options.labels is not None and source.bert.classifier is None:
        raise UserError("--labels for a model without a classifier", where=source.where)
    if options.as_published and to != "uer" and source.original is None:
        raise UserError("--as-published", accepted="a checkpoint of UER-py as the source or the result")
    if to == "keras" and source.bert.shape.token_types != 2:
        kinds = source.bert.shape.token_types
        raise UserError(f"--to keras for a model of {kinds} token types", where=source.where, accepted="2, always")
    if options.head in _PART_OF and _PART_OF[options.head] not in source.bert.parts:
        has = ", ".join(PARTS[part] for part in source.bert.parts) or "no head"
        raise UserError(f"--head {options.head} for a model with {has}", where=source.where, accepted="features")


def _to_weights(source: Source, folder: Path, to: Target, dtype: torch.dtype, options: Options) -> float:
    """Write and read back a format that holds weights; the largest difference of the outputs."""
    bert, vocabulary = source.bert, require_vocabulary(source.vocabulary, source.bert.shape, source.where)
    if to == "uer":
        uer.write_uer(bert, vocabulary, folder, as_published=options.as_published)
        config = folder / uer.CONFIG
        back = uer.read_uer(folder / uer.WEIGHTS, config=config, as_published=options.as_published)
    else:
        origin = {FOLDED: not options.as_published} if source.original else {}
        write_folder(
            bert, vocabulary, folder, labels=options.labels or source.labels, dtype=dtype, more_config=origin,
            weights_name=WEIGHTS_BESIDE_H5 if to == "tf" else WEIGHTS,
        )  # fmt: skip
        if to == "tf":
            write_tensorflow_h5(bert, folder / H5_WEIGHTS)
            tensors = h5_tensors_of(folder / H5_WEIGHTS)
            back = read_tensorflow(tensors, NAMES["h5"], config=folder / CONFIG, vocabulary=vocabulary)
        else:
            back = read_folder(folder)
    stored = bert if dtype == torch.float32 else bert.with_weights(_rounded(bert, dtype))
    _require_equal(outputs(stored), outputs(back.bert), options.tolerance)
    theirs, ours = outputs(source.original or bert), outputs(back.original or back.bert)
    if not options.as_published and dtype in (torch.float32, source.dtype):
        _require_equal(theirs, ours, options.tolerance)
    return largest_difference(theirs, ours)


def _to_onnx(source: Source, folder: Path, options: Options) -> tuple[float, dict[str, float]]:
    """The same for ONNX, which is read back by ONNX Runtime; and the quality of int8."""
    bert, vocabulary = source.bert, require_vocabulary(source.vocabulary, source.bert.shape, source.where)
    head = options.head or _head(bert)
    write_description(bert, vocabulary, folder, labels=options.labels or source.labels)
    file, (ids, token_types, attention) = folder / ONNX_WEIGHTS, probe(bert.shape)
    write_onnx(bert, head, file, options.precision)
    names = {"logits": _PART_OF.get(head, ""), "last_hidden_state": "hidden", "pooler_output": "pooler"}
    found = {names[name]: torch.from_numpy(o) for name, o in run_onnx(file, ids, token_types, attention).items()}
    ours = {name: at_tokens(output, attention) for name, output in found.items()}
    theirs = outputs(source.original or bert)
    if options.precision == "int8":
        loss = measured_loss(source.original or bert, head, file, ids, token_types, attention)
        quality = {name: value for name, value in asdict(loss).items() if value is not None}
        return largest_difference(theirs, ours), quality
    _require_equal(outputs(bert), ours, options.tolerance)
    return largest_difference(theirs, ours), {}


def _head(bert: Bert) -> Head:
    return "fill-mask" if bert.head is not None else "classify" if bert.classifier is not None else "features"


def _rounded(bert: Bert, dtype: torch.dtype) -> dict[str, Tensor]:
    return {name: tensor.float() for name, tensor in finite_weights(bert, dtype).items()}


def _require_equal(theirs: dict[str, Tensor], ours: dict[str, Tensor], tolerance: float) -> None:
    """Raise UserError unless all outputs that both have differ by less than `tolerance` as a share of the largest."""
    for name in theirs.keys() & ours.keys():
        most = tolerance * max(1.0, float(theirs[name].abs().max()))
        difference = largest_difference({name: theirs[name]}, {name: ours[name]})
        if not difference <= most:
            raise UserError(
                f"the result answers differently: its outputs ({name}) are up to {difference:.2g} from the source's",
                accepted=f"at most {most:.2g}",
                action="If that is good enough, pass a larger --tolerance; nothing was written",
            )


def summary(done: Converted, to: Target, folder: Path) -> dict[str, Any]:
    """What `convert` did, as `--json` prints it."""
    bert = done.source.bert
    return {
        "from": done.source.format,
        "to": to,
        "shape": bert.shape.name,
        "parts": bert.parts,
        "parameters": sum(p.numel() for p in bert.parameters()),
        "dtype": done.dtype,
        "largest_difference": done.largest_difference,
        "left_out": done.left_out,
        **({"quality": done.quality} if done.quality else {}),
        "output": str(folder),
    }
