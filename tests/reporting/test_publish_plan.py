"""What `weixing publish` checks in a folder before anything is uploaded, and what it leaves out."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from weixing.errors import UserError
from weixing.reporting.card import card, write_card
from weixing.reporting.card_facts import gather
from weixing.reporting.publish import Plan, plan
from weixing.reporting.publish_files import HIDDEN, RECORD, SECRET, TRAINING_STATE, UNKNOWN


@pytest.fixture
def folder(runs: Path, tmp_path: Path) -> Path:
    """A model folder with a card."""
    folder = shutil.copytree(runs / "second" / "model", tmp_path / "tiny")
    facts = gather(str(folder), repository="me/tiny", license="mit")
    write_card(card(facts, ("zh", "en")), folder / "README.md", facts, overwrite=True)
    return folder


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def paths(planned: Plan) -> set[str]:
    return {file.path for file in planned.files}


STRAY = {
    ".git/objects/pack": (b"12", ".git/", HIDDEN),
    ".cache/x": (b"1", ".cache/", HIDDEN),
    "checkpoints/step-1/state.pt": (b"123", "checkpoints/", TRAINING_STATE),
    "optimizer.pt": (b"1", "optimizer.pt", TRAINING_STATE),
    "run.json": (b"{}", "run.json", RECORD),
    "metrics.jsonl": (b"{}", "metrics.jsonl", RECORD),
    ".env": (b"A=1", ".env", SECRET),
    "deploy.pem": (b"1", "deploy.pem", SECRET),
    "credentials.json": (b"{}", "credentials.json", SECRET),
    "big.dat": (b"1234567", "big.dat", UNKNOWN),
    "notes/mine.txt": (b"1", "notes/", UNKNOWN),
}


def test_stray_files_stay_here_and_are_named(folder: Path) -> None:
    before = paths(plan(folder, "me/tiny"))
    write(folder, {name: content for name, (content, _, _) in STRAY.items()})
    planned = plan(folder, "me/tiny")
    assert paths(planned) == before
    expected = {(shown, len(content), why) for content, shown, why in STRAY.values()}
    assert {(left.path, left.size, left.why) for left in planned.left_out} == expected
    assert planned.size == sum((folder / name).stat().st_size for name in before)


def test_a_folder_that_is_left_out_is_one_entry(folder: Path) -> None:
    write(folder, {f"checkpoints/step-{number}/weights.bin": b"1234" for number in range(50)})
    (left,) = plan(folder, "me/tiny").left_out
    assert (left.path, left.size) == ("checkpoints/", 200)


def test_include_takes_files_along_but_nothing_hidden(folder: Path) -> None:
    write(folder, {"figures/a.png": b"1", "figures/b.txt": b"2", ".git/x.png": b"3"})
    assert paths(plan(folder, "me/tiny", ["*.png"])) - paths(plan(folder, "me/tiny")) == {"figures/a.png"}
    with pytest.raises(UserError, match=re.escape("--include *.gif fits no file")):
        plan(folder, "me/tiny", ["*.gif"])
    write(folder, {"secrets.txt": b"4"})
    with pytest.raises(UserError, match="this looks like a secret"):
        plan(folder, "me/tiny", ["*.txt"])


def test_a_linked_folder_is_not_entered(folder: Path, tmp_path: Path) -> None:
    write(tmp_path, {"elsewhere/config.json": b"{}"})
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    assert plan(folder, "me/tiny").left_out == []


def test_all_weights_go_along_whole_or_in_shards(folder: Path) -> None:
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    files = {name: f"model-0000{number % 2 + 1}-of-00002.safetensors" for number, name in enumerate(tensors)}
    for file in set(files.values()):
        shard = {name: tensor for name, tensor in tensors.items() if files[name] == file}
        safetensors.torch.save_file(shard, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    (folder / "model.safetensors").unlink()
    (folder / "model-00003-of-00003.safetensors").write_bytes(b"of another model")
    facts = gather(str(folder), license="mit")
    assert facts.weights == {name: (folder / name).stat().st_size for name in sorted(set(files.values()))}
    write_card(card(facts, ("zh",)), folder / "README.md", facts, overwrite=True)
    planned = plan(folder, "me/tiny")
    assert set(files.values()) | {"model.safetensors.index.json"} <= paths(planned)
    assert [left.path for left in planned.left_out] == ["model-00003-of-00003.safetensors"]


def weights(folder: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    file = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(file)
    name = "cls.predictions.bias"
    safetensors.torch.save_file(tensors | {name: change(tensors[name])}, file)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "README.md").unlink(), "there is no README.md"),
        (lambda folder: (folder / "vocab.txt").write_text("[PAD]\n"), "lacks [UNK]"),
        (lambda folder: (folder / "model.safetensors").unlink(), "there are no weights here"),
        (lambda folder: (folder / "config.json").unlink(), "there is no model in this folder"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"{}"), "no safetensors weights"),
        (lambda folder: weights(folder, lambda tensor: tensor + 1), "this card was written for other weights"),
        (lambda folder: weights(folder, lambda tensor: tensor / 0), "weights that are no numbers"),
        (lambda folder: (folder / "README.md").write_text("# mine\n"), "there is no metadata at its head"),
        (lambda folder: (folder / "README.md").write_text("---\nlanguage: zh\n---\n"), "no licence is stated"),
        (lambda folder: (folder / "README.md").write_bytes(b"---\n\xff\n---\n"), "not UTF-8"),
        (
            lambda folder: (folder / "tokenizer_config.json").write_text(f'{{\n"token": "hf_{"a" * 34}"}}'),
            "tokenizer_config.json:2: there is what looks like a token or a private key: hf_aaa…",
        ),
    ],
)
def test_what_must_not_be_published_is_refused(folder: Path, spoil: Callable[[Path], object], message: str) -> None:
    plan(folder, "me/tiny")
    spoil(folder)
    with pytest.raises(UserError, match=re.escape(message)):
        plan(folder, "me/tiny")


def test_the_short_card_of_export_states_no_licence(runs: Path) -> None:
    with pytest.raises(UserError, match="no licence is stated") as caught:
        plan(runs / "first", "me/tiny")
    assert "weixing card --model" in str(caught.value)


@pytest.mark.parametrize("to", ["tiny", "me/tiny@v1", "8/512", "me/ti ny", ""])
def test_a_repository_is_owner_and_name(folder: Path, to: str) -> None:
    with pytest.raises(UserError, match=re.escape(f"--to {to}")):
        plan(folder, to)


def test_a_folder_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such folder"):
        plan(tmp_path / "none", "me/tiny")


def test_notes_tell_of_examples_that_name_another_model_and_of_pickles(folder: Path) -> None:
    assert plan(folder, "me/tiny").notes == []
    assert "do not name me/other" in plan(folder, "me/other").notes[0]
    torch.save(safetensors.torch.load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    facts = gather(str(folder), repository="me/tiny", license="mit")
    write_card(card(facts, ("zh",)), folder / "README.md", facts, overwrite=True)
    (note,) = plan(folder, "me/tiny").notes
    assert "pytorch_model.bin is a pickle" in note
