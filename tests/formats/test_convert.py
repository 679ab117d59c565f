"""Any format to any other: the outputs stay, what is left out is said, and on failure nothing is left behind."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
import transformers

from tests.formats.golden import GOLDEN, VOCABULARY, distances, question
from weixing.errors import UserError
from weixing.formats import convert as convert_module
from weixing.formats.convert import Options, convert, summary
from weixing.formats.huggingface import export_classifier, export_masked_lm, read_folder
from weixing.formats.naming import load_masked_lm
from weixing.formats.reading import read_model
from weixing.formats.source import at_tokens
from weixing.model.heads import Classifier, MaskedLanguageModel
from weixing.text.vocabulary import Vocabulary, load_vocabulary

Measured = Callable[[str, str, str, float], None]
READABLE = {"hf": "Hugging Face", "uer": "UER-py", "tf": "TensorFlow (h5)", "keras": "Keras", "onnx": "ONNX, fp32"}
TARGETS = tuple(READABLE)


@pytest.fixture
def masked_lm(tmp_path: Path, model: MaskedLanguageModel, vocabulary: Vocabulary) -> Path:
    export_masked_lm(model, vocabulary, tmp_path / "masked-lm")
    return tmp_path / "masked-lm"


@pytest.fixture
def tuned(tmp_path: Path, classifier: Classifier, vocabulary: Vocabulary) -> Path:
    export_classifier(classifier, vocabulary, ["体育", "财经", "娱乐"], tmp_path / "tuned")
    return tmp_path / "tuned"


def uer(checkpoint: str, folder: Path, to: str = "hf", options: Options | None = None) -> Path:
    config = GOLDEN / ("bert_config.json" if checkpoint.startswith("bert") else "mlm_config.json")
    vocabulary = load_vocabulary(VOCABULARY)
    convert(str(GOLDEN / checkpoint), folder, to, config=config, vocabulary=vocabulary, options=options)
    return folder


@pytest.mark.parametrize("to", TARGETS)
def test_a_masked_language_model_goes_everywhere_and_says_how_far_off_it_is(
    to: str, masked_lm: Path, tmp_path: Path, measured: Measured
) -> None:
    done = convert(str(masked_lm), tmp_path / "out", to)
    assert done.largest_difference < 2e-4
    against = "itself, run by ONNX Runtime" if to == "onnx" else "itself, read back"
    measured(READABLE[to], "out", against, done.largest_difference)
    assert summary(done, to, tmp_path / "out")["from"] == "Hugging Face folder"
    assert not done.left_out


@pytest.mark.parametrize("first", ["uer", "tf"])
def test_there_and_back_is_the_same_model(
    first: str, masked_lm: Path, model: MaskedLanguageModel, tmp_path: Path
) -> None:
    convert(str(masked_lm), tmp_path / "there", first)
    if first == "tf":  # only its own file, so that this is what is read
        (tmp_path / "there" / "pytorch_model.safetensors").unlink()
    convert(str(tmp_path / "there"), tmp_path / "back", "hf")
    back = read_folder(tmp_path / "back").bert.masked_lm()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(back.state_dict()[name], tensor, rtol=2e-7 if "norm" in name else 0, atol=0)


def test_a_folder_for_tensorflow_opens_in_torch_as_well(
    masked_lm: Path, model: MaskedLanguageModel, tmp_path: Path
) -> None:
    convert(str(masked_lm), tmp_path / "tf", "tf")
    theirs = transformers.BertForMaskedLM.from_pretrained(tmp_path / "tf").eval()
    ids = torch.tensor([[2, 5, 6, 4, 7, 3]])
    torch.testing.assert_close(theirs(ids).logits, model(ids), rtol=0, atol=1e-4)
    assert torch.equal(load_masked_lm(str(tmp_path / "tf"))[0](ids), model(ids))


def test_a_classifier_takes_its_labels_along(tuned: Path, classifier: Classifier, tmp_path: Path) -> None:
    convert(str(tuned), tmp_path / "uer", "uer")
    config = json.loads((tmp_path / "uer" / "uer_config.json").read_text())
    assert config["layers_num"] == 2
    (tmp_path / "uer" / "uer_config.json").write_text(json.dumps({**config, "labels": None}))
    convert(str(tmp_path / "uer"), tmp_path / "unnamed", "hf")
    assert read_folder(tmp_path / "unnamed").labels == ["LABEL_0", "LABEL_1", "LABEL_2"]
    convert(str(tmp_path / "uer"), tmp_path / "named", "hf", options=Options(labels=["甲", "乙", "丙"]))
    theirs = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "named").eval()
    assert theirs.config.id2label == {0: "甲", 1: "乙", 2: "丙"}
    ids = torch.tensor([[2, 5, 6, 4, 7, 3], [2, 9, 4, 8, 1, 3]])
    torch.testing.assert_close(theirs(ids).logits, classifier(ids), rtol=0, atol=2e-5)


def test_sentence_prediction_and_its_pooler_arrive_in_transformers(tmp_path: Path, measured: Measured) -> None:
    theirs = transformers.BertForPreTraining.from_pretrained(uer("bert.bin-200", tmp_path / "hf")).eval()
    ids, token_types, attention = question()
    with torch.inference_mode():
        got = theirs(ids, token_type_ids=token_types, attention_mask=attention.long(), output_hidden_states=True)
        pooled = theirs.bert(ids, token_type_ids=token_types, attention_mask=attention.long()).pooler_output
    outputs = {
        "hidden": got.hidden_states[-1], "head": got.prediction_logits,
        "pooler": pooled, "next_sentence": got.seq_relationship_logits,
    }  # fmt: skip
    found = distances(outputs, "bert.bin-200")
    assert max(found.values()) < 2e-5
    measured("Hugging Face", "out", "UER-py's checkpoint in UER-py and in transformers", max(found.values()))


def test_as_published_is_what_uers_own_converter_makes_and_its_distance_is_said(tmp_path: Path) -> None:
    config, vocabulary = GOLDEN / "mlm_config.json", load_vocabulary(VOCABULARY)
    done = convert(
        str(GOLDEN / "mlm.bin-200"), tmp_path / "plain", "hf",
        config=config, vocabulary=vocabulary, options=Options(as_published=True),
    )  # fmt: skip
    assert 1e-2 < done.largest_difference < 1e-1
    raw = torch.load(GOLDEN / "mlm.bin-200", weights_only=True)
    tensors = safetensors.torch.load_file(tmp_path / "plain" / "model.safetensors")
    assert torch.equal(tensors["bert.embeddings.LayerNorm.weight"], raw["embedding.layer_norm.gamma"])
    assert json.loads((tmp_path / "plain" / "config.json").read_text())["uer_layer_norms_folded"] is False


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_kept_unless_told(dtype: torch.dtype, masked_lm: Path, tmp_path: Path) -> None:
    convert(str(masked_lm), tmp_path / "half", "hf", options=Options(dtype=dtype))
    half = safetensors.torch.load_file(tmp_path / "half" / "model.safetensors")
    assert {tensor.dtype for tensor in half.values()} == {dtype}
    convert(str(tmp_path / "half"), tmp_path / "kept", "hf")
    kept = safetensors.torch.load_file(tmp_path / "kept" / "model.safetensors")
    assert kept.keys() == half.keys()
    assert all(torch.equal(kept[name], half[name]) for name in half)
    convert(str(tmp_path / "half"), tmp_path / "single", "hf", options=Options(dtype=torch.float32))
    single = safetensors.torch.load_file(tmp_path / "single" / "model.safetensors")
    assert all(torch.equal(single[name], half[name].float()) for name in half)


@pytest.mark.parametrize("kind", [transformers.BertModel, transformers.BertForPreTraining])
@pytest.mark.parametrize("form", ["sharded", "pickle", "sharded pickles"])
def test_what_transformers_saved_in_any_form_is_read_with_all_its_parts(
    kind: type, form: str, tmp_path: Path, vocabulary: Vocabulary, measured: Measured
) -> None:
    config = transformers.BertConfig(
        vocab_size=len(vocabulary), hidden_size=96, num_hidden_layers=2, num_attention_heads=3,
        intermediate_size=160, max_position_embeddings=40,
    )  # fmt: skip
    torch.manual_seed(3)
    theirs = kind(config).eval()
    theirs.save_pretrained(tmp_path, max_shard_size="100KB" if form == "sharded" else "5GB")
    vocabulary.write(tmp_path / "vocab.txt")
    if "pickle" in form:
        (tmp_path / "model.safetensors").unlink()
        tensors = theirs.state_dict()
        if form == "pickle":
            torch.save(tensors, tmp_path / "pytorch_model.bin")
        else:
            files = {name: f"pytorch_model-{number % 3}.bin" for number, name in enumerate(tensors)}
            for file in set(files.values()):
                torch.save({name: t for name, t in tensors.items() if files[name] == file}, tmp_path / file)
            (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": files}))
    else:
        assert (tmp_path / "model.safetensors.index.json").is_file()
    source = read_model(str(tmp_path))
    assert source.bert.parts == (["pooler"] if kind is transformers.BertModel else ["head", "pooler", "next_sentence"])
    ids = torch.tensor([[2, 5, 6, 4, 7, 3], [2, 9, 4, 3, 0, 0]])
    attention = torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    with torch.inference_mode():
        ours = source.bert(ids, torch.zeros_like(ids), attention.bool())
        expected = theirs(ids, attention_mask=attention, return_dict=True, output_hidden_states=True)
    torch.testing.assert_close(ours["hidden"][0], expected.hidden_states[-1][0], rtol=0, atol=1e-5)
    difference = float((ours["hidden"][0] - expected.hidden_states[-1][0]).abs().max())
    measured("Hugging Face", "in", "transformers", difference)
    if kind is transformers.BertModel:
        torch.testing.assert_close(ours["pooler"], expected.pooler_output, rtol=0, atol=1e-5)
    else:
        torch.testing.assert_close(ours["next_sentence"], expected.seq_relationship_logits, rtol=0, atol=1e-5)


def test_a_learnt_pooler_that_uer_has_no_place_for_is_said_to_be_left_out(
    tmp_path: Path, vocabulary: Vocabulary
) -> None:
    config = transformers.BertConfig(
        vocab_size=len(vocabulary), hidden_size=128, num_hidden_layers=1, num_attention_heads=2, intermediate_size=512
    )
    transformers.BertModel(config).save_pretrained(tmp_path / "bert")
    vocabulary.write(tmp_path / "bert" / "vocab.txt")
    done = convert(str(tmp_path / "bert"), tmp_path / "uer", "uer")
    assert done.left_out == {"pooler": "has no place there"}


@pytest.mark.parametrize("to", TARGETS)
def test_a_result_that_answers_otherwise_never_appears(
    to: str, masked_lm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is written is another model than the one that was read.
    read = convert_module.read_model

    def read_wrongly(*args: object, **options: object) -> object:
        source = read(*args, **options)
        source.bert.register_forward_hook(
            lambda module, inputs, outputs: {name: output * (1 + 1e-3) for name, output in outputs.items()}
        )
        return source

    monkeypatch.setattr(convert_module, "read_model", read_wrongly)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match="answers differently"):
        convert(str(masked_lm), tmp_path / "out", to)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("to", "options", "message"),
    [
        ("uer", Options(dtype=torch.float16), "--dtype for --to uer"),
        ("hf", Options(head="features"), "--head or --precision for --to hf"),
        ("hf", Options(labels=["是"]), "without a classifier"),
        ("hf", Options(as_published=True), "--as-published"),
        ("onnx", Options(head="classify"), "--head classify for a model with masked-LM head"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    to: str, options: Options, message: str, masked_lm: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        convert(str(masked_lm), tmp_path / "out", to, options=options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vocab.txt", "this file is no model"),
        ("mlm_config.json", "this file is no model"),
        ("expected.npz", "damaged, or holds other things"),
        ("nothing.bin", "there is no model"),
        (".", "there is no model in this folder"),
    ],
)
def test_what_is_no_model_is_refused_with_what_would_be_one(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        convert(str(GOLDEN / name), tmp_path / "out", "hf")
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_alone_needs_its_vocabulary(tmp_path: Path) -> None:
    shutil.copy(GOLDEN / "mlm.bin-200", tmp_path / "alone.bin")
    with pytest.raises(UserError, match=r"comes without its vocabulary.*--vocab"):
        convert(str(tmp_path / "alone.bin"), tmp_path / "out", "hf")


def test_a_vocabulary_of_another_size_is_refused(tmp_path: Path, vocabulary: Vocabulary) -> None:
    with pytest.raises(UserError, match="a vocabulary of 25 tokens for a model of 1028"):
        convert(str(GOLDEN / "mlm.bin-200"), tmp_path / "out", "hf", vocabulary=vocabulary)


def test_an_existing_folder_is_replaced_only_when_told(masked_lm: Path, tmp_path: Path) -> None:
    convert(str(masked_lm), tmp_path / "out", "uer")
    with pytest.raises(UserError, match="exists already"):
        convert(str(masked_lm), tmp_path / "out", "hf")
    convert(str(masked_lm), tmp_path / "out", "hf", overwrite=True)
    assert not (tmp_path / "out" / "uer_model.bin").exists()


def test_without_a_configuration_the_number_of_heads_is_said_to_be_assumed(tmp_path: Path) -> None:
    done = convert(str(GOLDEN / "mlm.bin-200"), tmp_path / "guessed", "hf", vocabulary=load_vocabulary(VOCABULARY))
    assert (summary(done, "hf", tmp_path)["heads"], summary(done, "hf", tmp_path)["heads_assumed"]) == (1, True)
    config = GOLDEN / "mlm_config.json"
    done = convert(
        str(GOLDEN / "mlm.bin-200"), tmp_path / "told", "hf", config=config, vocabulary=load_vocabulary(VOCABULARY)
    )
    assert (summary(done, "hf", tmp_path)["heads"], summary(done, "hf", tmp_path)["heads_assumed"]) == (2, False)


def test_a_written_uer_file_is_read_with_what_lies_beside_it(tmp_path: Path) -> None:
    uer("mlm.bin-200", tmp_path / "uer", "uer")
    source = read_model(str(tmp_path / "uer" / "uer_model.bin"))
    assert source.bert.shape.heads == 2
    assert source.vocabulary == load_vocabulary(VOCABULARY)


def test_a_half_precision_checkpoint_of_uer_is_folded_in_float32(tmp_path: Path) -> None:
    tensors = torch.load(GOLDEN / "mlm.bin-200", weights_only=True)
    torch.save({name: tensor.half() for name, tensor in tensors.items()}, tmp_path / "half.bin")
    config, vocabulary = GOLDEN / "mlm_config.json", load_vocabulary(VOCABULARY)
    done = convert(str(tmp_path / "half.bin"), tmp_path / "hf", "hf", config=config, vocabulary=vocabulary)
    assert done.dtype == "float32"
    assert done.largest_difference < 2e-5


@pytest.mark.parametrize("to", ["uer", "keras"])
def test_a_format_of_two_token_types_refuses_another_number(to: str, tmp_path: Path, vocabulary: Vocabulary) -> None:
    config = transformers.BertConfig(
        vocab_size=len(vocabulary), hidden_size=64, num_hidden_layers=1, num_attention_heads=1, intermediate_size=64,
        type_vocab_size=3,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(tmp_path / "three")
    vocabulary.write(tmp_path / "three" / "vocab.txt")
    with pytest.raises(UserError, match="3 token types"):
        convert(str(tmp_path / "three"), tmp_path / "out", to)


def test_labels_stay_through_uer_and_tensorflow(tuned: Path, tmp_path: Path) -> None:
    convert(str(tuned), tmp_path / "uer", "uer")
    assert read_model(str(tmp_path / "uer")).labels == ["体育", "财经", "娱乐"]
    convert(str(tuned), tmp_path / "tf", "tf")
    (tmp_path / "tf" / "pytorch_model.safetensors").unlink()
    assert read_model(str(tmp_path / "tf")).labels == ["体育", "财经", "娱乐"]


def test_a_tokenizer_that_keeps_capitals_goes_on_keeping_them(masked_lm: Path, tmp_path: Path) -> None:
    file = masked_lm / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"do_lower_case": False}))
    convert(str(masked_lm), tmp_path / "out", "hf")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.tokenize("hello") == ["hello"]
    assert tokenizer.tokenize("Hello") == ["[UNK]"]
    convert(str(tmp_path / "out"), tmp_path / "again", "hf")
    assert json.loads((tmp_path / "again" / "tokenizer_config.json").read_text())["do_lower_case"] is False


def test_a_folder_with_tokenizer_json_alone_has_a_vocabulary(masked_lm: Path, tmp_path: Path) -> None:
    words = Vocabulary.read(masked_lm / "vocab.txt")
    (masked_lm / "vocab.txt").unlink()
    convert(str(masked_lm), tmp_path / "out", "hf")
    assert Vocabulary.read(tmp_path / "out" / "vocab.txt") == words
    (masked_lm / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE", "vocab": {"a": 0}}}))
    with pytest.raises(UserError, match="no word pieces"):
        convert(str(masked_lm), tmp_path / "other", "hf")


def test_two_models_in_one_folder_are_not_guessed_between(masked_lm: Path, tmp_path: Path) -> None:
    convert(str(masked_lm), tmp_path / "uer", "uer")
    (masked_lm / "uer_model.bin").write_bytes((tmp_path / "uer" / "uer_model.bin").read_bytes())
    with pytest.raises(UserError, match=r"several models here: UER-py checkpoint .*, Hugging Face folder"):
        convert(str(masked_lm), tmp_path / "out", "hf")


def test_the_source_is_never_replaced_by_its_own_result(masked_lm: Path) -> None:
    before = (masked_lm / "model.safetensors").read_bytes()
    for name in (masked_lm, masked_lm / "model.safetensors"):
        with pytest.raises(UserError, match="the source lies in the folder"):
            convert(str(name), masked_lm, "uer", overwrite=True)
    assert (masked_lm / "model.safetensors").read_bytes() == before


def test_how_layer_norms_came_from_uer_is_remembered(tmp_path: Path) -> None:
    uer("mlm.bin-200", tmp_path / "first")
    for to in ("hf", "tf", "keras", "onnx"):
        convert(str(tmp_path / "first"), tmp_path / to, to)
        assert json.loads((tmp_path / to / "config.json").read_text())["uer_layer_norms_folded"] is True
    with pytest.raises(UserError, match="Leave --as-published out"):
        convert(str(tmp_path / "first"), tmp_path / "out", "uer", options=Options(as_published=True))


def test_int8_tells_what_it_costs_and_nonsense_is_refused(
    masked_lm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = convert(str(masked_lm), tmp_path / "int8", "onnx", options=Options(precision="int8"))
    assert done.dtype == "int8"
    assert 0.99 < done.quality["smallest_cosine"] <= 1
    assert 0 < done.quality["same_choice"] <= 1
    monkeypatch.setattr(convert_module, "LEAST_COSINE", 1.01)
    with pytest.raises(UserError, match="int8 changes too much"):
        convert(str(masked_lm), tmp_path / "out", "onnx", options=Options(precision="int8"))
    assert not (tmp_path / "out").exists()


def test_outputs_of_texts_are_compared_whole_whatever_their_number() -> None:
    attention = torch.tensor([[True, False, False], [True, True, False]])
    assert at_tokens(torch.ones(2, 3), attention).shape == (2, 3)  # logits of three labels, not of tokens
    assert at_tokens(torch.ones(2, 3, 5), attention).shape == (3, 5)
