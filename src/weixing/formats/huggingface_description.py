"""What a folder of the Hugging Face layout holds besides weights: configuration, vocabulary, tokenizer. Opens files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast, get_args

import torch

from weixing.errors import UserError
from weixing.files import read_json, write_json
from weixing.formats.bert import Bert
from weixing.model.encoder import LAYER_NORM_EPSILON
from weixing.model.heads import ProblemType
from weixing.text.tokenizer import Tokenizer
from weixing.text.vocabulary import Vocabulary
from weixing.zoo import Shape

CONFIG, VOCABULARY, TOKENIZER_CONFIG = "config.json", "vocab.txt", "tokenizer_config.json"
FOLDED = "uer_layer_norms_folded"  # in config.json: how a model that comes from UER-py was converted


def write_description(
    bert: Bert,
    vocabulary: Vocabulary,
    folder: Path,
    *,
    labels: Sequence[str] | None = None,
    dtype: torch.dtype = torch.float32,
    model_card: str | None = None,
    more_config: Mapping[str, Any] = MappingProxyType({}),
    lower_case: bool = True,
) -> None:
    """Write all files of the layout but the weights into `folder`.

    Args:
        bert: whose shape and parts they describe.
        vocabulary: its own.
        labels, dtype, model_card, more_config, lower_case: as in `huggingface.write_folder`.

    Raises:
        UserError: the labels are not as many as the classifier's outputs, or one comes twice.
    """
    # The dropout is what whoever trains this model further with transformers starts from: BERT's own.
    config = _config(bert.shape) | {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
    config |= {"architectures": [_architecture(bert)], "pad_token_id": vocabulary.pad_id}
    config |= {"dtype": str(dtype).removeprefix("torch.")} | dict(more_config)
    if outputs := bert.labels:
        labels = [f"LABEL_{number}" for number in range(outputs)] if labels is None else labels
        if len(labels) != outputs or len(set(labels)) != len(labels):
            raise UserError(f"labels {list(labels)}", accepted=f"{outputs} names, each once")
        config["id2label"] = {str(number): label for number, label in enumerate(labels)}
        config["label2id"] = {label: number for number, label in enumerate(labels)}
    if bert.problem_type is not None:
        config["problem_type"] = bert.problem_type
    write_json(folder / CONFIG, config)
    vocabulary.write(folder / VOCABULARY)
    Tokenizer(vocabulary).hugging_face(lower_case).save(str(folder / "tokenizer.json"))
    specials = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")}
    write_json(folder / "special_tokens_map.json", specials)
    casing = {"do_lower_case": lower_case, "tokenize_chinese_chars": True, "strip_accents": None}
    limits = {"tokenizer_class": "BertTokenizer", "model_max_length": bert.shape.positions}
    write_json(folder / TOKENIZER_CONFIG, limits | casing | specials)
    (folder / "README.md").write_text(model_card or short_card(bert), encoding="utf-8")


def shape_of_config(config: Any, where: Path) -> Shape:
    """The shape that config.json, or Google's bert_config.json, describes.

    Raises:
        UserError: a size is missing, or this project builds no such model.
    """
    sizes = ("num_hidden_layers", "hidden_size", "vocab_size", "max_position_embeddings", "type_vocab_size")
    for field in (*sizes, "num_attention_heads", "intermediate_size"):
        if not isinstance(config, dict) or type(config.get(field)) is not int:
            raise UserError(
                f"{field} is missing or no whole number", where=where, accepted="the config of a BERT model"
            )
    heads, hidden = config["num_attention_heads"], config["hidden_size"]
    if heads < 1 or hidden % heads:
        raise UserError(f"num_attention_heads is {heads}", where=where, accepted=f"a divisor of {hidden}")
    layers, _, vocabulary_size, positions, token_types = (config[field] for field in sizes)
    shape = Shape(layers, hidden, vocabulary_size, positions, token_types, hidden // heads, config["intermediate_size"])
    for field, expected in _config(shape).items():
        found = config.get(field, expected if field in _IMPLIED else None)
        if found != expected:
            raise UserError(f"{field} is {found!r}", where=where, accepted=f"{expected!r} for a model of this shape")
    return shape


def _config(shape: Shape) -> dict[str, Any]:
    """What config.json says of a shape, under transformers' names."""
    return {
        "model_type": "bert",
        "num_hidden_layers": shape.layers,
        "hidden_size": shape.hidden,
        "vocab_size": shape.vocabulary_size,
        "max_position_embeddings": shape.positions,
        "type_vocab_size": shape.token_types,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.feed_forward,
        "hidden_act": "gelu",
        "layer_norm_eps": LAYER_NORM_EPSILON,
        "position_embedding_type": "absolute",
        "is_decoder": False,
        "tie_word_embeddings": True,
    }


