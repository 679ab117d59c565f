"""`weixing convert` and `weixing inspect` as a user sees them: what is printed, what is made, and how they refuse."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import safetensors.torch
import torch

from tests.cli.test_bad_input import refused
from tests.formats.golden import GOLDEN, VOCABULARY
from weixing.cli.main import run
from weixing.formats.huggingface import import_classifier
from weixing.formats.source import probe
from weixing.text.vocabulary import Vocabulary
from weixing.zoo import Shape

SHAPE = Shape(2, 64, 1028, positions=128, head_units=32, feed_forward=128)  # of UER-py's golden checkpoints
WITH_CONFIG = ("--config", "uer_config.json")
DIFFERENCE = re.compile(r"largest difference of the outputs: \d(\.\d)?(e-\d\d)?")
FILES = {"hf": "model.safetensors", "uer": "uer_model.bin", "tf": "tf_model.h5", "keras": "model.safetensors",
         "onnx": "model.onnx"}  # fmt: skip


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: checkpoints of UER-py, each alone in a folder of its own name; their configuration."""
    monkeypatch.chdir(tmp_path)
    for kind, file in (("mlm", "mlm.bin-200"), ("bert", "bert.bin-200"), ("classifier", "classifier.bin")):
        (tmp_path / kind).mkdir()
        shutil.copy(GOLDEN / file, tmp_path / kind / "model.bin")
    shutil.copy(GOLDEN / "mlm_config.json", tmp_path / "uer_config.json")
    shutil.copy(GOLDEN / "bert_config.json", tmp_path / "bert" / "uer_config.json")
    shutil.copy(VOCABULARY, tmp_path / "words.txt")
    return tmp_path


@pytest.fixture
def said(work: Path, capsys: pytest.CaptureFixture) -> Callable[..., str]:
    """Runs a command line that must succeed; what it printed."""

    def said(*arguments: str) -> str:
        capsys.readouterr()
        assert run(list(arguments)) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return said


@pytest.fixture
def convert(said: Callable[..., str]) -> Callable[..., list[str]]:
    """Runs `convert` of a UER-py checkpoint; the lines that it printed."""

    def convert(kind: str, to: str, *options: str, out: str = "out") -> list[str]:
        config = () if "--config" in options or kind == "bert" else WITH_CONFIG
        return said(
            "convert", f"{kind}/model.bin", out, "--to", to, "--vocab", "words.txt", *config, *options
        ).splitlines()

    return convert


def content(path: str) -> dict:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def weights(folder: str) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(Path(folder) / "model.safetensors")


def test_json_is_one_document_that_says_what_was_done(convert):
    [line] = convert("mlm", "hf", "--json")
    done = json.loads(line)
    assert 0 < done.pop("largest_difference") < 2e-5
    assert done == {
        "from": "UER-py checkpoint", "to": "hf", "shape": "2/64", "heads": 2, "heads_assumed": False,
        "parts": ["head"], "parameters": SHAPE.parameters, "dtype": "float32", "left_out": {}, "output": "out",
    }  # fmt: skip


@pytest.mark.parametrize("to", FILES)
def test_each_format_is_made_and_said_in_a_few_lines(convert, to, work):
    first, *more = convert("bert", to)
    assert first == f"UER-py checkpoint, 2/64, 150,790 parameters, float32 → out ({to})"
    if to == "keras":
        assert more.pop().startswith("keras-hub takes GELU by tanh")
    assert DIFFERENCE.fullmatch(more.pop())
    assert [line.partition(",")[0] for line in more] == (
        ["left out: pooler", "left out: next-sentence head"] if to == "onnx" else []
    )
    assert {FILES[to], "vocab.txt"} <= {path.name for path in (work / "out").iterdir()}


