"""The Hugging Face layout, written and read. Opens files, no sockets.

Its tensor names live in `huggingface_keys`; files of weights are read in `weight_files`.

A folder appears under its name only after it was read back and gave the same weights. `transformers` is not needed.

A folder always holds a pooler: where none was learnt, the identity, so that `BertModel`'s `pooler_output` is tanh of
the first token's hidden state, the same at every load, and so that keras-hub, which demands a pooler, can read the
folder. Without it transformers makes a new random one at each load. The price: transformers' `BertForMaskedLM`, which
has no pooler, lists these two keys as not used, as it does for Google's own BERT. Read back, an identity is no pooler.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import safetensors.torch
import torch

from weixing.errors import UserError
from weixing.files import atomic_folder, read_json
from weixing.formats.bert import Bert, Part, bert_of
from weixing.formats.huggingface_description import (
    CONFIG,
    FOLDED,
    VOCABULARY,
    labels_of,
    lower_case_of,
    problem_type_of,
    shape_of_config,
    write_description,
)
from weixing.formats.huggingface_keys import key_table_of, to_hugging_face, with_identity_pooler, with_names_of_today
from weixing.formats.source import Source, require_vocabulary
from weixing.formats.tensors import NOT_LEARNT, Tensors
from weixing.formats.weight_files import OLD_WEIGHTS, WEIGHTS, read_weights, weights_in
from weixing.model.encoder import Encoder
from weixing.model.heads import AnyClassifier, MaskedLanguageModel
from weixing.progress import say
from weixing.text.vocabulary import Vocabulary, vocabulary_in

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
    with atomic_folder(folder, overwrite=overwrite) as beside:
        write_folder(bert_of(model), vocabulary, beside, model_card=model_card)


def export_classifier(
    model: AnyClassifier, vocabulary: Vocabulary, labels: Sequence[str], folder: Path, *, overwrite: bool = False
) -> None:
    """Write a folder that transformers opens, then read it back and compare.

    It is a BertForSequenceClassification of the model's problem type there, or a BertForTokenClassification.

    Args:
        labels: the name of each output, in order.

    Raises:
        UserError: as `export_masked_lm`; or the labels are not as many as the outputs.
    """
    with atomic_folder(folder, overwrite=overwrite) as beside:
        write_folder(bert_of(model), vocabulary, beside, labels=labels)


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
    raise no_masked_lm(where)


def no_masked_lm(where: str | Path | None = None) -> UserError:
    """What to tell the user who wants tokens of a model without a masked-LM head."""
    return UserError(
        "this model has no masked-LM head (cls.predictions.*), so it cannot predict tokens",
        where=where,
        accepted="a masked language model, such as the one that a classifier was fine-tuned from",
        action="`features` and `finetune` take the encoder of any BERT model",
    )


def import_model(folder: Path) -> tuple[MaskedLanguageModel | Encoder, Vocabulary]:
    """The masked language model in `folder`, or where there is no masked-LM head the encoder alone; its vocabulary.

    What is left aside, other heads among it, is said on stderr.

    Raises:
        UserError: as `import_source`.
    """
    source = import_source(folder, used=["head"])
    assert source.vocabulary
    return source.bert.masked_lm() if "head" in source.bert.parts else source.bert.encoder, source.vocabulary


def import_source(folder: Path, used: Collection[Part]) -> Source:
    """The model in `folder` with its vocabulary and every part that it has.

    Args:
        used: the parts that the caller has a use for; what else there is is said on stderr.

    Raises:
        UserError: a file is missing or damaged; config.json describes what this project does not build, or disagrees
            with the tensors; a tensor is missing, or unknown.
    """
    source = read_folder(folder, any_head=True)
    if not source.lower_case:
        say(f"{source.where}: its tokenizer keeps capitals; here texts are lower-cased")
    aside = set(source.left_aside.values()) | {name for name in source.bert.parts if name not in used}
    _say_what_is_left_out(source, sorted(aside))
    return source


def import_classifier(folder: Path) -> tuple[AnyClassifier, Vocabulary, list[str]]:
    """The classifier of texts or tokens in `folder`, its vocabulary, and the name of each of its outputs.

    Raises:
        UserError: as `import_model`; there is no classifier; or config.json does not name its labels.
    """
    source = read_folder(folder)
    assert source.vocabulary
    if source.labels is None:
        raise UserError("there is no classifier here (classifier.*)", where=source.where)
    return source.bert.classifier_model(), source.vocabulary, source.labels


def read_folder(folder: Path, *, vocabulary: Vocabulary | None = None, any_head: bool = False) -> Source:
    """The model in `folder`, with every part that it has.

    Args:
        vocabulary: to take in place of vocab.txt.
        any_head: leave aside heads that this project has no part for.

    Raises:
        UserError: as `import_model`.
    """
    folder, where = Path(folder), Path(folder) / CONFIG
    config = read_json(where, "Hugging Face model configuration")
    shape = shape_of_config(config, where)
    vocabulary = vocabulary or vocabulary_in(folder)
    if vocabulary is None:
        raise UserError("there is no vocabulary here", where=folder / VOCABULARY, action="Name it: --vocab vocab.txt")
    if len(vocabulary) != shape.vocabulary_size:
        raise UserError(
            f"{len(vocabulary)} tokens, but {CONFIG} says vocab_size {shape.vocabulary_size}",
            where=folder / VOCABULARY,
            action="Put the vocabulary that the model was trained with beside it",
        )
    tensors = tensors_of(folder).described_by(config)
    bert, left_aside = tensors.bert(shape, told_by=CONFIG, any_head=any_head)
    labels = labels_of(bert, config, where)
    if bert.classifier is not None:
        bert.problem_type = problem_type_of(config, where)
    folded = config.get(FOLDED)
    return Source(
        bert, "Hugging Face folder", folder, vocabulary, labels, tensors.dtype, left_aside=left_aside,
        folded=folded if isinstance(folded, bool) else None, lower_case=lower_case_of(folder),
    )  # fmt: skip


def tensors_of(folder: Path) -> Tensors:
    """The tensors in `folder`, in one file or in shards.

    Raises:
        UserError: there are none, or a file is damaged or holds more than tensors.
    """
    file = weights_in(folder)
    if file is None:
        raise UserError(
            "there are no weights here", where=folder / WEIGHTS, accepted=f"a folder with {WEIGHTS} or {OLD_WEIGHTS}"
        )
    return Tensors(file, with_names_of_today(read_weights(file)))


def write_folder(
    bert: Bert,
    vocabulary: Vocabulary,
    folder: Path,
    *,
    labels: Sequence[str] | None = None,
    dtype: torch.dtype = torch.float32,
    model_card: str | None = None,
    more_config: Mapping[str, Any] = MappingProxyType({}),
    weights_name: str = WEIGHTS,
    lower_case: bool = True,
) -> None:
    """Write every file of the layout into `folder`, then read it back and compare the weights bit for bit.

    Args:
        labels: the name of each of the classifier's outputs; None: LABEL_0, LABEL_1, ….
        dtype: that the weights are stored in.
        model_card: text of README.md; None: a short one.
        more_config: further fields of config.json.
        weights_name: of the file of weights, one that `weight_files` reads.
        lower_case: whether the tokenizer ignores capitals.

    Raises:
        UserError: the vocabulary, the labels or the weights cannot be those of a model.
        RuntimeError: the folder was read back differently.
    """
    require_vocabulary(vocabulary, bert.shape, folder)
    more_config = {**more_config, **({} if weights_name == WEIGHTS else {"transformers_weights": weights_name})}
    write_description(
        bert, vocabulary, folder, labels=labels, dtype=dtype, model_card=model_card, more_config=more_config,
        lower_case=lower_case,
    )  # fmt: skip
    tensors = with_identity_pooler(to_hugging_face(key_table_of(bert), finite_weights(bert, dtype)))
    # Not save_file, which leaves a file that nobody but its owner may read.
    content = safetensors.torch.save({name: t.contiguous() for name, t in tensors.items()}, metadata={"format": "pt"})
    (folder / weights_name).write_bytes(content)
    reloaded = read_folder(folder)
    its_weights, weights = reloaded.bert.state_dict(), finite_weights(bert, dtype)
    differing = [name for name in weights if not torch.equal(weights[name].float(), its_weights[name])]
    assert reloaded.vocabulary
    if differing or reloaded.vocabulary.sha256 != vocabulary.sha256:
        raise RuntimeError(f"the exported model was read back differently: {differing or VOCABULARY}")
    if labels is not None and reloaded.labels != list(labels):
        raise RuntimeError(f"labels {list(labels)} were read back as {reloaded.labels}")


def finite_weights(bert: Bert, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    """The weights of `bert` by our names, on the CPU, in `dtype`.

    Raises:
        UserError: some are no numbers, or too large for `dtype`.
    """
    original = {name: tensor.detach().cpu() for name, tensor in bert.state_dict().items()}
    weights = {name: tensor.to(dtype) for name, tensor in original.items()}
    if broken := [name for name, tensor in weights.items() if not tensor.isfinite().all()]:
        if all(original[name].isfinite().all() for name in broken):
            raise UserError(
                f"weights too large for {str(dtype).removeprefix('torch.')} in {', '.join(broken[:3])}",
                accepted="--dtype bf16 or float32",
            )
        raise UserError(
            f"weights that are no numbers (NaN or infinite) in {', '.join(broken[:3])}",
            action="The training has diverged: train again from an earlier checkpoint with a lower learning rate",
        )
    return weights


def _say_what_is_left_out(source: Source, aside: list[str]) -> None:
    """One line on stderr, unless nothing was learnt in what is left out."""
    names = {"next_sentence": "next-sentence head"}
    learnt = [names.get(name, name) for name in aside if name not in NOT_LEARNT]
    if learnt:
        say(f"{source.where}: not used: {' and '.join(sorted(learnt))}")
