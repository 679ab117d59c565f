"""The key table of the Hugging Face layout, read in both directions. Pure values: opens no files.

Names on their side are those of transformers' BertForMaskedLM and BertForSequenceClassification.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from weixing.model.heads import Classifier, MaskedLanguageModel

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


def key_table(model: MaskedLanguageModel | Classifier) -> KeyTable:
    """Each tensor of `model` and the Hugging Face tensors that it is, joined along the first dimension."""
    masked_lm = isinstance(model, MaskedLanguageModel)
    modules = _EMBEDDING_MODULES | (_MASKED_LM_MODULES if masked_lm else _CLASSIFIER_MODULES)
    for n in range(model.encoder.shape.layers):
        for ours, theirs in _LAYER_MODULES.items():
            modules[f"encoder.layers.{n}.{ours}"] = tuple(f"bert.encoder.layer.{n}.{name}" for name in theirs)
    table = _EMBEDDINGS | (_MASKED_LM_BIAS if masked_lm else {})
    for ours, theirs in modules.items():
        for part in ("weight", "bias"):
            table[f"{ours}.{part}"] = tuple(f"{name}.{part}" for name in theirs)
    return table


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
