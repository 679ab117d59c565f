"""Outputs appear whole or not at all, and replace nothing but outputs of this project, and those only when asked."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from weixing.errors import UserError
from weixing.files import MARKERS, atomic_file, atomic_folder, new_folder, require_new


def fill(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text("old")
    return folder


def write_folder(path: Path, **options: bool) -> None:
    with atomic_folder(path, **options) as beside:
        (beside / "new").write_text("new")


@pytest.fixture
def gone() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize("make", [write_folder, new_folder])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_is_no_output_of_ours_is_never_replaced(tmp_path, make, overwrite):
    folder = fill(tmp_path / "thesis", "chapter.tex")
    with pytest.raises(UserError, match=r"never replaced\. Accepted: a new or empty folder, or one with run\.json"):
        make(folder, overwrite=overwrite)
    assert [path.name for path in tmp_path.rglob("*")] == ["thesis", "chapter.tex"]


@pytest.mark.parametrize("make", [write_folder, new_folder])
@pytest.mark.parametrize("marker", MARKERS)
def test_an_output_of_ours_is_replaced_when_asked_and_only_then(tmp_path, make, marker):
    folder = fill(tmp_path / "out", marker, "other")
    (folder / "deeper").mkdir()
    with pytest.raises(UserError, match="--overwrite"):
        make(folder)
    assert (folder / "other").exists()
    make(folder, overwrite=True)
    assert {path.name for path in folder.iterdir()} <= {"new"}
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("make", [write_folder, new_folder])
def test_an_empty_folder_is_as_good_as_none(tmp_path, make):
    (tmp_path / "out").mkdir()
    make(tmp_path / "out")
    make(tmp_path / "one" / "two")
    assert (tmp_path / "one" / "two").is_dir()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_and_a_folder_do_not_take_each_others_place(tmp_path, overwrite):
    file = tmp_path / "file"
    file.write_text("x")
    folder = fill(tmp_path / "folder", "run.json")
    with pytest.raises(UserError, match=r"file: this is a file\. Accepted: a folder"):
        require_new(file, overwrite)
    with pytest.raises(UserError, match=r"folder: this is a folder\. Accepted: a file"):
        require_new(folder, overwrite, folder=False)
    for below in (file / "out", file / "deep" / "out"):
        with pytest.raises(UserError, match="file: this is not a folder"):
            require_new(below, overwrite)


def test_what_a_link_points_to_is_replaced_and_the_link_stays(tmp_path):
    fill(tmp_path / "disk", "run.json")
    (tmp_path / "out").symlink_to("disk")
    write_folder(tmp_path / "out", overwrite=True)
    assert (tmp_path / "out").is_symlink()
    assert os.listdir(tmp_path / "disk") == ["new"]


def test_the_current_folder_can_be_the_output(tmp_path, monkeypatch):
    monkeypatch.chdir(fill(tmp_path / "here"))
    write_folder(Path("."))
    assert os.listdir(tmp_path / "here") == ["new"]


def test_an_output_that_fails_leaves_what_was_there(tmp_path):
    folder = fill(tmp_path / "out", "run.json")
    with suppress(ZeroDivisionError), atomic_folder(folder, overwrite=True) as beside:
        (beside / "half").write_text("half")
        raise ZeroDivisionError
    with suppress(ZeroDivisionError), atomic_file(tmp_path / "file") as beside:
        beside.write_text("half")
        raise ZeroDivisionError
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")} == {"out", "out/run.json"}


def test_what_killed_processes_left_is_removed_and_what_living_ones_write_is_not(tmp_path, gone):
    living = os.getppid()
    for name in ("out", "file"):
        fill(tmp_path / f".{name}.writing-{gone}", "half")
        (tmp_path / f".{name}.replaced-{gone}").write_text("old")
    kept = {f".out.writing-{living}", f".outer.writing-{gone}", f".out.writing-{gone}.txt", f"out.writing-{gone}"}
    for name in kept:
        fill(tmp_path / name)
    write_folder(tmp_path / "out")
    assert {f".file.writing-{gone}", f".file.replaced-{gone}"} < set(os.listdir(tmp_path))
    with atomic_file(tmp_path / "file") as beside:
        beside.write_text("new")
    assert set(os.listdir(tmp_path)) == {"out", "file", *kept}
