"""Tensors of a file, and a `Bert` made of them: each tensor is used, known, or an error that names it.

Opens no files; says on stderr where numbers are rounded.

Shapes: V vocabulary entries, H hidden units, F feed-forward units.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from weixing.errors import UserError
from weixing.formats.bert import PARTS, Bert, Part
from weixing.formats.huggingface_keys import (
    POOLER_BIAS,
    POOLER_WEIGHT,
    POSITIONS,
    TIED,
    all_names,
    from_hugging_face,
    key_table,
    to_hugging_face,
)
from weixing.progress import say
from weixing.zoo import HEAD_UNITS, Shape

COPY, IDENTITY, NUMBERS = "a second copy", "an identity", "the numbers 0, 1, 2, …"
NOT_OF_THE_MODEL = "the optimizer's state"
NOT_LEARNT = (COPY, IDENTITY, NUMBERS, NOT_OF_THE_MODEL)  # what may be left aside without a word
# Numbers that weights may be; those of float64 become float32.
KINDS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)

_WORDS = "bert.embeddings.word_embeddings.weight"
_PLACES = "bert.embeddings.position_embeddings.weight"
_TYPES = "bert.embeddings.token_type_embeddings.weight"
_FEED_FORWARD = "bert.encoder.layer.0.intermediate.dense.weight"
_BEGINNINGS: dict[Part, str] = {
    "head": "cls.predictions.",
    "pooler": "bert.pooler.",
    "next_sentence": "cls.seq_relationship.",
    "classifier": "classifier.",
}
_OF_TOKENS = ("BertForTokenClassification", "TFBertForTokenClassification")  # architectures


@dataclass(frozen=True)
class Tensors:
    """What a file holds.

    Attributes:
        where: the file.
        named: the tensors, under Hugging Face names; those that have none keep their own.
        own_name: what the file calls the tensor of a Hugging Face name, for messages.
        left_aside: tensors that no model has a place for and nobody misses, by their own name, with what they are.
        of_tokens: whether a classifier among them is known to be one of tokens, as one without a pooler always is.
    """

    where: Path
    named: dict[str, Tensor]
    own_name: Callable[[str], str] = lambda name: name
    left_aside: dict[str, str] = field(default_factory=dict)
    of_tokens: bool = False

    def described_by(self, config: Any) -> "Tensors":
        """The same, of an architecture that a config.json tells."""
        architectures = config.get("architectures") if isinstance(config, dict) else None
        named = architectures if isinstance(architectures, list) else []
        return replace(self, of_tokens=any(name in _OF_TOKENS for name in named))

    @property
    def dtype(self) -> torch.dtype:
        """That of all tensors that are numbers of a model, or float32 where they differ or are of float64."""
        kinds = {tensor.dtype for tensor in self.named.values() if tensor.is_floating_point()}
        return kinds.pop() if len(kinds) == 1 and torch.float64 not in kinds else torch.float32

    @property
    def parts(self) -> list[Part]:
        """Parts of a `Bert` that are here, whole or not; a pooler that is the identity was not learnt and is none."""
        found = {part for part, start in _BEGINNINGS.items() if any(name.startswith(start) for name in self.named)}
        if "classifier" in found and (self.of_tokens or "pooler" not in found):
            found = found - {"classifier"} | {"token_classifier"}
        needs_pooler: set[Part] = {"next_sentence", "classifier"}
        if "pooler" not in found:
            found -= needs_pooler
        elif not found & needs_pooler and is_identity(self.named):
            found.remove("pooler")
        return [part for part in PARTS if part in found]

    @property
    def layers(self) -> int:
        """How many layers have a tensor here, counted from the first to the first that has none."""
        count = 0
        while any(f"bert.encoder.layer.{count}.{rest}" in self.named for rest in _LAYER_RESTS):
            count += 1
        return count

    def shape(self, heads: int | None = None) -> Shape:
        """The shape that the tensors tell; the number of heads, which they do not, is H/64 unless given.

        Raises:
            UserError: a tensor that tells is missing or no matrix, or there cannot be so many heads.
        """

        def rows_and_columns(name: str) -> tuple[int, int]:
            tensor = self.named.get(name)
            if tensor is None:
                raise self.missing(name, "a BERT model")
            if tensor.dim() != 2:
                raise UserError(f"{self.own_name(name)} is no matrix: {list(tensor.shape)}", where=self.where)
            return tensor.shape[0], tensor.shape[1]

        vocabulary_size, hidden = rows_and_columns(_WORDS)
        positions, _ = rows_and_columns(_PLACES)
        token_types, _ = rows_and_columns(_TYPES)
        feed_forward, _ = rows_and_columns(_FEED_FORWARD)
        if heads is None and hidden % HEAD_UNITS:
            raise UserError(
                f"{hidden} hidden units, which are no multiple of {HEAD_UNITS}: the number of heads cannot be told",
                where=self.where,
                action="Name the model's configuration: --config FILE",
            )
        if heads is not None and (heads < 1 or hidden % heads):
            raise UserError(f"{heads} heads for {hidden} hidden units", where=self.where, accepted="a divisor of it")
        units = HEAD_UNITS if heads is None else hidden // heads
        return Shape(self.layers, hidden, vocabulary_size, positions, token_types, units, feed_forward)

    def missing(self, name: str, kind: str) -> UserError:
        """That the tensor of a Hugging Face name is not here."""
        return UserError(
            f"the tensor {self.own_name(name)} is missing", where=self.where, accepted=f"the weights of {kind}"
        )

    def bert(self, shape: Shape, *, told_by: str, any_head: bool = False) -> tuple[Bert, dict[str, str]]:
        """The model, on the CPU, float32, and what tensors were left aside, each with what it is.

        Args:
            shape: that the tensors must have.
            told_by: what says so, for messages.
            any_head: leave heads aside that a `Bert` has no part for.

        Raises:
            UserError: a tensor is missing, has another shape, holds numbers of no kind in `KINDS`, or has no place.
        """
        parts = self.parts
        kind = " and ".join(["an encoder", *(PARTS[part] for part in parts)])
        whole = f"{kind} of {shape.layers} layers, as {told_by} says"

        def require(name: str, sizes: Sequence[int]) -> None:
            tensor = self.named.get(name)
            if tensor is None:
                raise self.missing(name, whole)
            if list(tensor.shape) != list(sizes):
                raise UserError(
                    f"the tensor {self.own_name(name)} has the shape {list(tensor.shape)}",
                    where=self.where,
                    accepted=f"{list(sizes)}, as {told_by} says",
                )
            if tensor.dtype not in KINDS:
                raise UserError(
                    f"the tensor {self.own_name(name)} holds {str(tensor.dtype).removeprefix('torch.')} numbers",
                    where=self.where,
                    accepted="float32, float16 or bfloat16 weights",
                )

        # `shape` may be any numbers that someone wrote: it is held against the file before a model is made so large.
        for name, rows in (
            (_WORDS, shape.vocabulary_size),
            (_PLACES, shape.positions),
            (_TYPES, shape.token_types),
            (_FEED_FORWARD, shape.feed_forward),
        ):
            require(name, [rows, shape.hidden])
        if self.layers < shape.layers:
            raise self.missing(f"bert.encoder.layer.{self.layers}.{_LAYER_RESTS[0]}", whole)
        with torch.device("meta"):
            bert = Bert(shape, parts, self._labels)
        table = key_table(shape.layers, parts)
        expected = to_hugging_face(table, bert.state_dict())
        for name, meta in expected.items():
            require(name, meta.shape)
        left_aside = self._left_aside(expected, any_head, kind)
        if any(self.named[name].dtype == torch.float64 for name in expected):
            say(f"{self.where}: float64 numbers are taken as float32")
        bert.load_state_dict(from_hugging_face(table, self.named), assign=True)
        return bert.eval(), left_aside

    @property
    def _labels(self) -> int:
        """How many outputs the classifier has, if it is a matrix; else 1, and its shape will be found wrong."""
        weight = self.named.get("classifier.weight")
        return weight.shape[0] if weight is not None and weight.dim() == 2 and weight.numel() else 1

    def _left_aside(self, used: Mapping[str, Tensor], any_head: bool, kind: str) -> dict[str, str]:
        left = self.left_aside | dict.fromkeys(self.named.keys() - used.keys(), "")
        for copied, original in TIED.items():
            if copied in left and original in self.named:
                if not _are_equal(self.named[copied], self.named[original]):
                    raise UserError(
                        f"{self.own_name(copied)} differs from {self.own_name(original)}: the decoder is not tied",
                        where=self.where,
                        accepted="a BERT model whose decoder is its token embedding",
                    )
                del left[copied]
                if self.own_name(copied) != self.own_name(original):  # else it is one tensor under two names
                    left[self.own_name(copied)] = COPY
        if POSITIONS in left:
            left[POSITIONS] = NUMBERS
        for name in (POOLER_WEIGHT, POOLER_BIAS):
            if name in left:
                left[name] = IDENTITY
        unknown = [name for name, what in left.items() if not what]
        if any_head:
            heads = [name for name in unknown if not name.startswith("bert.")]
            left |= {name: name.rpartition(".")[0] for name in heads}
            unknown = [name for name in unknown if name not in heads]
        if unknown:
            renamed_here = set(all_names(self.layers))
            own_names = sorted(self.own_name(name) if name in renamed_here else name for name in unknown)
            raise UserError(
                f"{len(unknown)} tensors that {kind} has no place for: " + ", ".join(own_names[:5]),
                where=self.where,
                accepted="an encoder with any of masked-LM head, pooler, next-sentence head and classifier",
            )
        return left


_LAYER_RESTS = [
    name.removeprefix("bert.encoder.layer.0.") for name in all_names(1) if name.startswith("bert.encoder.layer.0.")
]


def _are_equal(copy: Tensor, original: Tensor) -> bool:
    """Whether two tensors are the same numbers, each perhaps rounded in its own way."""
    return copy.dtype in KINDS and torch.equal(copy.float(), original.float())


def is_identity(named: Mapping[str, Tensor]) -> bool:
    """Whether the pooler among tensors is the one that our own exports add where none was learnt."""
    weight, bias = named.get(POOLER_WEIGHT), named.get(POOLER_BIAS)
    if weight is None or bias is None or not {weight.dtype, bias.dtype} <= set(KINDS):
        return False
    if weight.dim() != 2 or weight.shape[0] != weight.shape[1]:
        return False
    return bool(torch.equal(weight.float(), torch.eye(len(weight))) and not bias.any())


def renamed(
    where: Path,
    tensors: Mapping[str, Tensor],
    to_file: Callable[[str], str],
    is_transposed: Callable[[str], bool] = lambda name: False,
    left_aside: Mapping[str, str] | None = None,
) -> Tensors:
    """Tensors of another format under Hugging Face names.

    Args:
        where: the file.
        tensors: under the file's own names.
        to_file: a Hugging Face name → the file's own.
        is_transposed: whether the tensor of a Hugging Face name lies the other way round there.
        left_aside: as in `Tensors`.
    """
    named = {name: tensor for name, tensor in tensors.items() if name not in (left_aside or {})}

    def take(names: list[str]) -> bool:
        found = {name: to_file(name) for name in names if to_file(name) in tensors}
        for name, own in found.items():
            tensor = named.pop(own, tensors[own])
            named[name] = tensor.t() if is_transposed(name) and tensor.dim() == 2 else tensor
        return bool(found)

    take(all_names(0))
    layer = 0
    while take([f"bert.encoder.layer.{layer}.{rest}" for rest in _LAYER_RESTS]):
        layer += 1
    return Tensors(where, named, to_file, dict(left_aside or {}))
