"""Export and import of the Hugging Face layout: what comes back, and every way a folder can be wrong."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
import transformers

from weixing.errors import UserError
from weixing.formats.huggingface import (
    export_classifier,
    export_masked_lm,
    import_classifier,
    import_masked_lm,
    import_model,
)
from weixing.model.encoder import Encoder
from weixing.model.heads import Classifier, MaskedLanguageModel
from weixing.text.vocabulary import Vocabulary
from weixing.zoo import Shape

LABELS = ["体育", "财经", "娱乐"]
IDS = torch.tensor([[2, 5, 6, 4, 7, 3], [2, 9, 4, 8, 1, 3]])


@pytest.fixture
def folder(tmp_path: Path, model: MaskedLanguageModel, vocabulary: Vocabulary) -> Path:
    export_masked_lm(model, vocabulary, tmp_path / "model")
    return tmp_path / "model"


def change_config(folder: Path, **fields: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def change_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    path = folder / "model.safetensors"
    tensors = safetensors.torch.load(path.read_bytes())
    change(tensors)
    path.write_bytes(safetensors.torch.save(tensors))


def test_a_masked_language_model_comes_back_bit_for_bit(folder: Path, model: MaskedLanguageModel) -> None:
    reloaded, vocabulary = import_masked_lm(folder)
    assert reloaded.encoder.shape == model.encoder.shape
    assert vocabulary.tokens[5:9] == ("中", "国", "的", "首")
    for name, tensor in model.state_dict().items():
        assert torch.equal(reloaded.state_dict()[name], tensor), name
    assert torch.equal(reloaded(IDS), model(IDS))
    assert all(parameter.requires_grad for parameter in reloaded.parameters())


def test_a_classifier_comes_back_with_its_labels(
    tmp_path: Path, classifier: Classifier, vocabulary: Vocabulary
) -> None:
    export_classifier(classifier, vocabulary, LABELS, tmp_path / "classifier")
    reloaded, _, labels = import_classifier(tmp_path / "classifier")
    assert labels == LABELS
    assert torch.equal(reloaded(IDS), classifier(IDS))


def test_the_folder_holds_the_files_of_the_layout_readable_by_all_and_the_decoder_once(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
    ]
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1
    with safetensors.safe_open(folder / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
        assert not any("decoder" in name for name in file.keys())  # noqa: SIM118


def test_the_card_is_the_one_given(tmp_path: Path, model: MaskedLanguageModel, vocabulary: Vocabulary) -> None:
    export_masked_lm(model, vocabulary, tmp_path / "model", model_card="# 卡片\n")
    assert (tmp_path / "model/README.md").read_text(encoding="utf-8") == "# 卡片\n"


def test_an_existing_folder_is_kept_unless_it_may_be_overwritten(
    folder: Path, model: MaskedLanguageModel, vocabulary: Vocabulary
) -> None:
    before = (folder / "model.safetensors").read_bytes()
    with torch.no_grad():
        model.head.bias += 1
    with pytest.raises(UserError, match="exists already"):
        export_masked_lm(model, vocabulary, folder)
    assert (folder / "model.safetensors").read_bytes() == before
    export_masked_lm(model, vocabulary, folder, overwrite=True)
    assert torch.equal(import_masked_lm(folder)[0].head.bias, model.head.bias)


def test_a_model_being_trained_with_dropout_is_exported_and_left_as_it_was(
    tmp_path: Path, model: MaskedLanguageModel, vocabulary: Vocabulary
) -> None:
    model.encoder.set_dropout(0.1)
    model.train()
    export_masked_lm(model, vocabulary, tmp_path / "model")
    assert model.training
    assert model.encoder.embeddings.dropout.p == 0.1


@pytest.mark.parametrize("where", ["one weight", "the vocabulary"])
def test_a_folder_that_reads_back_differently_never_appears(
    where: str,
    tmp_path: Path,
    model: MaskedLanguageModel,
    vocabulary: Vocabulary,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save, write = safetensors.torch.save, Vocabulary.write

    def save_wrongly(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> bytes:
        name = "bert.encoder.layer.1.attention.self.key.weight"
        wrong = tensors[name].clone()
        wrong[3, 5] += 1e-7
        return save(tensors | {name: wrong}, metadata)

    def write_wrongly(self: Vocabulary, path: Path) -> None:
        write(Vocabulary([*self.tokens[:-1], "2025"]), path)

    if where == "one weight":
        monkeypatch.setattr(safetensors.torch, "save", save_wrongly)
    else:
        monkeypatch.setattr(Vocabulary, "write", write_wrongly)
    with pytest.raises(RuntimeError, match=r"key_value\.weight|vocab\.txt"):
        export_masked_lm(model, vocabulary, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_diverged_is_not_exported(
    tmp_path: Path, model: MaskedLanguageModel, vocabulary: Vocabulary
) -> None:
    with torch.no_grad():
        model.head.dense.weight[0, 0] = float("nan")
    with pytest.raises(UserError, match=r"head\.dense\.weight.*diverged"):
        export_masked_lm(model, vocabulary, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_vocabulary_or_labels_of_another_size_are_refused(
    tmp_path: Path, model: MaskedLanguageModel, classifier: Classifier, vocabulary: Vocabulary
) -> None:
    with pytest.raises(UserError, match="vocabulary of 26 tokens"):
        export_masked_lm(model, Vocabulary([*vocabulary.tokens, "多"]), tmp_path / "model")
    with pytest.raises(UserError, match="3 names"):
        export_classifier(classifier, vocabulary, LABELS[:2], tmp_path / "model")
    with pytest.raises(UserError, match="each once"):
        export_classifier(classifier, vocabulary, ["是", "否", "是"], tmp_path / "model")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden_size": None}, "hidden_size is missing"),
        ({"hidden_size": 192, "num_attention_heads": 3, "intermediate_size": 768}, r"\[25, 128\].*\[25, 192\]"),
        ({"num_hidden_layers": 3}, r"layer\.2\..* is missing.*3 layers"),
        ({"num_hidden_layers": 1}, r"16 tensors .*encoder\.layer\.1"),
        ({"num_attention_heads": 3}, "num_attention_heads is 3.*Accepted: a divisor of 128"),
        ({"intermediate_size": 500}, r"intermediate\.dense\.weight.*\[512, 128\].*\[500, 128\]"),
        ({"max_position_embeddings": 40}, r"position_embeddings.* \[48, 128\].*\[40, 128\]"),
        ({"vocab_size": 30}, "25 tokens, but config.json says vocab_size 30"),
        ({"hidden_act": "relu"}, "hidden_act is 'relu'.*'gelu'"),
        ({"layer_norm_eps": 1e-5}, "layer_norm_eps is 1e-05"),
        ({"model_type": "roberta"}, "model_type is 'roberta'.*'bert'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ({"is_decoder": True}, "is_decoder is True"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings is False"),
    ],
)
def test_a_config_that_is_not_of_these_tensors_or_no_model_of_ours_is_refused(
    fields: dict[str, object], message: str, folder: Path
) -> None:
    change_config(folder, **fields)
    with pytest.raises(UserError, match=message) as error:
        import_masked_lm(folder)
    assert str(folder) in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("cls.predictions.transform.dense.bias"), r"transform\.dense\.bias is missing"),
        (lambda tensors: tensors.update({"bert.extra.weight": torch.ones(1)}), r"1 tensors .* bert\.extra\.weight"),
        (
            lambda tensors: tensors.update({"cls.predictions.decoder.weight": torch.ones(25, 128)}),
            r"decoder\.weight differs from bert\.embeddings\.word_embeddings\.weight.*not tied",
        ),
        (
            lambda tensors: tensors.update({"bert.encoder.layer.0.output.dense.weight": torch.ones(128, 100)}),
            r"layer\.0\.output\.dense\.weight has the shape \[128, 100\].*\[128, 512\]",
        ),
    ],
)
def test_a_tensor_that_is_missing_unknown_untied_or_of_another_shape_is_named(
    change: Callable[[dict[str, torch.Tensor]], object], message: str, folder: Path
) -> None:
    change_tensors(folder, change)
    with pytest.raises(UserError, match=message):
        import_masked_lm(folder)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "vocab.txt"])
def test_a_file_that_is_missing_or_damaged_is_named(file: str, folder: Path) -> None:
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[: len(content) // 2] + b"\xff")
    with pytest.raises(UserError, match=file):
        import_masked_lm(folder)
    (folder / file).unlink()
    (folder / "tokenizer.json").unlink()  # which holds the vocabulary, too
    with pytest.raises(UserError, match=file):
        import_masked_lm(folder)


def test_a_config_that_names_no_labels_is_refused(
    tmp_path: Path, classifier: Classifier, vocabulary: Vocabulary
) -> None:
    export_classifier(classifier, vocabulary, LABELS, tmp_path / "classifier")
    change_config(tmp_path / "classifier", id2label={"0": "体育", "2": "娱乐"})
    with pytest.raises(UserError, match="id2label"):
        import_classifier(tmp_path / "classifier")


@pytest.mark.parametrize("kind", [transformers.BertForMaskedLM, transformers.BertForPreTraining])
def test_a_folder_that_transformers_saved_is_read_and_what_is_left_out_is_said(
    kind: type, tmp_path: Path, shape: Shape, vocabulary: Vocabulary, capsys: pytest.CaptureFixture[str]
) -> None:
    config = transformers.BertConfig(
        vocab_size=shape.vocabulary_size,
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=512,
        max_position_embeddings=48,
    )
    torch.manual_seed(1)
    theirs = kind(config).eval()
    theirs.save_pretrained(tmp_path)
    vocabulary.write(tmp_path / "vocab.txt")
    ours, _ = import_masked_lm(tmp_path)
    expected = theirs(IDS, return_dict=False)[0]
    assert (ours(IDS) - expected).abs().max() < 1e-5 * expected.abs().max()
    said = capsys.readouterr().err
    whole = kind is transformers.BertForPreTraining
    assert ("not used: next-sentence head and pooler" in said) == whole


def test_half_precision_weights_become_float32(folder: Path) -> None:
    change_tensors(folder, lambda tensors: tensors.update({name: t.half() for name, t in tensors.items()}))
    model, _ = import_masked_lm(folder)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_second_copies_of_the_tied_tensors_and_old_position_numbers_are_accepted_in_silence(
    folder: Path, model: MaskedLanguageModel, capsys: pytest.CaptureFixture[str]
) -> None:
    def add(tensors: dict[str, torch.Tensor]) -> None:
        tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"].clone()
        tensors["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"].clone()
        tensors["bert.embeddings.position_ids"] = torch.arange(48)[None]

    change_tensors(folder, add)
    assert torch.equal(import_masked_lm(folder)[0](IDS), model(IDS))
    assert capsys.readouterr().err == ""


@pytest.fixture
def old_folder(folder: Path) -> Path:
    """The same model as pytorch_model.bin alone, its LayerNorms with gamma and beta."""
    tensors = transformers.BertForMaskedLM.from_pretrained(folder).state_dict()
    for name in [name for name in tensors if "LayerNorm" in name]:
        tensors[name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta")] = tensors.pop(name)
    assert sum(name.endswith(("gamma", "beta")) for name in tensors) == 2 * (1 + 2 * 2 + 1)
    torch.save(tensors, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


def test_a_pickle_of_weights_with_gamma_and_beta_is_read(
    old_folder: Path, model: MaskedLanguageModel, capsys: pytest.CaptureFixture[str]
) -> None:
    reloaded, _ = import_masked_lm(old_folder)
    for name, tensor in model.state_dict().items():
        assert torch.equal(reloaded.state_dict()[name], tensor), name
    assert capsys.readouterr().err == ""


class Touch:
    """Unpickling this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("content", ["code", "no tensors", "half a file", "nothing"])
def test_a_pickle_that_is_no_state_dict_is_refused_and_runs_nothing(content: str, old_folder: Path) -> None:
    file = old_folder / "pytorch_model.bin"
    if content == "code":
        torch.save({"bert.pooler.dense.bias": Touch(old_folder / "ran")}, file)
    elif content == "no tensors":
        torch.save({"epoch": 3}, file)
    else:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2 if content == "half a file" else 0])
    with pytest.raises(UserError, match=r"pytorch_model\.bin: this file is damaged, or holds other things"):
        import_masked_lm(old_folder)
    assert not (old_folder / "ran").exists()


@pytest.mark.parametrize("kind", [transformers.BertModel, transformers.BertForTokenClassification])
def test_the_encoder_of_any_bert_is_read(kind: type, folder: Path, model: MaskedLanguageModel) -> None:
    kind.from_pretrained(folder).save_pretrained(folder)
    encoder, _ = import_model(folder)
    assert isinstance(encoder, Encoder)
    assert torch.equal(encoder(IDS), model.encoder(IDS))
    with pytest.raises(UserError, match="no masked-LM head"):
        import_masked_lm(folder)
