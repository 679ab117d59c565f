"""Checkpoints of UER-py and TencentPretrain, read and written. Opens files; runs nothing that is in them.

The names are those of both projects' BERT (uer/layers, uer/targets; older ones as TencentPretrain's
scripts/convert_tencentpretrain_from_old_to_new.py lists them). Two things there are not as in other BERTs:

- LayerNorm divides by the unbiased standard deviation, plus 1e-6 (uer/layers/layer_norm.py:16-21). A LayerNorm as
  elsewhere computes the same from a weight that is smaller by sqrt((H-1)/H), and, for the 1e-6, by the mean share that
  it has in the divisor: "folded". That share matters (3e-5) in the embeddings alone, where deviations are small; there
  it is known from the weights. UER's own converter copies the weights plainly, which changes the function; so the
  published uer/chinese_roberta_* were made.
- Token types count from 1, and row 0 of their embedding stands on padding, which nobody looks at
  (uer/encoders/transformer_encoder.py:57-63). It is left out, and written as zeros, as by UER's own converters.

Shapes: H hidden units.
"""

import math
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from weixing.errors import UserError
from weixing.files import read_json, write_json
from weixing.formats.bert import Bert
from weixing.formats.huggingface_description import problem_type_of
from weixing.formats.huggingface_keys import is_norm_weight, key_table_of, to_hugging_face
from weixing.formats.source import Source
from weixing.formats.tensors import Tensors, renamed
from weixing.formats.weight_files import read_pickle, read_shards
from weixing.text.vocabulary import Vocabulary
from weixing.zoo import Shape

WEIGHTS, CONFIG, VOCABULARY = "uer_model.bin", "uer_config.json", "vocab.txt"
EPSILON = 1e-6
SHARDS_INDEX = "tencentpretrain_model.bin.index.json"
TOKEN_TYPES = "bert.embeddings.token_type_embeddings.weight"

_MODULES = {
    "bert.embeddings.word_embeddings": "embedding.word.embedding",
    "bert.embeddings.position_embeddings": "embedding.pos.embedding",
    "bert.embeddings.token_type_embeddings": "embedding.seg.embedding",
    "bert.embeddings.LayerNorm": "embedding.layer_norm",
    "cls.predictions.transform.dense": "target.mlm.linear_1",
    "cls.predictions.transform.LayerNorm": "target.mlm.layer_norm",
    "cls.predictions.decoder": "target.mlm.linear_2",
    "cls.predictions": "target.mlm.linear_2",
    "cls.seq_relationship": "target.sp.linear_2",
    "classifier": "output_layer_2",
}
_POOLER, _SENTENCE_POOLER, _CLASSIFIER_POOLER = "bert.pooler.dense", "target.sp.linear_1", "output_layer_1"
_LAYER_MODULES = {  # after "bert.encoder.layer.N." there and "encoder.transformer.N." here
    "attention.self.query": "self_attn.linear_layers.0",
    "attention.self.key": "self_attn.linear_layers.1",
    "attention.self.value": "self_attn.linear_layers.2",
    "attention.output.dense": "self_attn.final_linear",
    "attention.output.LayerNorm": "layer_norm_1",
    "intermediate.dense": "feed_forward.linear_1",
    "output.dense": "feed_forward.linear_2",
    "output.LayerNorm": "layer_norm_2",
}
_OLD_NAMES = [
    (r"^embedding\.word_embedding\.", "embedding.word.embedding."),
    (r"^embedding\.position_embedding\.", "embedding.pos.embedding."),
    (r"^embedding\.segment_embedding\.", "embedding.seg.embedding."),
    (r"^target\.mlm_linear_([12])\.", r"target.mlm.linear_\1."),
    (r"^target\.layer_norm\.", "target.mlm.layer_norm."),
    (r"^target\.linear_([12])\.", r"target.mlm.linear_\1."),  # of run_classifier_prompt.py
    (r"^target\.(?:nsp|sop|sp)_linear_([12])\.", r"target.sp.linear_\1."),
]
# What configurations say of a model that is built here; other values are of another architecture.
_EXPECTED: dict[str, tuple[Any, ...]] = {
    "embedding": (["word", "pos", "seg"], "word_pos_seg"),
    "encoder": ("transformer", "bert"),
    "hidden_act": ("gelu",),
    "mask": ("fully_visible",),
    "layernorm_positioning": ("post",),
    "layernorm": ("normal",),
    "feed_forward": ("dense",),
    "tie_weights": (True, False),
    "remove_attention_scale": (False,),
    "has_residual_attention": (False,),
    "layernorm_eps": (1e-6,),  # TencentPretrain
}


