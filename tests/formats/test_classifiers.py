"""Classifiers of every kind, of texts and of tokens: what they are is kept by every format, and by transformers."""

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
import transformers

from weixing.errors import UserError
from weixing.formats.convert import convert
from weixing.formats.huggingface import (
    export_classifier,
    export_masked_lm,
    import_classifier,
    import_masked_lm,
    import_model,
    read_folder,
)
from weixing.formats.inspection import inspect
from weixing.model.encoder import Encoder
from weixing.model.heads import AnyClassifier, Classifier, MaskedLanguageModel, TokenClassifier
from weixing.model.initialisation import initialise
from weixing.text.vocabulary import Vocabulary
from weixing.zoo import Shape

LABELS = {
    "single_label_classification": ["体育", "财经", "娱乐"],
    "multi_label_classification": ["快", "好", "便宜"],
    "regression": ["value"],
    "tokens": ["O", "B-地名", "I-地名"],
}
KINDS = tuple(LABELS)
IDS = torch.tensor([[2, 5, 6, 4, 7, 3], [2, 9, 4, 8, 1, 3]])

every_kind = pytest.mark.parametrize("kind", KINDS)


def make(kind: str, shape: Shape) -> AnyClassifier:
    encoder, outputs = Encoder(shape), len(LABELS[kind])
    model = TokenClassifier(encoder, outputs) if kind == "tokens" else Classifier(encoder, outputs, kind)
    initialise(model, "uer")
    with torch.no_grad():
        model.output.weight *= 50
    return model.eval()


@pytest.fixture
def exported(request, tmp_path: Path, shape: Shape, vocabulary: Vocabulary) -> tuple[AnyClassifier, Path]:
    model = make(request.param, shape)
    export_classifier(model, vocabulary, LABELS[request.param], tmp_path / request.param)
    return model, tmp_path / request.param


every_export = pytest.mark.parametrize("exported", KINDS, indirect=True)


def change_config(folder: Path, **fields: object) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text()) | fields
    path.write_text(json.dumps({name: value for name, value in config.items() if value is not None}))


def same(one: AnyClassifier, other: AnyClassifier, tolerance: float = 0.0) -> bool:
    assert type(one) is type(other)
    assert getattr(one, "problem_type", None) == getattr(other, "problem_type", None)
    with torch.inference_mode():
        return bool((one.eval()(IDS) - other.eval()(IDS)).abs().max() <= tolerance)


@every_export
def test_it_comes_back_bit_for_bit_with_its_labels_and_what_they_mean(exported: tuple[AnyClassifier, Path]) -> None:
    model, folder = exported
    reloaded, _, labels = import_classifier(folder)
    assert labels == LABELS[folder.name]
    assert same(reloaded, model)


@every_export
def test_transformers_opens_it_with_equal_logits(exported: tuple[AnyClassifier, Path]) -> None:
    model, folder = exported
    tokens = folder.name == "tokens"
    kind = transformers.BertForTokenClassification if tokens else transformers.BertForSequenceClassification
    theirs, info = kind.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert info["unexpected_keys"] == ({"bert.pooler.dense.weight", "bert.pooler.dense.bias"} if tokens else set())
    assert theirs.config.problem_type == (None if tokens else folder.name)
    assert theirs.config.architectures == [kind.__name__]
    token_types = torch.tensor([[0, 0, 0, 1, 1, 1]] * 2)
    attention = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
    with torch.inference_mode():
        expected = theirs.eval()(IDS, token_type_ids=token_types, attention_mask=attention).logits
        ours = model(IDS, token_types, attention.bool())
    real = attention.bool() if tokens else slice(None)
    torch.testing.assert_close(ours[real], expected[real], rtol=1e-5, atol=1e-5)


@every_export
def test_a_pipeline_of_transformers_says_what_it_means(exported: tuple[AnyClassifier, Path], vocabulary) -> None:
    model, folder = exported
    ids = torch.tensor([[vocabulary.cls_id, *(vocabulary.tokens.index(c) for c in "北京你好"), vocabulary.sep_id]])
    with torch.inference_mode():
        logits = model(ids)[0]
    if folder.name == "tokens":
        found = transformers.pipeline("token-classification", model=str(folder), ignore_labels=[])("北京你好")
        assert [word["entity"] for word in found] == [LABELS["tokens"][n] for n in logits[1:-1].argmax(1)]
        return
    found = transformers.pipeline("text-classification", model=str(folder), top_k=None)(["北京你好"])[0]
    scores = {"single_label_classification": logits.softmax(0), "regression": logits}.get(folder.name, logits.sigmoid())
    expected = dict(zip(LABELS[folder.name], scores.tolist(), strict=True))
    assert {row["label"]: row["score"] for row in found} == pytest.approx(expected, rel=1e-4)


