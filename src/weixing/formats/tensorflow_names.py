"""How Hugging Face's tensor names correspond to those of TensorFlow: TF 1 checkpoints and `tf_model.h5`. Pure values.

Each correspondence is one rule from their PyTorch names; the way back is the same rule over all names of a model
(`huggingface_keys.all_names`). TensorFlow stores the weights of a layer [in, out], PyTorch [out, in]: what is called
a kernel is transposed, all else is not.
"""

import re

# google-research/bert: run_pretraining.py (get_masked_lm_output, get_next_sentence_output), run_classifier.py.
_CHECKPOINT_HEADS = {
    "cls.predictions.bias": "cls/predictions/output_bias",
    "cls.seq_relationship.weight": "cls/seq_relationship/output_weights",
    "cls.seq_relationship.bias": "cls/seq_relationship/output_bias",
    "classifier.weight": "output_weights",
    "classifier.bias": "output_bias",
}
# modeling_tf_bert.py of transformers 4: the two heads have names of their own.
_H5_HEADS = {"cls.predictions.": "mlm___cls.predictions.", "cls.seq_relationship.": "nsp___cls.seq_relationship."}
_TENSORFLOW_PARTS = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta", "weight": "kernel"}

_OPTIMIZER_STATE = re.compile(
    r"(global_step|beta[12]_power|(current_)?loss_scale|good_steps)(:0)?$"
    r"|.*/(adam_[mv]|lamb_[mv]|Adam(_1)?|LAMB(_1)?|Momentum|Adagrad)$"
)


def checkpoint_name(name: str) -> str:
    """The variable of google-research/bert that a tensor named `name` in Hugging Face's layout is.

    ``bert.encoder.layer.0.attention.self.query.weight`` → ``bert/encoder/layer_0/attention/self/query/kernel``.
    """
    if name in _CHECKPOINT_HEADS:
        return _CHECKPOINT_HEADS[name]
    name = re.sub(r"\.layer\.(\d+)\.", r".layer_\1.", name).replace("_embeddings.weight", "_embeddings")
    return _with_tensorflow_parts(name).replace(".", "/")


def is_transposed_in_checkpoint(name: str) -> bool:
    """Whether the matrix `name` is stored [in, out] in a TensorFlow 1 checkpoint."""
    return checkpoint_name(name).endswith("/kernel")


def h5_name(name: str) -> str:
    """The weight of transformers' TensorFlow models that a tensor named `name` in Hugging Face's layout is.

    ``bert.encoder.layer.0.attention.self.query.weight`` → ``bert/encoder/layer_._0/attention/self/query/kernel:0``.
    """
    for head, its_name in _H5_HEADS.items():
        if name.startswith(head):
            name = its_name + name.removeprefix(head)
    name = re.sub(r"\.layer\.(\d+)\.", r".layer_:_\1.", name)
    if name.endswith(("position_embeddings.weight", "token_type_embeddings.weight")):
        name = name.removesuffix("weight") + "embeddings"
    elif not name.endswith("word_embeddings.weight"):
        name = _with_tensorflow_parts(name)
    return name.replace(".", "/").replace("layer_:_", "layer_._") + ":0"


def is_transposed_in_h5(name: str) -> bool:
    """Whether the matrix `name` is stored [in, out] in `tf_model.h5`."""
    return h5_name(name).endswith("/kernel:0")


def is_optimizer_state(variable: str) -> bool:
    """Whether a variable of a TensorFlow checkpoint belongs to the training, not to the model."""
    return _OPTIMIZER_STATE.match(variable) is not None


def _with_tensorflow_parts(name: str) -> str:
    for ending, tensorflow in _TENSORFLOW_PARTS.items():
        if name.endswith("." + ending):
            return name.removesuffix(ending) + tensorflow
    return name
