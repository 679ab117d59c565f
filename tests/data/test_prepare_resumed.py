"""A preparation that was killed, found no room, or met a bad file goes on as if nothing had been: the same bytes."""

import errno
import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from weixing.cli.main import run
from weixing.data import record, shard_writer
from weixing.text import corpus

BLOCK_BYTES, SHARD_BYTES = 900, 2_000
ROOT = Path(__file__).parents[2]
KILL = """
import os, signal, sys
from tests.data.test_prepare_resumed import save_every_block
from weixing.cli.main import run
from weixing.data.packed import Packed
save_every_block(setattr, dict.__setitem__)
add, left = Packed.add, [int(sys.argv[1])]
def add_or_die(*arguments):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    add(*arguments)
Packed.add = add_or_die
sys.exit(run(sys.argv[2:]))
"""


def save_every_block(set_attribute: Callable, set_item: Callable) -> None:
    """Make blocks and shards small, and save after every block, at once."""
    save = record.Record.save_now_and_then

    def save_and_wait(self, packed) -> None:
        save(self, packed)
        if self._under_way:
            self._under_way.exception()

    set_attribute(record.Record, "save_now_and_then", save_and_wait)
    set_attribute(record, "SAVE_SECONDS", 0)
    set_attribute(corpus, "BLOCK_BYTES", BLOCK_BYTES)
    set_item(shard_writer.ShardWriter.__init__.__kwdefaults__, "shard_bytes", SHARD_BYTES)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of three files, some documents of which are alike."""
    save_every_block(monkeypatch.setattr, monkeypatch.setitem)
    random.seed(5)
    texts = ["".join(random.choices("天地玄黄宇宙洪荒日月盈昃辰宿列张", k=random.randint(20, 90))) for _ in range(150)]
    texts[70:90] = texts[10:30]
    texts[120:130] = texts[60:70]
    folder = tmp_path / "corpus"
    folder.mkdir()
    lines = [text + "\n" for text in texts]
    (folder / "a.txt").write_text("".join(lines[:40]), encoding="utf-8")
    (folder / "b.txt.gz").write_bytes(gzip.compress("".join(lines[40:100]).encode()))
    (folder / "c.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts[100:]))
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def prepare(source: Path, out: Path, *more: str) -> int:
    return run(["prepare", str(source), "--out", str(out), "--seq-length", "32", *more])


@pytest.fixture
def whole(source: Path, tmp_path: Path) -> Callable[..., dict[str, bytes]]:
    def make(*more: str) -> dict[str, bytes]:
        assert prepare(source, tmp_path / "whole", *more) == 0
        return content(tmp_path / "whole")

    return make


def killed_at_block(number: int, source: Path, out: Path, *more: str) -> None:
    """Begin, or go on with, a preparation that is killed as it packs its block of that number."""
    command = [sys.executable, "-c", KILL, str(number)]
    arguments = ["prepare", str(source), "--out", str(out), "--seq-length", "32", *more]
    assert subprocess.run([*command, *arguments], cwd=ROOT).returncode == -signal.SIGKILL
    assert not out.exists()


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--layout", "uer", "--workers", "2"],
        ["--deduplicate", "near", "--whole-words"],
    ],
    ids=" ".join,
)
def test_killed_twice_and_resumed_it_leaves_the_same(source, tmp_path, whole, options, capsys) -> None:
    out, expected = tmp_path / "out", whole(*options)
    killed_at_block(7, source, out, *options)
    assert (tmp_path / ".out.partial" / "progress.json").exists()
    killed_at_block(9, source, out, *options, "--resume")
    point = json.loads((tmp_path / ".out.partial" / "progress.json").read_text())["point"]
    assert point["number"] > 0  # in the second file
    assert prepare(source, out, *options, "--resume", "--json") == 0
    assert content(out) == expected
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    manifest = json.loads(expected["manifest.json"])
    assert {key: told[key] for key in ("documents", "tokens", "rows", "bytes_in")} == {
        key: manifest[key] for key in ("documents", "tokens", "rows", "bytes_in")
    }
    assert sorted(os.listdir(tmp_path)) == ["corpus", "out", "whole"]


def fail_at(number: int, error: Exception) -> Callable[..., None]:
    """What fails the `number`th time, and goes well before and afterwards."""
    calls: list[int] = []
    write = shard_writer.ShardWriter.write

    def fail(*arguments) -> None:
        calls.append(1)
        if len(calls) == number:
            raise error
        write(*arguments)

    return fail


def stopped(source: Path, out: Path, monkeypatch: pytest.MonkeyPatch, at: int = 12, *more: str) -> dict[str, bytes]:
    """Stop a preparation at its block of that number, as a full disk does; what it leaves."""
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with monkeypatch.context() as patched:
        patched.setattr(shard_writer.ShardWriter, "write", fail_at(at, full))
        assert prepare(source, out, *more) == 2
    assert not out.exists()
    return content(out.with_name(f".{out.name}.partial"))


def test_a_full_disk_loses_nothing_that_was_saved(source, tmp_path, whole, monkeypatch, capsys) -> None:
    expected, out = whole(), tmp_path / "out"
    stopped(source, out, monkeypatch)
    errors = capsys.readouterr().err
    assert "weixing: no space left on the disk" in errors
    assert f"what is done is kept in {tmp_path}/.out.partial; the same command with --resume goes on" in errors
    assert prepare(source, out, "--resume") == 0
    assert content(out) == expected


def test_a_full_disk_as_progress_is_saved_ends_it_and_loses_nothing(source, tmp_path, whole, monkeypatch, capsys):
    expected, out = whole(), tmp_path / "out"
    write_json, calls = record.write_json, []

    def full_later(path: Path, value: object) -> None:
        calls.append(path)
        if len(calls) > 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_json(path, value)

    with monkeypatch.context() as patched:
        patched.setattr(record, "write_json", full_later)
        assert prepare(source, out) == 2
    assert "no space left on the disk" in capsys.readouterr().err
    assert prepare(source, out, "--resume") == 0
    assert content(out) == expected


def test_without_resume_it_is_begun_anew_with_a_note(source, tmp_path, whole, monkeypatch, capsys) -> None:
    expected, out = whole("--layout", "uer"), tmp_path / "out"
    stopped(source, out, monkeypatch)
    capsys.readouterr()
    assert prepare(source, out, "--layout", "uer") == 0
    assert ".out.partial holds a part of this output; it is begun anew" in capsys.readouterr().err
    assert content(out) == expected
    assert not (tmp_path / ".out.partial").exists()


def test_with_nothing_to_go_on_with_resume_begins(source, tmp_path, whole) -> None:
    assert prepare(source, tmp_path / "out", "--resume") == 0
    assert content(tmp_path / "out") == whole()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layout", "uer"], '--layout "packed", not "uer"'),
        (["--whole-words"], "--whole-words false, not true"),
        (["--min-chars", "3"], "had cleaning"),
        (["--vocab", "1/64"], "had --vocab"),
    ],
)
def test_other_options_are_refused(source, tmp_path, monkeypatch, capsys, options, message) -> None:
    kept = stopped(source, tmp_path / "out", monkeypatch)
    if options[0] == "--vocab":
        options = ["--vocab", str(tmp_path / "vocab.txt")]
        text = "".join(f"{token}\n" for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "天"))
        (tmp_path / "vocab.txt").write_text(text, encoding="utf-8")
    assert prepare(source, tmp_path / "out", *options, "--resume") == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert "Resume with the same options and files, or begin anew" in errors
    assert content(tmp_path / ".out.partial") == kept


@pytest.mark.parametrize("change", ["touched", "gone", "more"])
def test_another_corpus_is_refused(source, tmp_path, monkeypatch, capsys, change) -> None:
    kept = stopped(source, tmp_path / "out", monkeypatch)
    if change == "touched":
        os.utime(source / "a.txt", (0, 0))
    elif change == "gone":
        (source / "c.jsonl").unlink()
    else:
        (source / "aa.txt").write_text("天地\n", encoding="utf-8")
    assert prepare(source, tmp_path / "out", "--resume") == 2
    message = {"touched": "a.txt: this file of the corpus has been changed since it was read",
               "gone": f"file 3 of the corpus was {source}/c.jsonl and is missing now",
               "more": f"file 2 of the corpus was {source}/b.txt.gz and is {source}/aa.txt now"}[change]  # fmt: skip
    assert message in capsys.readouterr().err
    assert content(tmp_path / ".out.partial") == kept


def test_a_file_changed_where_it_had_been_read_is_prepared_anew_from_its_beginning(
    source, tmp_path, whole, monkeypatch, capsys
) -> None:
    out, file = tmp_path / "out", source / "b.txt.gz"
    stopped(source, out, monkeypatch, 12, "--deduplicate", "exact")
    point = json.loads((tmp_path / ".out.partial" / "progress.json").read_text())["point"]
    assert (point["number"], point["end"] > 0) == (1, True)
    text = gzip.decompress(file.read_bytes())
    file.write_bytes(gzip.compress(text.replace("天".encode(), "地".encode(), 1)))
    assert prepare(source, out, "--deduplicate", "exact", "--resume") == 0
    assert (
        "b.txt.gz is not as it was when it was read; it is prepared anew from its beginning" in capsys.readouterr().err
    )
    assert content(out) == whole("--deduplicate", "exact")


def test_a_damaged_compressed_file_is_named_with_its_byte_and_goes_on_once_it_is_mended(
    source, tmp_path, whole, capsys
) -> None:
    expected, out, file = whole(), tmp_path / "out", source / "b.txt.gz"
    good = file.read_bytes()
    file.write_bytes(good[: len(good) // 2])
    assert prepare(source, out) == 2
    errors = capsys.readouterr().err
    assert f"b.txt.gz: the compressed file is damaged or cut short, at byte {len(good) // 2:,} or before it" in errors
    assert not out.exists()
    assert prepare(source, out, "--resume") == 2  # not mended yet
    assert (tmp_path / ".out.partial" / "progress.json").exists()
    file.write_bytes(good)
    assert prepare(source, out, "--resume") == 0
    assert content(out) == expected


def test_a_corpus_file_that_vanishes_is_named_and_it_goes_on_once_it_is_back(
    source, tmp_path, whole, monkeypatch, capsys
) -> None:
    expected, out, file = whole(), tmp_path / "out", source / "c.jsonl"
    save, elsewhere = record.Record.save_now_and_then, tmp_path / "elsewhere"

    def save_and_move(self, packed) -> None:
        save(self, packed)
        if file.exists():
            file.rename(elsewhere)

    with monkeypatch.context() as patched:
        patched.setattr(record.Record, "save_now_and_then", save_and_move)
        assert prepare(source, out) == 2
    assert f"{file}: cannot read the corpus file: No such file or directory" in capsys.readouterr().err
    assert prepare(source, out, "--resume") == 2
    assert f"file 3 of the corpus was {file} and is missing now" in capsys.readouterr().err
    shutil.move(elsewhere, file)
    assert prepare(source, out, "--resume") == 0
    assert content(out) == expected


def test_a_disk_that_cannot_be_read_is_named_with_its_byte(source, tmp_path, monkeypatch, capsys) -> None:
    def broken(disk, file: Path, size: int):
        yield disk.read(10)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("weixing.text.decompression._decompressed", broken)
    assert prepare(source, tmp_path / "out") == 2
    assert "a.txt: it cannot be read beyond byte 10: Input/output error" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["rows-00000.bin", "keys"])
def test_what_is_no_longer_whole_is_not_gone_on_with(source, tmp_path, monkeypatch, capsys, name) -> None:
    stopped(source, tmp_path / "out", monkeypatch, 12, "--deduplicate", "exact")
    os.truncate(tmp_path / ".out.partial" / name, 10)
    assert prepare(source, tmp_path / "out", "--deduplicate", "exact", "--resume") == 2
    assert f"{name}: what was done of this output is no longer whole" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_two_at_once_are_not_possible(source, tmp_path, monkeypatch, capsys) -> None:
    save, codes = record.Record.save_now_and_then, []

    def save_and_try(self, packed) -> None:
        if not codes:
            codes.append(None)
            codes[0] = prepare(source, tmp_path / "out")
        save(self, packed)

    monkeypatch.setattr(record.Record, "save_now_and_then", save_and_try)
    assert prepare(source, tmp_path / "out") == 0
    assert codes == [2]
    assert "another process is making this output now" in capsys.readouterr().err