def read_uer(
    file: Path, *, config: Path | None = None, vocabulary: Vocabulary | None = None, as_published: bool = False
) -> Source:
    """The model in a checkpoint: masked LM, masked LM with sentence prediction, or a classifier.

    Args:
        file: the checkpoint, or the index of one in shards.
        config: UER's model configuration; it says how many heads there are, which are otherwise taken to have 64
            units each, as in all of UER's own BERTs.
        vocabulary: its own.
        as_published: take the LayerNorms as they stand, as UER's converter does, in place of folding them.

    Raises:
        UserError: the file is damaged or holds more than tensors, is of another architecture, or is not as the
            configuration says; a tensor is missing or unknown.
    """
    tensors = tensors_of(file)
    shape = tensors.shape(heads_in(config) if config else None)
    if config is not None:
        check(config, shape, tensors.where)
    bert, left_aside = tensors.bert(shape, told_by=config.name if config else "its other tensors")
    original = with_uer_norms(bert)
    if not as_published:
        bert = folded(bert)
    labels = _labels(config, bert) if config else None
    if config is not None and bert.classifier is not None:
        bert.problem_type = problem_type_of(read_json(config, "a model configuration of UER-py"), config)
    return Source(
        bert, "UER-py checkpoint", file, vocabulary, labels, tensors.dtype, original, left_aside,
        heads_assumed=config is None, folded=not as_published,
    )  # fmt: skip


def tensors_of(file: Path) -> Tensors:
    """The tensors of a checkpoint, or of one in shards by its index; of token types without the row for padding.

    Raises:
        UserError: the file is damaged, holds more than tensors, or is not UER-py's.
    """
    raw = read_shards(file) if file.name.endswith(".json") else read_pickle(file)
    if not any(name.startswith(("embedding.", "encoder.transformer.")) for name in raw):
        some = ", ".join(list(raw)[:3]) or "no tensors at all"
        raise UserError(
            f"no tensor has a name of UER-py's: {some}",
            where=file,
            accepted="embedding.word.embedding.weight and the like",
            action="Weights in Hugging Face's layout are read by their folder, with its config.json",
        )
    return _first_row_left_out(renamed(file, _with_names_of_today(raw, file), _name_of(raw)))


def write_uer(
    bert: Bert, vocabulary: Vocabulary, folder: Path, *, as_published: bool, labels: Sequence[str] | None = None
) -> None:
    """Write a checkpoint that UER-py goes on training from, its configuration and the vocabulary, into `folder`.

    A pooler alone, that nothing stands on, has no place there and is left out.

    Args:
        as_published: leave the LayerNorms as they stand, in place of undoing the folding.
        labels: of the classifier's outputs, which UER-py has no place for: written into the configuration, where it
            passes over them; and what they mean likewise.
    """
    written = bert if as_published else folded(bert, undo=True)
    tensors = to_hugging_face(key_table_of(written), written.state_dict())
    tensors[TOKEN_TYPES] = torch.cat([torch.zeros(1, bert.shape.hidden), tensors[TOKEN_TYPES]])
    parts = set(bert.parts)
    if not parts & {"classifier", "next_sentence"}:
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(_POOLER)}
    pooler = _CLASSIFIER_POOLER if "classifier" in parts else _SENTENCE_POOLER
    stored = OrderedDict((_own_name(name, pooler), tensor.contiguous()) for name, tensor in tensors.items())
    if "head" in parts:
        stored["target.mlm.linear_2.weight"] = stored["embedding.word.embedding.weight"]  # tied: stored once
    torch.save(stored, folder / WEIGHTS)
    config = _config(bert.shape, [name for name, part in _TARGETS.items() if part in parts])
    more = {"labels": list(labels) if labels else None, "problem_type": bert.problem_type}
    write_json(folder / CONFIG, config | {name: value for name, value in more.items() if value is not None})
    vocabulary.write(folder / VOCABULARY)


