"""Google's TensorFlow 1 checkpoints and transformers' `tf_model.h5` as models. Opens files; needs no TensorFlow."""

from pathlib import Path

from weixing.errors import UserError
from weixing.files import read_json
from weixing.formats.bert import Bert
from weixing.formats.huggingface_description import labels_of, problem_type_of, shape_of_config
from weixing.formats.huggingface_keys import key_table_of, to_hugging_face, with_identity_pooler
from weixing.formats.source import Source
from weixing.formats.tensorflow_checkpoint import read_checkpoint
from weixing.formats.tensorflow_h5 import read_h5, write_h5
from weixing.formats.tensorflow_names import checkpoint_name, is_optimizer_state, is_transposed_in_checkpoint
from weixing.formats.tensors import NOT_OF_THE_MODEL, Tensors, renamed
from weixing.text.vocabulary import Vocabulary


def checkpoint_tensors_of(prefix: Path) -> Tensors:
    """The tensors of a checkpoint of google-research/bert; the optimizer's state is left aside.

    Args:
        prefix: common beginning of its files.

    Raises:
        UserError: a file is missing or damaged.
    """
    variables = read_checkpoint(prefix)
    state = {name: NOT_OF_THE_MODEL for name in variables if is_optimizer_state(name)}
    return renamed(prefix, variables, checkpoint_name, is_transposed_in_checkpoint, state)


def h5_tensors_of(file: Path) -> Tensors:
    """The tensors of a `tf_model.h5` of transformers; errors as in `checkpoint_tensors_of`."""
    return Tensors(file, read_h5(file))


def read_tensorflow(tensors: Tensors, form: str, *, config: Path | None, vocabulary: Vocabulary | None) -> Source:
    """The model that `tensors` of either format are.

    Args:
        form: the name of the format.
        config: bert_config.json or config.json; None: sizes are read from the tensors, heads have 64 units each.
        vocabulary: its own.

    Raises:
        UserError: the tensors are not as the configuration says; one is missing or unknown.
    """
    content = {} if config is None else read_json(config, "a model configuration")
    if config is None:
        shape, told_by = tensors.shape(), "its other tensors"
    else:
        shape, told_by = shape_of_config(content, config), config.name
        if tensors.layers > shape.layers:
            accepted = f"{tensors.layers}, as in {tensors.where}"
            raise UserError(f"num_hidden_layers is {shape.layers}", where=config, accepted=accepted)
    bert, left_aside = tensors.described_by(content).bert(shape, told_by=told_by)
    labels = labels_of(bert, content, config) if config is not None and "id2label" in content else None
    if bert.classifier is not None and config is not None:
        bert.problem_type = problem_type_of(content, config)
    return Source(
        bert, form, tensors.where, vocabulary, labels, tensors.dtype,
        left_aside=left_aside, heads_assumed=config is None,
    )  # fmt: skip


def write_tensorflow_h5(bert: Bert, file: Path) -> None:
    """Write weights that transformers 4's TFBertModel, TFBertForMaskedLM and so on load; always with a pooler."""
    write_h5(file, with_identity_pooler(to_hugging_face(key_table_of(bert), bert.state_dict())))