@every_export
@pytest.mark.parametrize("to", ["hf", "uer", "tf", "keras"])
def test_it_goes_through_every_format_that_has_it(
    exported: tuple[AnyClassifier, Path], to: str, tmp_path: Path
) -> None:
    model, folder = exported
    if to == "uer" and folder.name == "tokens":
        with pytest.raises(UserError, match="--to uer for a classifier of tokens"):
            convert(str(folder), tmp_path / "out", to)
        return
    assert not convert(str(folder), tmp_path / "out", to).left_out
    if to == "tf":
        (tmp_path / "out" / "model.safetensors").unlink(missing_ok=True)
        (tmp_path / "out" / "pytorch_model.bin").unlink(missing_ok=True)
    convert(str(tmp_path / "out"), tmp_path / "back", "hf")
    back, _, labels = import_classifier(tmp_path / "back")
    assert labels == LABELS[folder.name]
    assert same(back, model, tolerance=1e-4)


@every_export
def test_inspect_tells_its_parts(exported: tuple[AnyClassifier, Path]) -> None:
    found = inspect(str(exported[1]))
    assert found.parts == (["token_classifier"] if exported[1].name == "tokens" else ["pooler", "classifier"])
    assert (found.missing, found.unknown, found.problems) == ([], [], [])


@every_export
def test_its_encoder_is_taken_for_further_training(exported: tuple[AnyClassifier, Path]) -> None:
    model, folder = exported
    encoder, _ = import_model(folder)
    assert torch.equal(encoder(IDS), model.encoder(IDS))


def test_a_classifier_of_tokens_that_transformers_saved_has_no_pooler(
    tmp_path: Path, shape: Shape, vocabulary: Vocabulary
) -> None:
    export_classifier(make("tokens", shape), vocabulary, LABELS["tokens"], tmp_path / "ours")
    theirs = transformers.BertForTokenClassification.from_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    vocabulary.write(tmp_path / "theirs" / "vocab.txt")
    assert "bert.pooler.dense.weight" not in safetensors.torch.load_file(tmp_path / "theirs" / "model.safetensors")
    model, _, labels = import_classifier(tmp_path / "theirs")
    assert labels == LABELS["tokens"]
    assert same(model, import_classifier(tmp_path / "ours")[0])
    change_config(tmp_path / "theirs", architectures=None)
    assert same(import_classifier(tmp_path / "theirs")[0], model)


def test_a_classifier_of_texts_on_a_frozen_identity_is_one_of_texts(
    tmp_path: Path, shape: Shape, vocabulary: Vocabulary
) -> None:
    model = make("single_label_classification", shape)
    with torch.no_grad():
        model.dense.weight.copy_(torch.eye(shape.hidden))
        model.dense.bias.zero_()
    export_classifier(model, vocabulary, LABELS["single_label_classification"], tmp_path / "model")
    assert same(import_classifier(tmp_path / "model")[0], model)


@pytest.mark.parametrize("exported", ["multi_label_classification", "regression"], indirect=True)
def test_where_nothing_says_what_outputs_mean_a_conversion_says_nothing_either(
    exported: tuple[AnyClassifier, Path], tmp_path: Path
) -> None:
    change_config(exported[1], problem_type=None)
    convert(str(exported[1]), tmp_path / "out", "hf")
    assert "problem_type" not in json.loads((tmp_path / "out" / "config.json").read_text())
    assert read_folder(tmp_path / "out").bert.problem_type is None
    model, *_ = import_classifier(tmp_path / "out")
    expected = "multi_label_classification" if exported[1].name == "regression" else "single_label_classification"
    assert model.problem_type == expected


@pytest.mark.parametrize("exported", ["regression"], indirect=True)
def test_a_problem_that_nobody_knows_is_refused(exported: tuple[AnyClassifier, Path]) -> None:
    change_config(exported[1], problem_type="ranking")
    with pytest.raises(UserError, match=r"config.json: problem_type is 'ranking'. Accepted: single_label_class"):
        import_classifier(exported[1])


def test_a_masked_language_model_is_no_classifier(
    tmp_path: Path, model: MaskedLanguageModel, vocabulary: Vocabulary
) -> None:
    export_masked_lm(model, vocabulary, tmp_path / "model")
    with pytest.raises(UserError, match="there is no classifier here"):
        import_classifier(tmp_path / "model")
    assert torch.equal(import_masked_lm(tmp_path / "model")[0].head.bias, model.head.bias)
