"""ONNX files: the same numbers as the model, in float32 exactly so, in int8 nearly; and the form that is quick."""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor

from weixing.errors import UserError
from weixing.formats.bert import Bert
from weixing.formats.onnx_file import Output, Precision, measured_loss, run_onnx, write_onnx
from weixing.formats.onnx_graph import build
from weixing.zoo import Shape

OUTPUTS: list[Output] = ["features", "fill-mask", "classify"]
SHAPES = [Shape(2, 128, 300), Shape(3, 64, 300, head_units=32, feed_forward=96), Shape(1, 192, 300, token_types=3)]


def random_bert(shape: Shape, spread: float = 0.1) -> Bert:
    """Every part, every bias and every LayerNorm random, so that none can be left out unseen.

    Trained weights have a spread of about 0.04; a larger one makes what is left out, or rounded, show more.
    """
    torch.manual_seed(7)
    bert = Bert(shape, ["head", "pooler", "classifier"], labels=5).eval()
    with torch.no_grad():
        for parameter in bert.parameters():
            parameter.copy_(spread * torch.randn_like(parameter) + (parameter == 1))  # LayerNorm's weights start at 1
    return bert


def batch(shape: Shape, lengths: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Random ids, token types and attention of sequences of these lengths, padded to the longest."""
    generator = torch.Generator().manual_seed(len(lengths))
    size = (len(lengths), max(lengths))
    attention = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    ids = torch.randint(1, shape.vocabulary_size, size, generator=generator) * attention
    return ids, torch.randint(0, shape.token_types, size, generator=generator) * attention, attention


def expected(bert: Bert, inputs: tuple[Tensor, Tensor, Tensor]) -> dict[str, np.ndarray]:
    with torch.inference_mode():
        return {name: value.numpy() for name, value in bert(*inputs).items()}


def optimized(model: onnx.ModelProto, folder: Path) -> Counter[str]:
    """What onnxruntime makes of a model as it is loaded: how often each operator."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.name}-{shape.head_units}")
def test_a_float32_file_gives_the_models_numbers_for_any_batch_and_length(shape: Shape, tmp_path: Path) -> None:
    bert = random_bert(shape)
    for output in OUTPUTS:
        write_onnx(bert, output, tmp_path / "model.onnx")
        for lengths in ([1], [17, 3, 1, 9], [512, 40]):
            inputs = batch(shape, lengths)
            found, wanted, real = run_onnx(tmp_path / "model.onnx", *inputs), expected(bert, inputs), inputs[2].numpy()
            if output == "features":
                assert list(found) == ["last_hidden_state", "pooler_output"]
                np.testing.assert_allclose(found["last_hidden_state"][real], wanted["hidden"][real], atol=2e-5)
                np.testing.assert_allclose(found["pooler_output"], wanted["pooler"], atol=2e-5)
            elif output == "fill-mask":
                assert list(found) == ["logits"]
                np.testing.assert_allclose(found["logits"][real], wanted["head"][real], atol=2e-4)  # of about 30
            else:
                assert list(found) == ["logits"]
                np.testing.assert_allclose(found["logits"], wanted["classifier"], atol=2e-5)


def test_without_a_learnt_pooler_features_are_the_hidden_states_alone(tmp_path: Path) -> None:
    bert = random_bert(SHAPES[0])
    bert.pooler = bert.classifier = None
    write_onnx(bert, "features", tmp_path / "model.onnx")
    assert list(run_onnx(tmp_path / "model.onnx", *batch(SHAPES[0], [4, 2]))) == ["last_hidden_state"]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("output", OUTPUTS)
def test_the_graph_is_plain_onnx_with_the_usual_names_and_both_axes_free(output: Output, precision: Precision) -> None:
    model = build(random_bert(SHAPES[0]), output, precision)
    onnx.checker.check_model(model, full_check=True)
    assert {node.domain for node in model.graph.node} == {""}
    assert [value.name for value in model.graph.input] == ["input_ids", "attention_mask", "token_type_ids"]
    for value in model.graph.input:
        assert [size.dim_param for size in value.type.tensor_type.shape.dim] == ["batch", "sequence"]
    size = {"features": ["batch", "sequence", 128], "fill-mask": ["batch", "sequence", 300], "classify": ["batch", 5]}
    found = model.graph.output[0].type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in found] == size[output]


def test_what_stands_in_padding_changes_nothing(tmp_path: Path) -> None:
    bert = random_bert(SHAPES[0])
    ids, token_types, attention = batch(SHAPES[0], [12, 5, 1])
    for output in OUTPUTS:
        write_onnx(bert, output, tmp_path / "model.onnx")
        clean = run_onnx(tmp_path / "model.onnx", ids, token_types, attention)
        other_ids, other_types = ids.where(attention, 123), token_types.where(attention, 1)
        for name, value in run_onnx(tmp_path / "model.onnx", other_ids, other_types, attention).items():
            real = attention.numpy() if value.ndim == 3 else slice(None)
            np.testing.assert_allclose(value[real], clean[name][real], atol=1e-6)