@pytest.mark.parametrize("to", ["hf", "uer", "tf", "keras"])
def test_what_was_made_is_found_whole_by_inspect(convert, said, to):
    convert("bert", to)
    found = json.loads(said("inspect", "out", "--json"))
    assert found["format"] == ("UER-py checkpoint" if to == "uer" else "Hugging Face folder")
    assert found["parts"] == ["head", "pooler", "next_sentence"]
    assert (found["heads"], found["heads_assumed"], found["problems"], found["missing"]) == (2, False, [], [])
    assert found["vocabulary"] == "out/vocab.txt"


def test_without_a_configuration_the_number_of_heads_is_said_to_be_assumed(said):
    lines = said("convert", "mlm/model.bin", "out", "--to", "hf", "--vocab", "words.txt").splitlines()
    assert lines[1] == "heads: 1, assumed: 64 units each; --config FILE would tell"
    assert len(lines) == 3
    assert content("out/config.json")["num_attention_heads"] == 1


def test_as_published_leaves_the_layer_norms_and_says_how_far_off_that_is(convert, said):
    done = json.loads(convert("mlm", "hf", "--as-published", "--json")[0])
    assert 1e-2 < done["largest_difference"] < 1e-1
    raw = torch.load("mlm/model.bin", weights_only=True)
    assert torch.equal(weights("out")["bert.embeddings.LayerNorm.weight"], raw["embedding.layer_norm.gamma"])
    assert "LayerNorms   not folded, as it says" in said("inspect", "out")
    convert("mlm", "hf", out="folded")
    assert "LayerNorms   folded, as its configuration says" in said("inspect", "folded")


@pytest.mark.parametrize(
    ("option", "dtype"),
    [("float32", torch.float32), ("float16", torch.float16), ("bf16", torch.bfloat16)],
)
def test_dtype_is_that_of_the_weights_and_is_kept_from_then_on(convert, said, option, dtype):
    name = str(dtype).removeprefix("torch.")
    assert f", {name} → out (hf)" in convert("mlm", "hf", "--dtype", option)[0]
    assert json.loads(said("convert", "out", "kept", "--to", "hf", "--json"))["dtype"] == name
    made, kept = weights("out"), weights("kept")
    assert {tensor.dtype for tensor in made.values()} == {dtype}
    assert made.keys() == kept.keys()
    assert all(torch.equal(made[name], kept[name]) for name in made)
    assert json.loads(said("inspect", "kept", "--json"))["tensors"] == {name: len(made)}


@pytest.mark.parametrize(
    ("kind", "options", "outputs", "left_out"),
    [
        ("bert", ["--head", "features"], ["last_hidden_state", "pooler_output"],
         ["masked-LM head", "next-sentence head"]),
        ("mlm", ["--head", "features"], ["last_hidden_state"], ["masked-LM head"]),
        ("mlm", ["--head", "fill-mask"], ["logits"], []),
        ("mlm", [], ["logits"], []),
        ("classifier", ["--head", "classify", "--labels", "差评,好评"], ["logits"], []),
        ("classifier", [], ["logits"], []),
    ],
)  # fmt: skip
def test_head_chooses_what_an_onnx_file_answers(convert, kind, options, outputs, left_out):
    done = json.loads(convert(kind, "onnx", *options, "--json")[0])
    assert [output.name for output in onnx.load("out/model.onnx").graph.output] == outputs
    assert list(done["left_out"]) == left_out
    if "--labels" in options:
        assert content("out/config.json")["id2label"] == {"0": "差评", "1": "好评"}


def test_int8_says_what_it_costs(convert):
    lines = convert("mlm", "onnx", "--precision", "int8")
    assert ", int8 → out (onnx)" in lines[0]
    costs = dict(line.removeprefix("int8 beside float32: ").split() for line in lines[1:-1])
    done = json.loads(convert("mlm", "onnx", "--precision", "int8", "--json", out="again")[0])
    assert done["dtype"] == "int8"
    assert {name: f"{value:.4g}" for name, value in done["quality"].items()} == costs
    assert 0.9 < done["quality"]["smallest_cosine"] < 1
    assert 0.5 < done["quality"]["same_choice"] <= 1


