"""The key table of the Hugging Face layout, read in both directions. Pure values: opens no files.

Names on their side are those of transformers' BertForMaskedLM and BertForSequenceClassification.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from weixing.model.encoder import Encoder
from weixing.model.heads import Classifier, MaskedLanguageModel

AnyModel = MaskedLanguageModel | Classifier | Encoder
KeyTable = dict[str, tuple[str, ...]]

# The key table. Modules have a weight and a bias; several names on their side are one matrix here, one below another.
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
_MASKED_LM_MODULES: KeyTable = {
    "head.dense": ("cls.predictions.transform.dense",),
    "head.norm": ("cls.predictions.transform.LayerNorm",),
}
_MASKED_LM_BIAS: KeyTable = {"head.bias": ("cls.predictions.bias",)}
_CLASSIFIER_MODULES: KeyTable = {"dense": ("bert.pooler.dense",), "output": ("classifier",)}

# Tensors that may be in a folder and have no place here: each with what it is.
POOLER_WEIGHT, POOLER_BIAS = "bert.pooler.dense.weight", "bert.pooler.dense.bias"
UNUSED = {
    "bert.embeddings.position_ids": "the numbers 0, 1, 2, …",
    POOLER_WEIGHT: "pooler",
    POOLER_BIAS: "pooler",
    "cls.seq_relationship.weight": "next-sentence head",
    "cls.seq_relationship.bias": "next-sentence head",
}
# Second copies of tied tensors: accepted where they are equal.
TIED = {
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}


def key_table(model: AnyModel) -> KeyTable:
    """Each tensor of `model` and the Hugging Face tensors that it is, joined along the first dimension."""
    table, modules = dict(_EMBEDDINGS), dict(_EMBEDDING_MODULES)
    if isinstance(model, MaskedLanguageModel):
        table |= _MASKED_LM_BIAS
        modules |= _MASKED_LM_MODULES
    elif isinstance(model, Classifier):
        modules |= _CLASSIFIER_MODULES
    for n in range(encoder_of(model).shape.layers):
        for ours, theirs in _LAYER_MODULES.items():
            modules[f"encoder.layers.{n}.{ours}"] = tuple(f"bert.encoder.layer.{n}.{name}" for name in theirs)
    for ours, theirs in modules.items():
        for part in ("weight", "bias"):
            table[f"{ours}.{part}"] = tuple(f"{name}.{part}" for name in theirs)
    if isinstance(model, Encoder):
        return {ours.removeprefix("encoder."): theirs for ours, theirs in table.items()}
    return table


def encoder_of(model: AnyModel) -> Encoder:
    """The encoder in `model`, or `model` if it is one."""
    return model if isinstance(model, Encoder) else model.encoder


def with_names_of_today(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a file under the names that the key table has.

    Older files call a LayerNorm's weight and bias gamma and beta, as TensorFlow does; a `BertModel` saved alone leaves
    out the prefix ``bert.``.
    """
    prefix = "" if any(name.startswith("bert.") for name in tensors) else "bert."
    parts = {"gamma": "weight", "beta": "bias"}
    return {
        prefix + re.sub(r"(?<=LayerNorm\.)(gamma|beta)$", lambda old: parts[old[0]], name): tensor
        for name, tensor in tensors.items()
    }


def to_hugging_face(table: KeyTable, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors under their names; works for weights and for gradients."""
    return {
        name: piece
        for ours, theirs in table.items()
        for name, piece in zip(theirs, tensors[ours].chunk(len(theirs)), strict=True)
    }


def from_hugging_face(table: KeyTable, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Their tensors under our names, as float32 copies: the inverse of `to_hugging_face`."""
    return {ours: torch.cat([tensors[name].float() for name in theirs]) for ours, theirs in table.items()}