class UerLayerNorm(nn.Module):
    """LayerNorm as UER-py has it (uer/layers/layer_norm.py:16-21). [..., H] → [..., H]."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, x: Tensor) -> Tensor:
        """Normalised by the unbiased standard deviation, plus 1e-6."""
        return self.weight * (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + EPSILON) + self.bias


def with_uer_norms(bert: Bert) -> Bert:
    """What UER-py computes with the weights of `bert`, which it shares."""
    copy = bert.with_weights(bert.state_dict())
    for name, module in list(copy.named_modules()):
        if isinstance(module, nn.LayerNorm):
            holder, _, attribute = name.rpartition(".")
            setattr(copy.get_submodule(holder), attribute, UerLayerNorm(module))
    return copy


def folded(bert: Bert, undo: bool = False) -> Bert:
    """A copy of `bert` whose LayerNorm weights are folded (see above), or, with `undo`, as they were before."""
    state = bert.state_dict()
    H, embeddings = bert.shape.hidden, bert.encoder.embeddings
    places = torch.arange(bert.shape.vocabulary_size) % bert.shape.positions
    summed = embeddings.token.weight + embeddings.position.weight[places] + embeddings.token_type.weight[0]
    deviations = summed.detach().double().std(-1)
    for ours, theirs in key_table_of(bert).items():
        if is_norm_weight(theirs[0]):
            factor = math.sqrt((H - 1) / H)
            if ours == "encoder.embeddings.norm.weight":
                factor *= float((deviations / (deviations + EPSILON)).mean())
            state[ours] = (state[ours].double() * (1 / factor if undo else factor)).float()
    return bert.with_weights(state)


_TARGETS = {"mlm": "head", "sp": "next_sentence"}


def _own_name(name: str, pooler: str) -> str:
    """UER's name of the tensor of a Hugging Face name."""
    module, _, part = name.rpartition(".")
    if layer := re.match(r"bert\.encoder\.layer\.(\d+)\.", module):
        own = f"encoder.transformer.{layer[1]}.{_LAYER_MODULES[module[layer.end() :]]}"
    else:
        own = pooler if module == _POOLER else _MODULES[module]
    if module.endswith("LayerNorm"):
        part = {"weight": "gamma", "bias": "beta"}[part]
    return f"{own}.{part}"


def _name_of(tensors: Mapping[str, Tensor]) -> Any:
    """`_own_name` for a file: in a fine-tuned classifier the pooler has another name."""
    pooler = _CLASSIFIER_POOLER if any(name.startswith(_CLASSIFIER_POOLER) for name in tensors) else _SENTENCE_POOLER
    return lambda name: _own_name(name, pooler)


def _with_names_of_today(tensors: Mapping[str, Tensor], file: Path) -> dict[str, Tensor]:
    named: dict[str, Tensor] = {}
    for own_name, tensor in tensors.items():
        name = own_name
        for old, new in _OLD_NAMES:
            name = re.sub(old, new, name)
        if name in named and not torch.equal(named[name], tensor):
            raise UserError(f"{own_name} and {name} are one tensor, and differ", where=file)
        named[name] = tensor
    return named


def _first_row_left_out(tensors: Tensors) -> Tensors:
    rows = tensors.named.get(TOKEN_TYPES)
    if rows is None or rows.dim() != 2:
        return tensors  # which will be said of it
    if len(rows) < 2:
        raise UserError(
            f"{tensors.own_name(TOKEN_TYPES)} has {len(rows)} rows", where=tensors.where, accepted="3, one for padding"
        )
    named = tensors.named | {TOKEN_TYPES: rows[1:]}
    return Tensors(tensors.where, named, tensors.own_name, tensors.left_aside)


def heads_in(config: Path) -> int:
    """How many heads UER's configuration of a model says there are; UserError if it says nothing."""
    content = read_json(config, "a model configuration of UER-py")
    heads = content.get("heads_num") if isinstance(content, dict) else None
    if type(heads) is not int:
        raise UserError(
            "heads_num is missing or no whole number", where=config, accepted="a model configuration of UER-py"
        )
    return cast(int, heads)


def _config(shape: Shape, targets: list[str]) -> dict[str, Any]:
    """UER's configuration of a model (models/bert/*.json there)."""
    return {
        "emb_size": shape.hidden,
        "feedforward_size": shape.feed_forward,
        "hidden_size": shape.hidden,
        "hidden_act": "gelu",
        "heads_num": shape.heads,
        "layers_num": shape.layers,
        "max_seq_length": shape.positions,
        "dropout": 0.1,
        "data_processor": "bert" if "sp" in targets else "mlm",
        "embedding": ["word", "pos", "seg"],
        "encoder": "transformer",
        "mask": "fully_visible",
        "target": targets or ["mlm"],
        "tie_weights": True,
    }


def _labels(config: Path, bert: Bert) -> list[str] | None:
    """Names that an earlier conversion has put into the configuration."""
    labels = read_json(config, "a model configuration of UER-py").get("labels")
    if bert.classifier is None or not isinstance(labels, list) or len(labels) != bert.classifier.out_features:
        return None
    return [str(label) for label in labels]


def check(file: Path, shape: Shape, tensors: Path) -> None:
    """UserError unless the configuration `file` is that of a model of `shape` as it is built here."""
    content = read_json(file, "a model configuration of UER-py")
    sizes = {name: value for name, value in _config(shape, []).items() if type(value) is int}
    for name, size in sizes.items():
        if content.get(name, size) != size:
            raise UserError(f"{name} is {content[name]!r}", where=file, accepted=f"{size}, as in {tensors.name}")
    if content.get("attention_head_size", shape.head_units) != shape.head_units:
        raise UserError("attention_head_size is not hidden_size / heads_num", where=file)
    for name, accepted in _EXPECTED.items():
        if name in content and content[name] not in accepted:
            raise UserError(f"{name} is {content[name]!r}", where=file, accepted=repr(accepted[0]))
