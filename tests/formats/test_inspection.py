"""What `weixing inspect` tells of good, broken and dangerous files."""

from pathlib import Path

import pytest
import torch

from tests.formats.golden import GOLDEN
from weixing.errors import UserError
from weixing.formats.convert import convert
from weixing.formats.huggingface import export_classifier, export_masked_lm
from weixing.formats.inspection import inspect, summary
from weixing.model.heads import Classifier, MaskedLanguageModel
from weixing.text.vocabulary import Vocabulary, load_vocabulary
from weixing.zoo import Shape


def test_a_uer_checkpoint_tells_its_shape_parts_and_layer_norms() -> None:
    found = inspect(str(GOLDEN / "bert.bin-200"), GOLDEN / "bert_config.json")
    assert found.format == "UER-py checkpoint"
    assert found.shape == Shape(2, 64, 1028, positions=128, head_units=32, feed_forward=128)
    assert found.parts == ["head", "pooler", "next_sentence"]
    assert "unbiased" in found.layer_norms
    assert (found.missing, found.unknown, found.problems) == ([], [], [])
    assert found.parameters == 150_790


def test_a_model_folder_tells_its_vocabulary_and_numbers(
    tmp_path: Path, model: MaskedLanguageModel, vocabulary: Vocabulary
) -> None:
    export_masked_lm(model, vocabulary, tmp_path / "model")
    found = summary(inspect(str(tmp_path / "model")))
    assert found["format"] == "Hugging Face folder"
    assert found["parameters"] == sum(p.numel() for p in model.parameters())
    assert (found["shape"], found["heads"], found["vocabulary_size"]) == ("2/128", 2, 25)
    assert found["vocabulary"] == str(tmp_path / "model" / "vocab.txt")
    assert found["tensors"] == {"float32": 44}


def test_a_shape_is_told_from_a_model() -> None:
    with pytest.raises(UserError, match=r"2/128 is a shape, not a file.*weixing zoo"):
        inspect("2/128")


def test_layer_norms_look_folded_or_not_where_the_weights_can_tell(
    tmp_path: Path, model: MaskedLanguageModel, vocabulary: Vocabulary
) -> None:
    for value, name in ((1.0, "not folded"), ((127 / 128) ** 0.5, "folded")):
        with torch.no_grad():
            for parameter_name, parameter in model.named_parameters():
                if parameter_name.endswith("norm.weight"):
                    parameter.fill_(value)
        export_masked_lm(model, vocabulary, tmp_path / name)
        assert inspect(str(tmp_path / name)).layer_norms.startswith(name)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("norm.weight"):
                parameter.normal_(0.9, 0.1)
    export_masked_lm(model, vocabulary, tmp_path / "trained")
    assert inspect(str(tmp_path / "trained")).layer_norms.startswith("trained, and nothing says")
    config, words = GOLDEN / "mlm_config.json", load_vocabulary(GOLDEN / "vocab.txt")
    convert(str(GOLDEN / "mlm.bin-200"), tmp_path / "from-uer", "hf", config=config, vocabulary=words)
    assert inspect(str(tmp_path / "from-uer")).layer_norms == "folded, as its configuration says"


def test_missing_and_unknown_tensors_are_listed_and_the_problem_said(tmp_path: Path) -> None:
    tensors = torch.load(GOLDEN / "mlm.bin-200", weights_only=True)
    del tensors["encoder.transformer.1.layer_norm_2.beta"]
    tensors["encoder.rotary.weight"] = torch.ones(3)
    torch.save(tensors, tmp_path / "odd.bin")
    found = inspect(str(tmp_path / "odd.bin"), GOLDEN / "mlm_config.json")
    assert found.missing == ["encoder.transformer.1.layer_norm_2.beta"]
    assert found.unknown == ["encoder.rotary.weight"]
    assert "layer_norm_2.beta is missing" in found.problems[0]


def test_a_vocabulary_of_another_size_is_a_problem(
    tmp_path: Path, classifier: Classifier, vocabulary: Vocabulary
) -> None:
    export_classifier(classifier, vocabulary, ["甲", "乙", "丙"], tmp_path / "model")
    (tmp_path / "model" / "vocab.txt").write_text("\n".join([*vocabulary.tokens, "多"]) + "\n", encoding="utf-8")
    found = inspect(str(tmp_path / "model"))
    assert found.parts == ["pooler", "classifier"]
    assert found.problems == [f"{tmp_path / 'model' / 'vocab.txt'}: 26 tokens for a model of 25"]


def test_a_file_that_would_run_code_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    class Touch:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "ran",)

    torch.save({"embedding.word.embedding.weight": Touch()}, tmp_path / "evil.bin")
    with pytest.raises(UserError, match="which might run"):
        inspect(str(tmp_path / "evil.bin"))
    assert not (tmp_path / "ran").exists()