def test_labels_name_the_outputs_of_a_classifier_and_are_asked_for_where_there_are_none(convert):
    assert "labels: LABEL_0, LABEL_1, …; --labels names them" in convert("classifier", "hf")
    assert content("out/config.json")["id2label"] == {"0": "LABEL_0", "1": "LABEL_1"}
    assert len(convert("classifier", "hf", "--labels", "差评,好评", out="named")) == 2
    assert content("named/config.json")["id2label"] == {"0": "差评", "1": "好评"}


def test_a_fine_tuned_model_goes_to_uer_and_back_with_its_labels(work, said, tiny_vocabulary: Vocabulary):
    tiny_vocabulary.write(work / "vocab.txt")
    hanzi = tiny_vocabulary.tokens[-40:]
    rows = [f"{('差评', '好评', '中评')[n % 3]}\t{hanzi[n]}{hanzi[n % 3]}" for n in range(40)]
    for name in ("train.tsv", "dev.tsv"):
        (work / name).write_text("\n".join(["label\ttext_a", *rows]) + "\n", encoding="utf-8")
    said(
        "finetune", "--model", "1/64", "--vocab", "vocab.txt", "--train", "train.tsv", "--dev", "dev.tsv",
        "--out", "tuned", "--epochs", "1", "--batch-sizes", "8", "--learning-rates", "1e-3", "--max-length", "16",
    )  # fmt: skip
    model, _, labels = import_classifier(work / "tuned" / "model")
    assert sorted(labels) == ["中评", "好评", "差评"]

    to_uer = said("convert", "tuned", "uer", "--to", "uer").splitlines()
    assert to_uer[0].startswith("Hugging Face folder, 1/64, ")
    assert content("uer/uer_config.json")["labels"] == labels
    back = said("convert", "uer", "back", "--to", "hf").splitlines()
    assert len(to_uer) == len(back) == 2  # no word of heads, labels, or anything left out
    assert content("back/config.json")["id2label"] == content("tuned/model/config.json")["id2label"]

    returned, vocabulary, its_labels = import_classifier(work / "back")
    assert (vocabulary, its_labels) == (tiny_vocabulary, labels)
    with torch.inference_mode():
        torch.testing.assert_close(returned(*probe(model.encoder.shape)), model(*probe(model.encoder.shape)))

    said("convert", "uer", "renamed", "--to", "hf", "--labels", "甲,乙,丙")
    assert list(content("renamed/config.json")["id2label"].values()) == ["甲", "乙", "丙"]


def test_overwrite_replaces_the_whole_folder(convert, work, capsys):
    convert("mlm", "uer")
    assert "--overwrite" in refused(work, capsys, "convert", "out", "out", "--to", "hf")
    convert("mlm", "hf", "--overwrite")
    assert (work / "out" / "model.safetensors").is_file()
    assert not (work / "out" / "uer_model.bin").exists()


def test_a_conversion_that_fails_leaves_the_folder_that_it_would_have_replaced(convert, work, capsys):
    convert("mlm", "uer")
    before = {path.name: path.read_bytes() for path in (work / "out").iterdir()}
    arguments = ["convert", "mlm/model.bin", "out", "--to", "hf", "--vocab", "words.txt", *WITH_CONFIG, "--overwrite"]
    message = refused(work, capsys, *arguments, "--tolerance", "0")
    assert "answers differently" in message
    assert "--tolerance" in message
    assert {path.name: path.read_bytes() for path in (work / "out").iterdir()} == before


def test_a_model_is_never_replaced_by_its_own_conversion(convert, work, capsys):
    convert("mlm", "uer", out="model")
    for source in ("model", "model/uer_model.bin"):
        message = refused(work, capsys, "convert", source, "model", "--to", "hf", "--overwrite")
        assert "the source lies in the folder that would be replaced" in message


