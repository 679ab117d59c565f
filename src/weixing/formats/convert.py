"""From any format to any other: read, written beside, read back, compared, and only then there. Opens files."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from weixing.errors import UserError
from weixing.files import atomic_folder, require_new
from weixing.formats import uer
from weixing.formats.bert import PARTS, Bert, Part
from weixing.formats.huggingface import finite_weights, read_folder, write_folder
from weixing.formats.huggingface_description import CONFIG, FOLDED, write_description
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
from weixing.formats.weight_files import WEIGHTS, WEIGHTS_BESIDE_H5
from weixing.text.sample.generator import sample_documents
from weixing.text.tokenizer import Tokenizer
from weixing.text.vocabulary import Vocabulary
from weixing.zoo import Shape

Target = Literal["hf", "uer", "tf", "keras", "onnx"]
Head = Literal["features", "fill-mask", "classify"]
ONNX_WEIGHTS = "model.onnx"
SAMPLE_TEXTS, SAMPLE_TOKENS = 32, 64  # that int8 is measured on
LEAST_COSINE = 0.9  # trained models have 0.99 and more; less means that something is wrong
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
        largest_difference: of any output of the result, read back here, from the source's, as UER-py computes it if
            it comes from there; of ONNX as ONNX Runtime computes it.
        left_out: parts that have no place in the result, with why.
        quality: of int8 beside float32, on sentences of the sample corpus; empty otherwise.
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
    if Path(name).exists() and Path(name).resolve().is_relative_to(Path(folder).resolve()):
        raise UserError("the source lies in the folder that would be replaced", where=folder, action="Name another one")
    source = read_model(name, config=config, vocabulary=vocabulary, as_published=options.as_published)
    bert = source.bert
    _check(source, to, options)
    # Folded LayerNorms in half precision would be rounded anew: as they are stored, they are not.
    keep = to == "hf" and (source.original is None or options.as_published)
    dtype = options.dtype or (source.dtype if keep else torch.float32)
    finite_weights(bert, dtype)
    kept = _kept_parts(bert, to, options)
    with atomic_folder(folder, overwrite=overwrite) as beside:
        if to == "onnx":
            difference, quality = _to_onnx(source, beside, options)
        else:
            difference, quality = _to_weights(source, beside, to, dtype, options, kept), {}
    left_out = {PARTS[part]: "has no place there" for part in bert.parts if part not in kept}
    stored = options.precision if options.precision == "int8" else str(dtype).removeprefix("torch.")
    return Converted(source, stored, difference, left_out, quality)


def _kept_parts(bert: Bert, to: Target, options: Options) -> list[Part]:
    """The parts of a model that the result has a place for."""
    if to == "uer" and not {"next_sentence", "classifier"} & set(bert.parts):
        return [part for part in bert.parts if part != "pooler"]
    if to == "onnx":
        head = options.head or _head(bert)
        wanted = {"features": ("pooler",), "fill-mask": ("head",), "classify": ("pooler", "classifier")}[head]
        return [part for part in bert.parts if part in wanted]
    return bert.parts


def _check(source: Source, to: Target, options: Options) -> None:
    """Raise UserError where options do not fit the model or the format."""
    if to != "hf" and options.dtype not in (None, torch.float32):
        raise UserError(f"--dtype for --to {to}", accepted="--to hf; the other formats hold float32")
    if to != "onnx" and (options.head or options.precision != "fp32"):
        raise UserError(f"--head or --precision for --to {to}", accepted="--to onnx")
    if options.labels is not None:
        count = source.bert.labels
        if not count:
            raise UserError("--labels for a model without a classifier", where=source.where)
        if len(options.labels) != count or len(set(options.labels)) != count:
            raise UserError(f"labels {list(options.labels)}", where="--labels", accepted=f"{count} names, each once")
    if options.as_published and to != "uer" and source.original is None:
        raise UserError("--as-published", accepted="a checkpoint of UER-py as the source or the result")
    if to in ("keras", "uer") and source.bert.shape.token_types != 2:
        kinds = source.bert.shape.token_types
        raise UserError(f"--to {to} for a model of {kinds} token types", where=source.where, accepted="2, always")
    if to == "uer" and source.bert.token_classifier is not None:
        raise UserError("--to uer for a classifier of tokens", where=source.where, accepted="hf, tf, keras")
    if options.as_published and to == "uer" and source.folded and source.original is None:
        raise UserError(
            "--as-published for a model whose LayerNorms were folded when it came from UER-py",
            where=source.where,
            action="Leave --as-published out",
        )
    if options.head in _PART_OF and _PART_OF[options.head] not in source.bert.parts:
        has = ", ".join(PARTS[part] for part in source.bert.parts) or "no head"
        raise UserError(f"--head {options.head} for a model with {has}", where=source.where, accepted="features")


def _to_weights(
    source: Source, folder: Path, to: Target, dtype: torch.dtype, options: Options, parts: list[Part]
) -> float:
    """Write and read back a format that holds weights, and those `parts`; the largest difference of the outputs."""
    bert, vocabulary = source.bert, require_vocabulary(source.vocabulary, source.bert.shape, source.where)
    if to == "uer":
        labels = options.labels or source.labels
        uer.write_uer(bert, vocabulary, folder, as_published=options.as_published, labels=labels)
        config = folder / uer.CONFIG
        back = uer.read_uer(folder / uer.WEIGHTS, config=config, as_published=options.as_published)
    else:
        write_folder(
            bert, vocabulary, folder, labels=options.labels or source.labels, dtype=dtype,
            more_config=_origin(source), lower_case=source.lower_case,
            weights_name=WEIGHTS_BESIDE_H5 if to == "tf" else WEIGHTS,
        )  # fmt: skip
        if to == "tf":
            write_tensorflow_h5(bert, folder / H5_WEIGHTS)
            tensors = h5_tensors_of(folder / H5_WEIGHTS)
            back = read_tensorflow(tensors, NAMES["h5"], config=folder / CONFIG, vocabulary=vocabulary)
        else:
            back = read_folder(folder)
    if back.bert.parts != parts:
        raise RuntimeError(f"of the parts {parts} these were read back: {back.bert.parts}")
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
    write_description(
        bert, vocabulary, folder, labels=options.labels or source.labels,
        more_config=_origin(source), lower_case=source.lower_case,
    )  # fmt: skip
    file, (ids, token_types, attention) = folder / ONNX_WEIGHTS, probe(bert.shape)
    write_onnx(bert, head, file, options.precision)
    names = {"logits": _PART_OF.get(head, ""), "last_hidden_state": "hidden", "pooler_output": "pooler"}
    found = {names[name]: torch.from_numpy(o) for name, o in run_onnx(file, ids, token_types, attention).items()}
    ours = {name: at_tokens(output, attention) for name, output in found.items()}
    theirs = outputs(source.original or bert)
    if options.precision == "int8":
        loss = measured_loss(source.original or bert, head, file, *_sample(vocabulary, bert.shape))
        quality = {name: value for name, value in asdict(loss).items() if value is not None}
        if not loss.smallest_cosine >= LEAST_COSINE:
            raise UserError(
                f"int8 changes too much: the cosine to float32 falls to {loss.smallest_cosine:.3f} on sample sentences",
                accepted=f"at least {LEAST_COSINE}",
                action="Use --precision fp32; nothing was written",
            )
        return largest_difference(theirs, ours), quality
    _require_equal(outputs(bert), ours, options.tolerance)
    return largest_difference(theirs, ours), {}


def _origin(source: Source) -> dict[str, Any]:
    """What config.json says of a model that comes from UER-py."""
    return {} if source.folded is None else {FOLDED: source.folded}


def _sample(vocabulary: Vocabulary, shape: Shape) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, token types and attention, [B, T], of sentences: what int8 costs shows on language, not on random tokens."""
    texts = list(islice(sample_documents(), SAMPLE_TEXTS))
    ids, offsets = Tokenizer(vocabulary).encode_batch(texts)
    longest = min(SAMPLE_TOKENS, shape.positions) - 2
    rows = [
        torch.tensor([vocabulary.cls_id, *ids[start : min(end, start + longest)], vocabulary.sep_id])
        for start, end in pairwise(offsets.tolist())
    ]
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=vocabulary.pad_id)
    lengths = torch.tensor([len(row) for row in rows])
    return padded, torch.zeros_like(padded), torch.arange(padded.shape[1]) < lengths[:, None]


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
        "heads": bert.shape.heads,
        "heads_assumed": done.source.heads_assumed,
        "parts": bert.parts,
        "parameters": sum(p.numel() for p in bert.parameters()),
        "dtype": done.dtype,
        "largest_difference": done.largest_difference,
        "left_out": done.left_out,
        **({"quality": done.quality} if done.quality else {}),
        "output": str(folder),
    }
