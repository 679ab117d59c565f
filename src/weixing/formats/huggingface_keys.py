"""The key table: each tensor of a `Bert` under Hugging Face's names, in both directions. Pure values: opens no files.

Names on their side are those of transformers' BertForPreTraining and BertForSequenceClassification; the classifier of
BertForTokenClassification has the same name as that of texts. Other formats are
tables from these names to their own, so that every format is one step from every other.
"""

import re
from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from weixing.errors import UserError
from weixing.formats.bert import PARTS, Bert, Part

KeyTable = dict[str, tuple[str, ...]]

# Modules have a weight and a bias; several names on their side are one matrix here, one below another.
_EMBEDDINGS: KeyTable = {
    "encoder.embeddings.token.weight": ("bert.embeddings.word_embeddings.weight",),
    "encoder.embeddings.position.weight": ("bert.embeddings.position_embeddings.weight",),
    "encoder.embeddings.token_type.weight": ("bert.embeddings.token_type_embeddings.weight",),
}
_EMBEDDING_MODULES: KeyTable = {"encoder.embeddings.norm": ("bert.embeddings.LayerNorm",)}
_LAYER_MODULES: KeyTable = {  # after "encoder.layers.N." here and "bert.encoder.layer.N." there
    "attention.query_key_value": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "attention.output": ("attention.output.dense",),
    "attention_norm": ("attention.output.LayerNorm",),
    "feed_forward.inner": ("intermediate.dense",),
    "feed_forward.output": ("output.dense",),
    "feed_forward_norm": ("output.LayerNorm",),
}
_PART_MODULES: dict[Part, KeyTable] = {
    "head": {
        "head.dense": ("cls.predictions.transform.dense",),
        "head.norm": ("cls.predictions.transform.LayerNorm",),
    },
    "pooler": {"pooler": ("bert.pooler.dense",)},
    "next_sentence": {"next_sentence": ("cls.seq_relationship",)},
    "classifier": {"classifier": ("classifier",)},
    "token_classifier": {"token_classifier": ("classifier",)},
}
_MASKED_LM_BIAS: KeyTable = {"head.bias": ("cls.predictions.bias",)}

POSITIONS = "bert.embeddings.position_ids"  # the numbers 0, 1, 2, …, which older versions saved
POOLER_WEIGHT, POOLER_BIAS = "bert.pooler.dense.weight", "bert.pooler.dense.bias"
# Second copies of tied tensors: accepted where they are equal.
TIED = {
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}


def key_table(layers: int, parts: Collection[Part]) -> KeyTable:
    """Each tensor of such a `Bert` and the Hugging Face tensors that it is, joined along the first dimension."""
    table, modules = dict(_EMBEDDINGS), dict(_EMBEDDING_MODULES)
    for part in parts:
        modules |= _PART_MODULES[part]
    for n in range(layers):
        for ours, theirs in _LAYER_MODULES.items():
            modules[f"encoder.layers.{n}.{ours}"] = tuple(f"bert.encoder.layer.{n}.{name}" for name in theirs)
    for ours, theirs in modules.items():
        for part_of_module in ("weight", "bias"):
            table[f"{ours}.{part_of_module}"] = tuple(f"{name}.{part_of_module}" for name in theirs)
    return table | (_MASKED_LM_BIAS if "head" in parts else {})


def key_table_of(bert: Bert) -> KeyTable:
    """`key_table` of a model."""
    return key_table(bert.shape.layers, bert.parts)


def all_names(layers: int) -> list[str]:
    """Every name that a tensor of a model of so many layers may have, copies of tied ones included."""
    return list(dict.fromkeys(name for names in key_table(layers, PARTS).values() for name in names)) + list(TIED)


def is_norm_weight(name: str) -> bool:
    """Whether a Hugging Face name is that of the scale of a LayerNorm."""
    return name.endswith("LayerNorm.weight")


def with_names_of_today(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a file under the names that the key table has.

    Older files call a LayerNorm's weight and bias gamma and beta, as TensorFlow does; a `BertModel` saved alone leaves
    out the prefix ``bert.``.

    Raises:
        UserError: a tensor is there under two names, and they differ.
    """
    prefix = "" if any(name.startswith("bert.") for name in tensors) else "bert."
    parts = {"gamma": "weight", "beta": "bias"}
    named: dict[str, Tensor] = {}
    for own_name, tensor in tensors.items():
        name = prefix + re.sub(r"(?<=LayerNorm\.)(gamma|beta)$", lambda old: parts[old[0]], own_name)
        if name in named and not torch.equal(named[name], tensor):
            raise UserError(f"{own_name} and {name} are one tensor, and differ")
        named[name] = tensor
    return named


def to_hugging_face(table: KeyTable, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors under their names; works for weights and for gradients."""
    return {
        name: piece
        for ours, theirs in table.items()
        for name, piece in zip(theirs, tensors[ours].chunk(len(theirs)), strict=True)
    }


def with_identity_pooler(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by Hugging Face names, and where there is no pooler among them the identity."""
    if POOLER_WEIGHT in tensors:
        return dict(tensors)
    like = tensors["bert.embeddings.LayerNorm.bias"]
    pooler = torch.eye(len(like), dtype=like.dtype)
    return {**tensors, POOLER_WEIGHT: pooler, POOLER_BIAS: torch.zeros_like(like)}


def from_hugging_face(table: KeyTable, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Their tensors under our names, as float32 copies: the inverse of `to_hugging_face`."""
    return {ours: torch.cat([tensors[name].float() for name in theirs]) for ours, theirs in table.items()}