@pytest.mark.parametrize("output", OUTPUTS)
def test_an_int8_file_is_a_third_as_large_and_its_loss_is_small_and_measured(output: Output, tmp_path: Path) -> None:
    shape = Shape(2, 256, 2000, positions=64)
    bert, inputs = random_bert(shape, 0.04), batch(shape, [60, 33, 1, 7] * 8)
    write_onnx(bert, output, tmp_path / "fp32.onnx")
    write_onnx(bert, output, tmp_path / "int8.onnx", "int8")
    exact = measured_loss(bert, output, tmp_path / "fp32.onnx", *inputs)
    loss = measured_loss(bert, output, tmp_path / "int8.onnx", *inputs)
    assert exact.largest_difference < 2e-4
    assert exact.smallest_cosine > 0.999999
    assert exact.same_choice == (None if output == "features" else 1)
    assert exact.largest_difference < loss.largest_difference
    assert 0.998 < loss.smallest_cosine < exact.smallest_cosine
    assert loss.same_choice is None or loss.same_choice > 0.9
    assert (tmp_path / "int8.onnx").stat().st_size < (tmp_path / "fp32.onnx").stat().st_size / 3


def test_the_loss_is_that_of_the_real_tokens(tmp_path: Path) -> None:
    bert = random_bert(SHAPES[0])
    ids, token_types, attention = batch(SHAPES[0], [6, 3])
    write_onnx(bert, "fill-mask", tmp_path / "model.onnx")
    with torch.no_grad():
        bert.head.bias[7] += 100  # type: ignore[union-attr]
    loss = measured_loss(bert, "fill-mask", tmp_path / "model.onnx", ids, token_types, attention)
    assert loss.largest_difference == pytest.approx(100, abs=1e-3)
    assert loss.smallest_cosine < 0.99
    found = run_onnx(tmp_path / "model.onnx", ids, token_types, attention)["logits"].argmax(2)[attention.numpy()]
    assert loss.same_choice == (found == 7).mean()


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_tied_decoder_is_in_the_file_once(precision: Precision) -> None:
    shape = Shape(1, 64, 5000, positions=8)
    model = build(random_bert(shape), "fill-mask", precision)
    table_bytes = 5000 * 64 * (4 if precision == "fp32" else 1)
    assert table_bytes < model.ByteSize() < 1.7 * table_bytes


def test_onnxruntime_makes_the_quick_form_of_the_graph(tmp_path: Path) -> None:
    bert = random_bert(SHAPES[0])
    single = optimized(build(bert, "fill-mask"), tmp_path)
    assert single["Gemm"] == 2 * 6 + 2
    assert single["FusedMatMul"] == 2  # the scores, with their division
    eighth = optimized(build(bert, "fill-mask", "int8"), tmp_path)
    assert eighth["MatMulIntegerToFloat"] == 2 * 3  # queries, keys and values share the quantization of their input
    assert eighth["DynamicQuantizeMatMul"] == 2 * 3 + 2
    assert eighth["MatMulInteger"] == 0
    for counts in (single, eighth):
        assert counts["Gelu"] == 3
        assert counts["SkipLayerNormalization"] == counts["BiasGelu"] == 0  # slower on a CPU than their parts


def test_a_half_precision_model_gives_a_float32_file_of_its_values(tmp_path: Path) -> None:
    bert, inputs = random_bert(SHAPES[0]).half(), batch(SHAPES[0], [5, 2])
    write_onnx(bert, "features", tmp_path / "model.onnx")
    assert measured_loss(bert, "features", tmp_path / "model.onnx", *inputs).largest_difference < 2e-5
    assert bert.encoder.embeddings.token.weight.dtype == torch.float16


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    bert = Bert(SHAPES[0], ["pooler", "classifier"], labels=2)
    with pytest.raises(
        UserError, match=r"no masked-LM head, which fill-mask needs\. Accepted: features, classify here"
    ):
        write_onnx(bert, "fill-mask", tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_model_too_large_for_one_file_is_refused_before_it_is_built() -> None:
    with torch.device("meta"):
        bert = Bert(Shape(2, 1024, 1_000_000), [])
    with pytest.raises(UserError, match=r"4\.2 GB.*at most 2\.1 GB.*int8"):
        build(bert, "features")


def test_a_missing_library_is_an_error_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"pip install 'weixing\[onnx\]'"):
        write_onnx(random_bert(SHAPES[1]), "features", tmp_path / "model.onnx")