CHECKPOINT = ["mlm/model.bin", "out", *WITH_CONFIG]
WHOLE = [*CHECKPOINT, "--vocab", "words.txt"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([*WHOLE, "--to", "pdf"], "'pdf'"),
        (WHOLE, "--to"),
        (["mlm/model.bin", "--to", "hf"], "FOLDER"),
        ([*CHECKPOINT, "--to", "hf"], "comes without its vocabulary. Name it: --vocab vocab.txt"),
        ([*CHECKPOINT, "--vocab", "nowhere.txt", "--to", "hf"], "nowhere.txt"),
        (["mlm/model.bin", "out", "--vocab", "words.txt", "--config", "nowhere.json", "--to", "hf"], "nowhere.json"),
        (["mlm/model.bin", "out", "--vocab", "words.txt", "--config", "words.txt", "--to", "hf"], "words.txt: this is"),
        (["nowhere.bin", "out", "--to", "hf"], "there is no model 'nowhere.bin'"),
        (["words.txt", "out", "--to", "hf"], "words.txt: this file is no model"),
        (["mlm", "out", "--to", "hf"], "there is no model in this folder"),
        ([*WHOLE, "--to", "uer", "--dtype", "float16"], "--dtype for --to uer"),
        ([*WHOLE, "--to", "hf", "--dtype", "int4"], "--dtype"),
        ([*WHOLE, "--to", "hf", "--head", "features"], "--head or --precision for --to hf"),
        ([*WHOLE, "--to", "hf", "--precision", "int8"], "--head or --precision for --to hf"),
        ([*WHOLE, "--to", "onnx", "--head", "classify"], "--head classify for a model with masked-LM head"),
        ([*WHOLE, "--to", "hf", "--labels", "好,坏"], "--labels for a model without a classifier"),
        ([*WHOLE, "--to", "hf", "--tolerance", "-1"], "--tolerance"),
        (["1/64", "out", "--to", "hf", "--as-published"], "--as-published"),
        (["classifier/model.bin", *WHOLE[1:], "--to", "hf", "--labels", "好"], "2 names, each once"),
        (["classifier/model.bin", *WHOLE[1:], "--to", "uer", "--labels", "好"], "2 names, each once"),
        (["classifier/model.bin", *WHOLE[1:], "--to", "hf", "--labels", "好,好"], "2 names, each once"),
        (["bert/model.bin", "mlm", *WHOLE[2:], "--to", "hf", "--overwrite"], "never replaced"),
        (["mlm/model.bin", "words.txt", *WHOLE[2:], "--to", "hf"], "words.txt: this is a file"),
    ],
)
def test_what_cannot_be_converted_is_refused_in_one_message_and_nothing_is_left(work, capsys, arguments, named):
    assert named in refused(work, capsys, "convert", *arguments)


