"""Every bad input of the contract: exit code 2, one clear message that names the place, nothing half-made left."""

import errno
import json
import os
from functools import partial
from pathlib import Path

import pytest
import safetensors.torch

from weixing.cli.main import run
from weixing.data import shard_writer


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def refused(work: Path, capsys: pytest.CaptureFixture, *arguments) -> str:
    """The one message of a command line that must be refused and must leave nothing behind."""
    before = files_in(work)
    code = run([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert code == 2, captured.err
    assert captured.out == ""
    messages = [line for line in captured.err.splitlines() if line.startswith("weixing: ")]
    assert len(messages) == 1, captured.err
    assert "Traceback" not in captured.err
    assert files_in(work) == before
    return messages[0]


def prepare_tiny(work: Path, tiny_vocabulary, text: str = "一二三\n四五六七八九\n", name: str = "shards") -> Path:
    (work / "tiny.txt").write_text(text, encoding="utf-8")
    tiny_vocabulary.write(work / "tiny_vocab.txt")
    arguments = ["prepare", "tiny.txt", "--out", name, "--vocab", "tiny_vocab.txt", "--seq-length", "16", "--json"]
    assert run(arguments) == 0
    return work / name


def test_a_missing_corpus(work, capsys):
    assert "nowhere.txt" in refused(work, capsys, "prepare", "nowhere.txt", "--out", "out")


@pytest.mark.parametrize("content", ["", "\n\n  \n"])
def test_an_empty_corpus(work, capsys, content):
    (work / "empty.txt").write_text(content)
    assert "empty.txt" in refused(work, capsys, "prepare", "empty.txt", "--out", "out")


def test_bytes_that_are_not_utf8(work, capsys):
    (work / "bad.txt").write_bytes("中文\n".encode() + b"ab\xff\n")
    message = refused(work, capsys, "prepare", "bad.txt", "--out", "out")
    assert "bad.txt" in message
    assert "9" in message  # 7 bytes of the first line, two letters


def test_a_line_of_fifty_megabytes_works(work, capsys):
    (work / "long.txt").write_bytes("微型模型".encode() * (50_000_000 // 12) + b"\n")
    assert run(["prepare", "long.txt", "--out", "out", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["documents"] == 1
    assert done["tokens"] > 50_000_000 // 3


def test_a_json_line_without_text(work, capsys):
    (work / "corpus.jsonl").write_text('{"text": "好"}\n{"txt": "坏"}\n', encoding="utf-8")
    assert "corpus.jsonl:2" in refused(work, capsys, "prepare", "corpus.jsonl", "--out", "out")


def test_a_vocabulary_without_mask(work, capsys, tiny_vocabulary):
    tokens = [token for token in tiny_vocabulary.tokens if token != "[MASK]"]
    (work / "vocab.txt").write_text("\n".join(tokens), encoding="utf-8")
    (work / "corpus.txt").write_text("一二三\n", encoding="utf-8")
    message = refused(work, capsys, "prepare", "corpus.txt", "--out", "out", "--vocab", "vocab.txt")
    assert "[MASK]" in message
    assert "vocab.txt" in message


def test_a_model_whose_vocabulary_is_not_the_shards(work, capsys, tiny_vocabulary):
    prepare_tiny(work, tiny_vocabulary)
    assert (
        run(["pretrain", "--data", "shards", "--model", "1/64", "--steps", "1", "--batch-size", "2", "--out", "one"])
        == 0
    )
    assert run(["prepare", "tiny.txt", "--out", "other", "--seq-length", "16"]) == 0
    capsys.readouterr()
    message = refused(work, capsys, "pretrain", "--data", "other", "--init", "one", "--steps", 1, "--out", "two")
    assert "vocabulary" in message
    message = refused(
        work, capsys, "pretrain", "--data", "shards", "--eval-data", "other", "--model", "1/64", "--out", "x"
    )
    assert "vocabulary" in message


@pytest.mark.parametrize("damage", ["truncated", "altered"])
def test_a_damaged_shard(work, capsys, tiny_vocabulary, damage):
    rows = prepare_tiny(work, tiny_vocabulary) / "rows-00000.bin"
    capsys.readouterr()
    content = rows.read_bytes()
    rows.write_bytes(content[:-2] if damage == "truncated" else b"\x7f" + content[1:])
    message = refused(work, capsys, "pretrain", "--data", "shards", "--model", "1/64", "--out", "out")
    assert damage in message
    assert "rows-00000.bin" in message


def test_a_shape_whose_width_is_no_multiple_of_64(work, capsys, tiny_vocabulary):
    prepare_tiny(work, tiny_vocabulary)
    capsys.readouterr()
    assert "multiple of 64" in refused(work, capsys, "pretrain", "--data", "shards", "--model", "2/100", "--out", "out")


def test_a_run_folder_that_exists(work, capsys, tiny_vocabulary):
    prepare_tiny(work, tiny_vocabulary)
    (work / "out").mkdir()
    (work / "out" / "precious").write_text("x")
    capsys.readouterr()
    arguments = ["pretrain", "--data", "shards", "--model", "1/64", "--out", "out"]
    assert "never replaced" in refused(work, capsys, *arguments, "--overwrite")
    (work / "out" / "run.json").write_text("{}")
    assert "--overwrite" in refused(work, capsys, *arguments)


def test_resume_with_other_settings(work, capsys, tiny_vocabulary):
    prepare_tiny(work, tiny_vocabulary)
    arguments = ["pretrain", "--data", "shards", "--model", "1/64", "--batch-size", "2", "--out", "run"]
    assert run([*arguments, "--steps", "2"]) == 0
    capsys.readouterr()
    message = refused(work, capsys, *arguments, "--steps", "3", "--seed", "8", "--resume")
    assert "--steps 3 (the run: 2)" in message
    assert "--seed 8 (the run: 7)" in message


def test_resume_where_there_is_no_run(work, capsys):
    assert "run.json" in refused(work, capsys, "pretrain", "--out", "nothing", "--resume")


@pytest.mark.parametrize(
    ("train", "dev", "named"),
    [
        ("text_a\n好\n", "label\ttext_a\n1\t好\n", "label"),
        ("label\ttext_a\n1\t好\n0\t坏\n", "label\ttext_a\n1\t好\n2\t中\n", "dev.tsv:3"),
    ],
)
def test_a_task_file_without_label_or_with_an_unseen_dev_label(work, capsys, train, dev, named):
    (work / "train.tsv").write_text(train, encoding="utf-8")
    (work / "dev.tsv").write_text(dev, encoding="utf-8")
    arguments = ["finetune", "--model", "1/64", "--train", "train.tsv", "--dev", "dev.tsv", "--out", "out"]
    assert named in refused(work, capsys, *arguments)


class FullDisk:
    """A stream to a disk that has room for `room` bytes more."""

    def __init__(self, stream, room: int) -> None:
        self.stream, self.room = stream, room

    def write(self, data) -> int:
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.stream.write(data)

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.stream.close()

    def __getattr__(self, name: str):
        return getattr(self.stream, name)


def open_on_full_disk(room: int, path: Path, mode: str) -> FullDisk:
    return FullDisk(open(path, mode), room)


@pytest.mark.parametrize("room", [0, 100_000])
def test_a_disk_that_fills_up_with_shards(work, capsys, tiny_vocabulary, monkeypatch, room):
    """ENOSPC comes from the stream of `prepare`'s shard files, at once or in their midst."""
    prepare_tiny(work, tiny_vocabulary, "一二三四五六七八九十\n" * 30_000)
    capsys.readouterr()
    monkeypatch.setattr(shard_writer, "open", partial(open_on_full_disk, room), raising=False)
    message = refused(work, capsys, "prepare", "tiny.txt", "--out", "out", "--vocab", "tiny_vocab.txt")
    assert "no space left" in message


@pytest.mark.parametrize(("pooling", "name"), [("mean", "out.npy"), ("tokens", "out.npz")])
def test_a_disk_that_fills_up_with_vectors(work, capsys, monkeypatch, pooling, name):
    """ENOSPC comes as `features`' output is brought to the disk."""

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    message = refused(work, capsys, "features", "天地", "--model", "1/64", "--out", name, "--pooling", pooling)
    assert "no space left" in message


def test_a_disk_that_fills_up_with_checkpoints(work, capsys, tiny_vocabulary, monkeypatch):
    """ENOSPC comes as a checkpoint is written: the first one takes the run with it, after a later one it can resume."""
    prepare_tiny(work, tiny_vocabulary)
    capsys.readouterr()
    arguments = ["pretrain", "--data", "shards", "--model", "1/64", "--batch-size", "2", "--steps", "4", "--out", "run"]
    save = safetensors.torch.save
    saved: list[int] = []

    def save_until_full(tensors, **kwargs):
        saved.append(1)
        if len(saved) > room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return save(tensors, **kwargs)

    monkeypatch.setattr(safetensors.torch, "save", save_until_full)
    room = 0
    assert "no space left" in refused(work, capsys, *arguments)
    saved.clear()
    room = 2
    assert run([*arguments, "--save-every", "2"]) == 2
    assert sorted(path.name for path in (work / "run" / "checkpoints").iterdir()) == ["step-0000000", "step-0000002"]
    room = 100
    assert run(["pretrain", "--out", "run", "--resume"]) == 0


@pytest.mark.parametrize("options", [["--steps", "0"], ["--seed", "-1"], ["--seed", str(2**63)]])
def test_a_demo_that_cannot_be_run(work, capsys, options):
    (work / "demo").mkdir()
    (work / "demo" / "demo.json").write_text("{}")
    assert options[0] in refused(work, capsys, "demo", "--overwrite", *options)


def test_a_demo_in_the_place_of_something_else(work, capsys):
    (work / "demo").mkdir()
    (work / "demo" / "precious").write_text("x")
    assert "never replaced" in refused(work, capsys, "demo", "--overwrite")


@pytest.mark.parametrize(
    "verb", [["vocab"], ["prepare"], ["features", "--model", "1/64", "--input"]], ids=lambda v: v[0]
)
def test_an_output_that_cannot_be_there(work, capsys, verb):
    (work / "tiny.txt").write_text("一二三\n", encoding="utf-8")
    message = refused(work, capsys, *verb, "tiny.txt", "--out", "tiny.txt/out.npy", "--overwrite")
    assert "tiny.txt: this is not a folder" in message
    assert "too long" in refused(work, capsys, *verb, "tiny.txt", "--out", "x" * 256 + ".npy")
    (work / "out.npy").mkdir()
    (work / "out.npy" / "run.json").touch()
    if verb != ["prepare"]:
        assert "this is a folder" in refused(work, capsys, *verb, "tiny.txt", "--out", "out.npy", "--overwrite")


def test_an_unknown_option_and_an_unknown_verb(work, capsys):
    assert "--colour" in refused(work, capsys, "prepare", "x.txt", "--out", "out", "--colour", "red")
    assert "bake" in refused(work, capsys, "bake")


def test_every_verb_has_help_of_one_screen_with_an_example(capsys):
    verbs = (
        "demo zoo plan vocab prepare pretrain pretrain-family runs finetune replay table compare fill-mask features "
        "serve"
    )
    for verb in verbs.split():
        assert run([verb, "--help"]) == 0
        text = capsys.readouterr().out
        assert f"Example: weixing {verb}" in " ".join(text.split())
        assert len(text.splitlines()) <= 45, verb
