"""`weixing average`: the mean of models, and of checkpoints of a run as they would be exported."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from weixing.cli.main import run as weixing
from weixing.data.prepare import prepare
from weixing.errors import UserError
from weixing.formats.averaging import average
from weixing.formats.huggingface import export_masked_lm
from weixing.formats.naming import load_masked_lm
from weixing.model.heads import MaskedLanguageModel
from weixing.text.vocabulary import Vocabulary, load_vocabulary
from weixing.training import snapshots
from weixing.training.snapshots import model_at
from weixing.zoo import Shape


@pytest.fixture
def folders(tmp_path: Path, shape: Shape, vocabulary: Vocabulary) -> list[str]:
    """Three models with weights of their own."""
    for number in range(3):
        torch.manual_seed(number)
        export_masked_lm(MaskedLanguageModel(shape), vocabulary, tmp_path / str(number))
    return [str(tmp_path / str(number)) for number in range(3)]


def test_each_weight_is_the_weighted_mean_of_its_own(folders: list[str]) -> None:
    mean, _ = average(folders, [1, 2, 5])
    states = [load_masked_lm(name)[0].state_dict() for name in folders]
    for key, tensor in mean.state_dict().items():
        expected = (states[0][key] + 2 * states[1][key] + 5 * states[2][key]) / 8
        torch.testing.assert_close(tensor, expected, rtol=0, atol=1e-6)


def test_a_model_with_itself_is_itself(folders: list[str]) -> None:
    mean, _ = average([folders[0]] * 3)
    state = load_masked_lm(folders[0])[0].state_dict()
    assert all(torch.equal(tensor, state[key]) for key, tensor in mean.state_dict().items())


@pytest.mark.parametrize("shares", [[1.0], [1.0, 2.0, 3.0, 4.0]])
def test_weights_are_as_many_as_models(folders: list[str], shares: list[float]) -> None:
    with pytest.raises(UserError, match="one for each model"):
        average(folders, shares)


def test_what_has_no_mean_is_refused(folders: list[str], tmp_path: Path, vocabulary: Vocabulary) -> None:
    with pytest.raises(UserError, match="two or more"):
        average(folders[:1])
    export_masked_lm(MaskedLanguageModel(Shape(1, 64, len(vocabulary), positions=48)), vocabulary, tmp_path / "small")
    with pytest.raises(UserError, match="1/64"):
        average([folders[0], str(tmp_path / "small")])
    other = Vocabulary([*vocabulary.tokens[:-1], "另"])
    export_masked_lm(load_masked_lm(folders[0])[0], other, tmp_path / "other")
    with pytest.raises(UserError, match="vocabulary"):
        average([folders[0], str(tmp_path / "other")])


def test_checkpoints_of_a_run_are_averaged_complete_and_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("今天北京下雨，明天上海天晴。\n" * 60, encoding="utf-8")
    run, shards, out = tmp_path / "run", tmp_path / "shards", tmp_path / "mean"
    prepare([corpus], shards, vocabulary=load_vocabulary(None), sequence_length=32)
    command = ["pretrain", "--data", str(shards), "--eval-data", str(shards), "--model", "1/64", "--out", str(run)]
    assert weixing([*command, "--steps", "6", "--save-every", "3", "--batch-size", "2", "--precision", "float32"]) == 0
    checkpoints = sorted(map(str, (run / "checkpoints").glob("step-*")))[-2:]
    last, _ = model_at(Path(checkpoints[-1]))
    exported = load_masked_lm(str(run))[0].state_dict()
    for key, tensor in last.state_dict().items():  # entries that no row reaches are filled in, as in the exported model
        torch.testing.assert_close(tensor, exported[key], rtol=0, atol=1e-6)
    capsys.readouterr()
    assert (
        weixing(["average", *checkpoints, "--weights", "1,1", "--out", str(out), "--eval-data", str(shards), "--json"])
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert told["shape"] == "1/64"
    assert 0 < told["eval_loss"] < 12
    first, _ = model_at(Path(checkpoints[0]))
    manifest = shards / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"documents": 60', '"documents": 59'))
    snapshots._shards.cache_clear()
    with pytest.raises(UserError, match="not the shards"):
        model_at(Path(checkpoints[0]))
    saved = load_file(out / "model.safetensors")["bert.embeddings.word_embeddings.weight"]
    embedding = "encoder.embeddings.token.weight"
    expected = (first.state_dict()[embedding] + last.state_dict()[embedding]) / 2
    torch.testing.assert_close(saved, expected, rtol=0, atol=1e-6)


def test_a_damaged_checkpoint_and_one_without_its_run_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "checkpoints" / "step-0000001"
    folder.mkdir(parents=True)
    for name in ("weights.safetensors", "state.pt"):
        (folder / name).write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"run\.json"):
        average([str(folder), str(folder)])