class Touch:
    """Unpickling this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("verb", [["convert", "bad.bin", "out", "--to", "hf"], ["inspect", "bad.bin"]])
def test_a_file_that_is_cut_off_or_would_run_code_is_refused_by_its_name(work, capsys, verb):
    whole = (work / "mlm" / "model.bin").read_bytes()
    (work / "bad.bin").write_bytes(whole[: len(whole) // 2])
    assert "bad.bin: " in refused(work, capsys, *verb)
    torch.save({"embedding.word.embedding.weight": Touch(work / "ran")}, work / "bad.bin")
    message = refused(work, capsys, *verb)
    assert "bad.bin: " in message
    assert "which might run" in message


def test_inspect_tells_a_checkpoint_in_lines(work, said):
    shutil.copy(work / "uer_config.json", work / "mlm")
    shutil.copy(work / "words.txt", work / "mlm" / "vocab.txt")
    assert said("inspect", "mlm/model.bin").splitlines() == [
        "format       UER-py checkpoint",
        "weights      mlm/model.bin",
        "shape        2/64: 2 heads, feed-forward 128",
        "tables       1,028 tokens, 128 positions, 2 token types",
        "heads on it  masked-LM head",
        f"parameters   {SHAPE.parameters:,}",
        f"tensors      {len(torch.load('mlm/model.bin', weights_only=True))} float32",
        "vocabulary   mlm/vocab.txt (1,028 tokens)",
        "LayerNorms   as UER-py computes them, with the unbiased deviation; conversion folds them",
        "left aside   1 (a second copy)",
    ]


def test_inspect_says_what_it_must_assume_and_what_is_not_there(said):
    text = said("inspect", "classifier/model.bin")
    assert re.search(
        r"^shape        2/64: 1 heads? \(assumed: --config FILE would tell\), feed-forward 128$", text, re.M
    )
    assert "heads on it  pooler, classifier\n" in text
    assert "vocabulary   none beside it\n" in text
    assert "shape        2/64: 2 heads, feed-forward 128\n" in said("inspect", "classifier/model.bin", *WITH_CONFIG)


def test_inspect_in_json_is_one_document(said):
    found = json.loads(said("inspect", "bert/model.bin", "--json"))
    assert list(found.pop("left_aside").values()) == ["a second copy"]
    tensors = torch.load("bert/model.bin", weights_only=True)
    assert found == {
        "format": "UER-py checkpoint", "where": "bert/model.bin", "shape": "2/64", "layers": 2, "hidden": 64,
        "heads": 2, "heads_assumed": False, "feed_forward": 128, "positions": 128, "token_types": 2,
        "vocabulary_size": 1028, "vocabulary": None, "parts": ["head", "pooler", "next_sentence"],
        "parameters": 150_790, "tensors": {"float32": len(tensors)}, "missing": [], "unknown": [],
        "layer_norms": "as UER-py computes them, with the unbiased deviation; conversion folds them", "problems": [],
    }  # fmt: skip


def test_inspect_sums_up_an_optimizers_state(said):
    lines = said("inspect", str(GOLDEN.parent / "tf1")).splitlines()
    assert "format       TensorFlow 1 checkpoint" in lines
    assert any(re.fullmatch(r"left aside   \d+ \(the optimizer's state\).*", line) for line in lines)


def test_inspect_lists_what_is_wrong_and_still_ends_well(work, said):
    tensors = torch.load("mlm/model.bin", weights_only=True)
    gone = [name for name in tensors if "layer_norm" in name]
    for name in gone:
        del tensors[name]
    torch.save(tensors | {"encoder.rotary.weight": torch.ones(3)}, work / "odd.bin")
    lines = said("inspect", "odd.bin", *WITH_CONFIG).splitlines()
    [missing] = [line for line in lines if line.startswith("missing ")]
    assert missing.startswith(f"missing      {len(gone)}: ")
    assert missing.endswith(", …")
    assert missing.count("layer_norm") == 8
    assert "unknown      1: encoder.rotary.weight" in lines
    assert lines[-1].startswith("problem: odd.bin: the tensor ")
    found = json.loads(said("inspect", "odd.bin", *WITH_CONFIG, "--json"))
    assert sorted(found["missing"]) == sorted(gone)
    assert found["unknown"] == ["encoder.rotary.weight"]
    assert lines[-1] == f"problem: {found['problems'][0]}"


def test_inspect_refuses_what_is_no_model_or_several(work, convert, capsys):
    assert "there is no model 'nowhere.bin'" in refused(work, capsys, "inspect", "nowhere.bin")
    assert "words.txt: this file is no model" in refused(work, capsys, "inspect", "words.txt")
    convert("mlm", "uer")
    convert("mlm", "hf", out="two")
    shutil.copy(work / "out" / "uer_model.bin", work / "two")
    assert "two: there are several models here" in refused(work, capsys, "inspect", "two")


@pytest.mark.parametrize("verb", ["convert", "inspect"])
def test_help_fits_one_screen_and_ends_with_an_example(capsys, verb):
    assert run([verb, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"Example: weixing {verb} book_review_model.bin-8000" in " ".join(text.split())
    assert len(text.splitlines()) <= 45
