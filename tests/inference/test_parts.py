"""A growing output: whole chunks alone survive, another task's are not gone on with, nothing is left behind."""

from pathlib import Path

import pytest

from weixing.errors import UserError
from weixing.inference.parts import Part


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "out.bin"


def complete(data: Path) -> Path:
    data.write_bytes(data.read_bytes() + b"!")
    return data


def test_what_is_appended_is_the_output_and_nothing_else_is_left(out: Path) -> None:
    part = Part(out, {"a": 1})
    assert part.done == {}
    part.append(b"one ", {"chunks": 1})
    assert not out.exists()
    part.append(b"two", {"chunks": 2})
    part.finish(complete)
    assert out.read_bytes() == b"one two!"
    assert list(out.parent.iterdir()) == [out]


def test_an_output_may_be_made_beside_the_part(out: Path) -> None:
    part = Part(out, {})
    part.append(b"raw", {})

    def beside(data: Path) -> Path:
        data.with_name("made").write_bytes(data.read_bytes().upper())
        return data.with_name("made")

    part.finish(beside)
    assert out.read_bytes() == b"RAW"
    assert list(out.parent.iterdir()) == [out]


def test_half_a_chunk_is_cut_off_when_it_goes_on(out: Path) -> None:
    part = Part(out, {"a": 1})
    part.append(b"one ", {"chunks": 1})
    with open(part.data, "ab") as stream:
        stream.write(b"hal")  # killed here, before the state was written
    again = Part(out, {"a": 1}, resume=True)
    assert again.done == {"chunks": 1}
    again.append(b"two", {"chunks": 2})
    again.finish(complete)
    assert out.read_bytes() == b"one two!"


def test_an_unfinished_part_is_neither_lost_nor_gone_on_with_unasked(out: Path) -> None:
    Part(out, {"a": 1, "b": "x"}).append(b"one", {})
    with pytest.raises(UserError, match=r"earlier run left a part.*--resume; or begin anew: --overwrite"):
        Part(out, {"a": 1, "b": "x"})
    with pytest.raises(UserError, match=r'had b "x", not "y".*Resume with the same settings'):
        Part(out, {"a": 1, "b": "y"}, resume=True)
    anew = Part(out, {"a": 2}, overwrite=True)
    assert anew.done == {}
    assert list(out.parent.iterdir()) == []


def test_nothing_to_go_on_with_is_a_beginning_and_a_part_that_shrank_is_refused(out: Path) -> None:
    part = Part(out, {}, resume=True)
    part.append(b"one", {})
    part.data.write_bytes(b"o")
    with pytest.raises(UserError, match="shorter than it was"):
        Part(out, {}, resume=True)


def test_an_output_that_exists_is_kept(out: Path) -> None:
    out.parent.mkdir()
    out.write_bytes(b"precious")
    for resume in (False, True):
        with pytest.raises(UserError, match="exists already"):
            Part(out, {}, resume=resume)


def test_a_full_disk_leaves_nothing_at_the_first_chunk_and_the_chunks_before_at_a_later_one(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    part = Part(out, {})
    with monkeypatch.context() as patch:
        patch.setattr("weixing.inference.parts.os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            part.append(b"one", {"chunks": 1})
        assert list(out.parent.iterdir()) == []
    part.append(b"one", {"chunks": 1})
    with monkeypatch.context() as patch:
        patch.setattr("weixing.inference.parts.os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            part.append(b"two", {"chunks": 2})
    again = Part(out, {}, resume=True)
    assert again.done == {"chunks": 1}
    again.append(b"2", {"chunks": 2})
    again.finish(lambda data: data)
    assert out.read_bytes() == b"one2"