# Fields that transformers, or Google, leaves out where they have these values, the only ones that this project builds.
_IMPLIED = (
    "model_type",
    "hidden_act",
    "layer_norm_eps",
    "position_embedding_type",
    "is_decoder",
    "tie_word_embeddings",
)


def labels_of(bert: Bert, config: dict[str, Any], where: Path) -> list[str] | None:
    """The names that a config gives to the outputs of the classifier, in order; None: there is no classifier.

    Raises:
        UserError: the config names none, or not as many as there are outputs.
    """
    outputs = bert.labels
    if not outputs:
        return None
    try:
        its_names = config.get("id2label", {"0": "LABEL_0", "1": "LABEL_1"})  # where left out: transformers' default
        names = {int(number): str(label) for number, label in its_names.items()}
        labels = [names[number] for number in range(len(names))]
    except (KeyError, ValueError, AttributeError):
        raise UserError(
            "id2label does not name the outputs of a classifier",
            where=where,
            accepted='{"0": "first label", "1": "second label", …}',
        ) from None
    if len(labels) != outputs:
        raise UserError(f"id2label names {len(labels)} labels for {outputs} outputs", where=where)
    return labels


def problem_type_of(config: dict[str, Any], where: Path) -> ProblemType | None:
    """What a config says that the outputs of a classifier of texts mean, if it does.

    Raises:
        UserError: it is nothing that transformers knows.
    """
    found, known = config.get("problem_type"), get_args(ProblemType)
    if found is not None and found not in known:
        raise UserError(f"problem_type is {found!r}", where=where, accepted=", ".join(known))
    return cast(ProblemType | None, found)


def lower_case_of(folder: Path) -> bool:
    """Whether the tokenizer of a folder ignores capitals, as BERT's do unless they say otherwise."""
    file = folder / TOKENIZER_CONFIG
    content = read_json(file, "a tokenizer's configuration") if file.is_file() else {}
    return not (isinstance(content, dict) and content.get("do_lower_case") is False)


def _architecture(bert: Bert) -> str:
    """The class of transformers that has just these parts, or the nearest that has no more."""
    if bert.head is not None:
        return "BertForMaskedLM" if bert.next_sentence is None else "BertForPreTraining"
    if bert.token_classifier is not None:
        return "BertForTokenClassification"
    return "BertModel" if bert.classifier is None else "BertForSequenceClassification"


_TASKS = {"head": "fill-mask", "classifier": "text-classification", "token_classifier": "token-classification"}


def task_of(bert: Bert) -> str:
    """What the hub calls the task of a model with these parts."""
    return next((_TASKS[part] for part in bert.parts if part in _TASKS), "feature-extraction")


def short_card(bert: Bert) -> str:
    """The README.md that every exported folder begins with; `weixing card` writes the full one."""
    shape, task = bert.shape, task_of(bert)
    size = shape.name if shape.is_regular else f"{shape.name}, {shape.heads} heads"
    return (
        f"---\nlanguage: zh\nlibrary_name: transformers\npipeline_tag: {task}\n---\n\n"
        f"# Chinese BERT {size} ({task})\n\n"
        f"{shape.layers} layers, {shape.hidden} hidden units, {shape.vocabulary_size:,} tokens, "
        f"at most {shape.positions} tokens a text. Made with weixing (微型).\n"
    )
