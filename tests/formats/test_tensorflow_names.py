"""Names that the TensorFlow formats give to tensors."""

from collections.abc import Callable

import pytest

from weixing.formats.huggingface_keys import all_names
from weixing.formats.tensorflow_names import (
    checkpoint_name,
    h5_name,
    is_optimizer_state,
    is_transposed_in_checkpoint,
    is_transposed_in_h5,
)

# google-research/bert and the files that it published.
CHECKPOINT = {
    "bert.embeddings.word_embeddings.weight": "bert/embeddings/word_embeddings",
    "bert.embeddings.token_type_embeddings.weight": "bert/embeddings/token_type_embeddings",
    "bert.embeddings.LayerNorm.bias": "bert/embeddings/LayerNorm/beta",
    "bert.encoder.layer.11.attention.self.query.weight": "bert/encoder/layer_11/attention/self/query/kernel",
    "bert.encoder.layer.0.attention.output.LayerNorm.weight": "bert/encoder/layer_0/attention/output/LayerNorm/gamma",
    "bert.encoder.layer.0.intermediate.dense.bias": "bert/encoder/layer_0/intermediate/dense/bias",
    "bert.pooler.dense.weight": "bert/pooler/dense/kernel",
    "cls.predictions.transform.dense.weight": "cls/predictions/transform/dense/kernel",
    "cls.predictions.bias": "cls/predictions/output_bias",
    "cls.seq_relationship.weight": "cls/seq_relationship/output_weights",
    "cls.seq_relationship.bias": "cls/seq_relationship/output_bias",
    "classifier.weight": "output_weights",
    "classifier.bias": "output_bias",
}
H5 = {
    "bert.embeddings.word_embeddings.weight": "bert/embeddings/word_embeddings/weight:0",
    "bert.embeddings.position_embeddings.weight": "bert/embeddings/position_embeddings/embeddings:0",
    "bert.encoder.layer.11.attention.self.key.weight": "bert/encoder/layer_._11/attention/self/key/kernel:0",
    "bert.encoder.layer.0.output.LayerNorm.weight": "bert/encoder/layer_._0/output/LayerNorm/gamma:0",
    "bert.pooler.dense.bias": "bert/pooler/dense/bias:0",
    "cls.predictions.bias": "mlm___cls/predictions/bias:0",
    "cls.predictions.transform.dense.weight": "mlm___cls/predictions/transform/dense/kernel:0",
    "cls.seq_relationship.weight": "nsp___cls/seq_relationship/kernel:0",
    "classifier.weight": "classifier/kernel:0",
}


@pytest.mark.parametrize(("name_in_file", "known"), [(checkpoint_name, CHECKPOINT), (h5_name, H5)])
def test_names_are_those_that_the_frameworks_use(name_in_file: Callable[[str], str], known: dict[str, str]) -> None:
    assert {name: name_in_file(name) for name in known} == known


@pytest.mark.parametrize("name_in_file", [checkpoint_name, h5_name])
def test_no_two_tensors_have_one_name(name_in_file: Callable[[str], str]) -> None:
    names = all_names(12)
    assert len({name_in_file(name) for name in names}) == len(set(names))


def test_weights_of_layers_are_transposed_but_google_multiplies_its_two_small_heads_the_other_way() -> None:
    layer = "bert.encoder.layer.3.output.dense.weight"
    assert is_transposed_in_checkpoint(layer)
    assert is_transposed_in_h5(layer)
    for head in ("cls.seq_relationship.weight", "classifier.weight"):
        assert not is_transposed_in_checkpoint(head)
        assert is_transposed_in_h5(head)
    for name in ("bert.embeddings.word_embeddings.weight", "bert.embeddings.LayerNorm.weight", "classifier.bias"):
        assert not is_transposed_in_checkpoint(name)
        assert not is_transposed_in_h5(name)


def test_the_state_of_an_optimizer_is_told_from_a_model() -> None:
    state = ["global_step", "beta1_power", "bert/pooler/dense/kernel/adam_m", "output_bias/adam_v", "a/b/Adam_1"]
    assert all(is_optimizer_state(name) for name in state)
    assert not any(is_optimizer_state(checkpoint_name(name)) for name in all_names(2))
