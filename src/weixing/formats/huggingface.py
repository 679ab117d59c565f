"""The Hugging Face layout, written and read. Opens files, no sockets.

Its tensor names live in `huggingface_keys`; weights are read in `huggingface_weights`.

A folder appears under its name only after it was read back and gave the same weights and logits. `transformers` is not
needed.

A masked-LM folder also holds a pooler, which this project does not train: the identity, so that `BertModel`'s
`pooler_output` is tanh of the first token's hidden state, the same at every load, and so that keras-hub, which demands
a pooler, can read the folder. Without it transformers makes a new random one at each load. The price: transformers'
`BertForMaskedLM`, which has no pooler, lists these two keys as not used, as it does for Google's own BERT.
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from weixing.errors import UserError
from weixing.files import atomic_folder, read_json, write_json
from weixing.formats.huggingface_keys import POOLER_BIAS, POOLER_WEIGHT, key_table, to_hugging_face
from weixing.formats.huggingface_weights import WEIGHTS, fill, has_masked_lm_head, read_tensors
from weixing.model.encoder import LAYER_NORM_EPSILON, Encoder
from weixing.model.heads import Classifier, MaskedLanguageModel
from weixing.text.tokenizer import Tokenizer
from weixing.text.vocabulary import Vocabulary
from weixing.zoo import Shape

CONFIG, VOCABULARY = "config.json", "vocab.txt"
FILES_READ = (CONFIG, WEIGHTS, VOCABULARY)


def export_masked_lm(
    model: MaskedLanguageModel,
    vocabulary: Vocabulary,
    folder: Path,
    *,
    overwrite: bool = False,
    model_card: str | None = None,
) -> None:
    """Write a folder that transformers opens as BertForMaskedLM and BertModel, then read it back and compare.

    Args:
        model_card: text of README.md; None: a short one.

    Raises:
        UserError: `folder` exists and `overwrite` is false; the vocabulary or the weights cannot be those of a model.
    """
    hidden = model.encoder.shape.hidden
    pooler = {POOLER_WEIGHT: torch.eye(hidden), POOLER_BIAS: torch.zeros(hidden)}
    with atomic_folder(folder, overwrite=overwrite) as beside:
        _write(model, vocabulary, beside, {"architectures": ["BertForMaskedLM"]}, pooler, model_card)
        _verify(model, vocabulary, *import_masked_lm(beside))


def export_classifier(
    model: Classifier, vocabulary: Vocabulary, labels: Sequence[str], folder: Path, *, overwrite: bool = False
) -> None:
    """Write a folder that transformers opens as BertForSequenceClassification, then read it back and compare.

    Args:
        labels: the name of each output, in order.

    Raises:
        UserError: as `export_masked_lm`; or the labels are not as many as the outputs.
    """
    if len(labels) != model.output.out_features or len(set(labels)) != len(labels):
        raise UserError(f"labels {list(labels)}", accepted=f"{model.output.out_features} names, each once")
    config = {
        "architectures": ["BertForSequenceClassification"],
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "label2id": {label: number for number, label in enumerate(labels)},
    }
    with atomic_folder(folder, overwrite=overwrite) as beside:
        _write(model, vocabulary, beside, config, {}, None)
        reloaded, its_vocabulary, its_labels = import_classifier(beside)
        if its_labels != list(labels):
            raise RuntimeError(f"{folder}: labels {list(labels)} were read back as {its_labels}")
        _verify(model, vocabulary, reloaded, its_vocabulary)


def import_masked_lm(folder: Path) -> tuple[MaskedLanguageModel, Vocabulary]:
    """The masked language model in `folder`, on the CPU, float32, dropout 0; and its vocabulary.

    Raises:
        UserError: as `import_model`; or there is an encoder without a masked-LM head.
    """
    model, vocabulary = import_model(folder)
    return require_masked_lm(model, folder), vocabulary


def require_masked_lm(model: MaskedLanguageModel | Encoder, where: str | Path | None = None) -> MaskedLanguageModel:
    """`model` itself.

    Raises:
        UserError: it is an encoder alone.
    """
    if isinstance(model, MaskedLanguageModel):
        return model
    raise UserError(
        "this model has no masked-LM head (cls.predictions.*), so it cannot predict tokens",
        where=where,
        accepted="a masked language model, such as the one that a classifier was fine-tuned from",
        action="`features` and `finetune` take the encoder of any BERT model",
    )


def import_model(folder: Path) -> tuple[MaskedLanguageModel | Encoder, Vocabulary]:
    """The masked language model in `folder`, or where there is no masked-LM head the encoder alone; its vocabulary.

    Raises:
        UserError: a file is missing or damaged; config.json describes what this project does not build, or disagrees
            with the tensors; a tensor is missing, or unknown.
    """
    _, shape, vocabulary = _read_description(folder)
    file, tensors = read_tensors(folder)
    with torch.device("meta"):
        model = MaskedLanguageModel(shape) if has_masked_lm_head(tensors) else Encoder(shape)
    fill(model, tensors, file)
    return model, vocabulary


def import_classifier(folder: Path) -> tuple[Classifier, Vocabulary, list[str]]:
    """The classifier in `folder`, its vocabulary, and the name of each of its outputs.

    Raises:
        UserError: as `import_model`; or config.json names no labels.
    """
    config, shape, vocabulary = _read_description(folder)
    try:
        its_names = config.get("id2label", {"0": "LABEL_0", "1": "LABEL_1"})  # where left out: transformers' default
        names = {int(number): str(label) for number, label in its_names.items()}
        labels = [names[number] for number in range(len(names))]
    except (KeyError, ValueError, AttributeError):
        raise UserError(
            "id2label does not name the outputs of a classifier",
            where=Path(folder) / CONFIG,
            accepted='{"0": "first label", "1": "second label", …}',
        ) from None
    file, tensors = read_tensors(folder)
    with torch.device("meta"):
        model = Classifier(Encoder(shape), len(labels))
    fill(model, tensors, file)
    return model, vocabulary, labels


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


# Fields that transformers leaves out where they have these values, the only ones that this project builds.
_IMPLIED = ("hidden_act", "layer_norm_eps", "position_embedding_type", "is_decoder", "tie_word_embeddings")


def _read_description(folder: Path) -> tuple[dict[str, Any], Shape, Vocabulary]:
    """config.json, the shape that it describes, and vocab.txt; UserError where this project builds no such model."""
    folder, where = Path(folder), Path(folder) / CONFIG
    config = read_json(where, "Hugging Face model configuration")
    sizes = ("num_hidden_layers", "hidden_size", "vocab_size", "max_position_embeddings", "type_vocab_size")
    for field in sizes:
        if not isinstance(config, dict) or type(config.get(field)) is not int:
            raise UserError(
                f"{field} is missing or no whole number", where=where, accepted="the config of a BERT model"
            )
    shape = Shape(*(config[field] for field in sizes))
    for field, expected in _config(shape).items():
        found = config.get(field, expected if field in _IMPLIED else None)
        if found != expected:
            raise UserError(f"{field} is {found!r}", where=where, accepted=f"{expected!r} for a model of this shape")
    vocabulary = Vocabulary.read(folder / VOCABULARY)
    if len(vocabulary) != shape.vocabulary_size:
        raise UserError(
            f"{len(vocabulary)} tokens, but {CONFIG} says vocab_size {shape.vocabulary_size}",
            where=folder / VOCABULARY,
            action="Put the vocabulary that the model was trained with beside it",
        )
    return config, shape, vocabulary


def _write(
    model: MaskedLanguageModel | Classifier,
    vocabulary: Vocabulary,
    folder: Path,
    config: dict[str, Any],
    extra_tensors: dict[str, Tensor],
    model_card: str | None,
) -> None:
    """Write every file of the layout into `folder`."""
    shape = model.encoder.shape
    if len(vocabulary) != shape.vocabulary_size:
        raise UserError(
            f"a vocabulary of {len(vocabulary)} tokens for a model of {shape.vocabulary_size}",
            accepted="the vocabulary that the model was trained with",
        )
    weights = {name: tensor.detach().cpu().float() for name, tensor in model.state_dict().items()}
    if broken := [name for name, tensor in weights.items() if not tensor.isfinite().all()]:
        raise UserError(
            f"weights that are no numbers (NaN or infinite) in {', '.join(broken[:3])}",
            action="The training has diverged: train again from an earlier checkpoint with a lower learning rate",
        )
    tensors = to_hugging_face(key_table(model), weights) | extra_tensors
    # Not save_file, which leaves a file that nobody but its owner may read.
    (folder / WEIGHTS).write_bytes(safetensors.torch.save(tensors, metadata={"format": "pt"}))
    # The dropout is what whoever trains this model further with transformers starts from: BERT's own.
    config |= _config(shape) | {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
    write_json(folder / CONFIG, config | {"pad_token_id": vocabulary.pad_id, "dtype": "float32"})
    vocabulary.write(folder / VOCABULARY)
    Tokenizer(vocabulary).hugging_face().save(str(folder / "tokenizer.json"))
    specials = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")}
    write_json(folder / "special_tokens_map.json", specials)
    casing = {"do_lower_case": True, "tokenize_chinese_chars": True, "strip_accents": None}
    limits = {"tokenizer_class": "BertTokenizer", "model_max_length": shape.positions}
    write_json(folder / "tokenizer_config.json", limits | casing | specials)
    (folder / "README.md").write_text(model_card or _card(model), encoding="utf-8")


def _verify(
    model: MaskedLanguageModel | Classifier,
    vocabulary: Vocabulary,
    reloaded: MaskedLanguageModel | Classifier,
    its_vocabulary: Vocabulary,
) -> None:
    """Raise RuntimeError unless `reloaded` has the weights, bit for bit, and the logits of `model`."""
    original = copy.deepcopy(model).cpu().float().eval()
    weights, its_weights = original.state_dict(), reloaded.state_dict()
    differing = [name for name in weights if not torch.equal(weights[name], its_weights[name])]
    shape = original.encoder.shape
    length = min(16, shape.positions)
    ids = torch.arange(2 * length).remainder(shape.vocabulary_size).view(2, length)
    with torch.inference_mode():
        logits, its_logits = original(ids), reloaded.eval()(ids)
    if differing or its_vocabulary.sha256 != vocabulary.sha256:
        raise RuntimeError(f"the exported model was read back differently: {differing or VOCABULARY}")
    if not torch.allclose(logits, its_logits, rtol=1e-6, atol=1e-6):
        raise RuntimeError("the exported model was read back with other logits")


def _card(model: MaskedLanguageModel | Classifier) -> str:
    """A short README.md."""
    shape = model.encoder.shape
    task = "fill-mask" if isinstance(model, MaskedLanguageModel) else "text-classification"
    return (
        f"---\nlanguage: zh\nlibrary_name: transformers\npipeline_tag: {task}\n---\n\n"
        f"# Chinese BERT {shape.name} ({task})\n\n"
        f"{shape.layers} layers, {shape.hidden} hidden units, {shape.vocabulary_size:,} tokens, "
        f"at most {shape.positions} tokens a text. Made with weixing (微型).\n"
    )
