"""Corpora in a store: files, folders and globs of an S3 server on loopback, the same documents as on disk."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from weixing.cli.main import run as weixing
from weixing.data.stored_shards import local_copy
from weixing.errors import UserError
from weixing.storage import place
from weixing.text.corpus import CorpusReader

server = pytest.importorskip("moto.server")


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """A bucket of a server of our own."""
    from upath import UPath

    with pytest.MonkeyPatch.context() as patch:
        store = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
        store.start()
        host, port = store.get_host_and_port()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "one", "AWS_SECRET_ACCESS_KEY": "two",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():  # fmt: skip
            patch.setenv(name, value)
        UPath("s3://corpora").mkdir()
        yield "s3://corpora"
        store.stop()


def put(name: str, content: bytes) -> None:
    place(name).write_bytes(content)


def test_files_folders_and_globs_are_read_as_on_disk(bucket: str, tmp_path: Path):
    put(f"{bucket}/a/one.txt", "甲\n乙\n".encode())
    put(f"{bucket}/a/b/two.txt.gz", gzip.compress("丙\n".encode()))
    put(f"{bucket}/a/three.jsonl", json.dumps({"text": "丁"}).encode())
    put(f"{bucket}/a/.hidden.txt", "不读\n".encode())
    put(f"{bucket}/a/readme.md", b"not a corpus")
    assert list(CorpusReader([f"{bucket}/a/one.txt"])) == ["甲", "乙"]
    assert list(CorpusReader([f"{bucket}/a"])) == ["丙", "甲", "乙", "丁"]  # by path: a/b/two, a/one, a/three
    assert list(CorpusReader([f"{bucket}/a/*.txt"])) == ["甲", "乙"]
    assert list(CorpusReader([f"{bucket}/a/**/*.gz"])) == ["丙"]
    reader = CorpusReader([f"{bucket}/a/one.txt"])
    assert reader.total_bytes == len("甲\n乙\n".encode())


def test_prepare_reads_from_a_store(bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    text = "今天北京下雨，明天上海天晴。\n" * 50
    put(f"{bucket}/p/corpus.txt", text.encode())
    (tmp_path / "corpus.txt").write_text(text, encoding="utf-8")
    for source, out in ((f"{bucket}/p/corpus.txt", "far"), (str(tmp_path / "corpus.txt"), "near")):
        assert weixing(["prepare", source, "--out", str(tmp_path / out), "--json"]) == 0
    rows = [(tmp_path / out / "rows-00000.bin").read_bytes() for out in ("far", "near")]
    assert rows[0] == rows[1]
    assert json.loads((tmp_path / "far" / "manifest.json").read_text())["sources"] == [f"{bucket}/p/corpus.txt"]


def test_a_store_that_cannot_be_reached_or_refuses_is_named(bucket: str, monkeypatch, tmp_path: Path, capsys):
    put(f"{bucket}/q/one.txt", "甲\n".encode())
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        with pytest.raises(UserError, match="the store cannot be read"):
            CorpusReader([f"{bucket}/q/one.txt"])
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(UserError, match="the store cannot be read"):
        CorpusReader(["s3://corp*/q/one.txt"])


def test_outputs_are_not_written_to_a_store(bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "c.txt").write_text("甲\n", encoding="utf-8")
    assert weixing(["prepare", str(tmp_path / "c.txt"), "--out", f"{bucket}/out"]) == 2
    assert "in a store" in capsys.readouterr().err


def test_what_is_not_there_is_named(bucket: str, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    with pytest.raises(UserError, match="no such corpus file"):
        CorpusReader([f"{bucket}/nothing.txt"])
    with pytest.raises(UserError, match="no store can be opened"):
        place("nosuch://bucket/file.txt")
    assert weixing(["prepare", "s3://missing-bucket/a.txt", "--out", str(tmp_path / "out")]) == 2
    assert "missing-bucket" in capsys.readouterr().err


def test_pretrain_reads_shards_from_a_store_copied_once(bucket: str, tmp_path: Path, monkeypatch, capsys):
    (tmp_path / "c.txt").write_text("今天北京下雨，明天上海天晴。\n" * 40, encoding="utf-8")
    near, far = tmp_path / "near", f"{bucket}/shards"
    assert weixing(["prepare", str(tmp_path / "c.txt"), "--out", str(near), "--seq-length", "32"]) == 0
    for file in near.iterdir():
        put(f"{far}/{file.name}", file.read_bytes())
    monkeypatch.setenv("WEIXING_CACHE", str(tmp_path / "cache"))
    options = ["--eval-data", far, "--model", "1/64", "--steps", "4", "--save-every", "2", "--batch-size", "2"]
    run = tmp_path / "run"
    assert weixing(["pretrain", "--data", far, *options, "--out", str(run)]) == 0
    assert json.loads((run / "run.json").read_text())["settings"]["data"] == far
    (copy,) = (tmp_path / "cache" / "shards").iterdir()
    written = (copy / "rows-00000.bin").stat().st_mtime_ns
    assert weixing(["pretrain", "--data", str(near), *options, "--out", str(tmp_path / "local")]) == 0
    weights = [(folder / "model" / "model.safetensors").read_bytes() for folder in (run, tmp_path / "local")]
    assert weights[0] == weights[1]
    assert (copy / "rows-00000.bin").stat().st_mtime_ns == written
    capsys.readouterr()
    assert weixing(["pretrain", "--data", f"{bucket}/nothing", "--model", "1/64", "--out", str(tmp_path / "no")]) == 2
    assert "no finished shards" in capsys.readouterr().err


def test_a_copy_that_fails_leaves_nothing(bucket: str, tmp_path: Path, monkeypatch):
    manifest = {"shards": [{"file": "rows-00000.bin", "words_file": None}]}
    put(f"{bucket}/half/manifest.json", json.dumps(manifest).encode())
    put(f"{bucket}/half/rows-00000.bin", b"1234")
    monkeypatch.setenv("WEIXING_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError, match="the store cannot be read"):  # there is no vocab.txt
        local_copy(f"{bucket}/half")
    assert not any((tmp_path / "cache" / "shards").iterdir())
