"""Files that appear whole or not at all: write beside, fsync, rename. Every output of the project goes through here.

Raises UserError where an output exists and may not be overwritten; lets OSError (a full disk) through after
removing what was half made, or keeping it where the work can be gone on with.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from weixing.errors import UserError
from weixing.progress import say

MARKERS = (
    *("run.json", "family.json", "manifest.json", "config.json", "results.jsonl", "demo.json", "state.pt"),
    "uer_config.json",
)
"""A folder that holds one of these is an output of this project: run, family of runs, shards, model, results, demo,
checkpoint, UER-py's."""

_HALF_MADE = re.compile(r"\.(.+)\.(?:writing|replaced)-(\d{1,9})")  # beside an output of that name, by that process


def require_new(path: Path, overwrite: bool = False, folder: bool = True) -> None:
    """Make sure that an output can be made at `path`, or may be replaced there.

    Args:
        overwrite: whether an output that exists may be replaced.
        folder: whether the output is a folder; else it is a file. An empty folder counts as none,
            and so does one that holds what killed processes left half made, and nothing else.

    Raises:
        UserError: the output exists and `overwrite` is false, or is in a store; a folder that is no output of this
            project; a file in the place of a folder, or the other way round.
    """
    path, kind = Path(path), "folder" if folder else "file"
    if re.match("[a-z0-9]{2,}:/", str(path)):  # what Path makes of s3://…
        raise UserError(f"the {kind} is in a store", where=path, accepted="a place on a disk; copy it afterwards")
    above = next(parent for parent in path.absolute().parents if parent.exists())
    if not above.is_dir():
        raise UserError("this is not a folder", where=above, accepted=f"a folder to hold the {kind} {path.name}")
    if not path.exists() or (folder and path.is_dir() and all(map(_is_half_made, path.iterdir()))):
        return
    if not (path.is_dir() if folder else path.is_file()):
        raise UserError(f"this is {'a folder' if path.is_dir() else 'a file'}", where=path, accepted=f"a {kind} name")
    if folder and not any((path / marker).is_file() for marker in MARKERS):
        raise UserError(
            "this folder holds something that weixing did not make, so it is never replaced",
            where=path,
            accepted=f"a new or empty folder, or one with {', '.join(MARKERS[:-1])} or {MARKERS[-1]}",
        )
    if not overwrite:
        raise UserError(
            "the output exists already", where=path, action="Name another output, or pass --overwrite to replace it"
        )


def new_folder(path: Path, overwrite: bool = False) -> None:
    """Make `path` an empty folder, for an output that grows in place; its first file should be one of `MARKERS`.

    Raises:
        UserError: as `require_new`.
    """
    require_new(path, overwrite)
    path.mkdir(parents=True, exist_ok=True)
    for entry in path.iterdir():
        _remove(entry)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; on success fsync it and rename it to `path`, on failure remove it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent, path.name)
    beside = path.with_name(f".{path.name}.writing-{os.getpid()}")
    try:
        yield beside
        fsync(beside)
        os.replace(beside, path)
        fsync(path.parent)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a new folder beside `path` to fill; on success fsync its files and rename it to `path`.

    With `overwrite`, an existing folder is kept until the new one is complete, then replaced.

    Raises:
        UserError: as `require_new`.
    """
    require_new(path, overwrite)
    path = Path(path).resolve()  # a link stays, and what it points to is replaced; "." gets a name
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent, path.name)
    beside = path.with_name(f".{path.name}.writing-{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    try:
        yield beside
        _put_in_place(beside, path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def resumable_folder(path: Path, progress: str, *, overwrite: bool = False, resume: bool = False) -> Iterator[Path]:
    """As `atomic_folder`, for work that can be gone on with: what a failure leaves is kept in ``.NAME.partial``.

    Kept is a folder in which the file `progress` says how far the work is; any other is removed. The folder that is
    yielded holds what was kept before if `resume`, else nothing; `progress` is to be removed before success.

    Args:
        path: the output.
        progress: name of that file.
        overwrite: whether an output that exists may be replaced.
        resume: whether to go on with what was kept; without it that is replaced, with a note.

    Raises:
        UserError: as `require_new`; or another process works on the same output now.
    """
    require_new(path, overwrite)
    path = Path(path).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent, path.name)
    beside = path.with_name(f".{path.name}.partial")
    beside.mkdir(exist_ok=True)
    with _held(beside):
        kept = (beside / progress).exists()
        if kept and not resume:
            say(f"note: {beside} holds a part of this output; it is begun anew (--resume would go on with it)")
        if not (kept and resume):
            for entry in beside.iterdir():
                _remove(entry)
        try:
            yield beside
            _put_in_place(beside, path)
        finally:
            if (beside / progress).exists():
                say(f"note: what is done is kept in {beside}; the same command with --resume goes on from there")
            else:
                shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """A lock that ends with this process, however it ends; where a disk has no locks, none."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UserError(
            "another process is making this output now", where=folder, action="Wait for it, or name another output"
        ) from None
    except OSError:
        pass
    try:
        yield
    finally:
        os.close(descriptor)


def _put_in_place(beside: Path, path: Path) -> None:
    for file in sorted(beside.rglob("*")):
        fsync(file)
    if path.exists():
        old = path.with_name(f".{path.name}.replaced-{os.getpid()}")
        os.replace(path, old)
        os.replace(beside, path)
        shutil.rmtree(old)
    else:
        os.replace(beside, path)
    fsync(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as indented UTF-8 JSON, atomically."""
    with atomic_file(path) as beside:
        beside.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path, what: str) -> Any:
    """The JSON value in `path`; `what` names it in the error ("a shard manifest").

    Raises:
        UserError: the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no {what} here", where=path) from None
    except (ValueError, RecursionError) as error:  # also not UTF-8, endless digits, endless brackets
        raise UserError(f"this is not {what}: {error}", where=path) from None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def half_made(folder: Path) -> list[str]:
    """Names of the outputs in `folder` that a process which was killed left unfinished."""
    matches = (_HALF_MADE.fullmatch(entry.name) for entry in folder.iterdir() if _is_half_made(entry))
    return sorted(match[1] for match in matches if match)


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Remove what processes that were killed left half made in `folder`: of the output `name`, or of any."""
    for entry in list(folder.iterdir()):
        match = _HALF_MADE.fullmatch(entry.name)
        if match and name in (None, match[1]) and _is_half_made(entry):
            with suppress(
                OSError
            ):  # another process removes it as well, or a child of the killed one still writes there
                _remove(entry)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _is_half_made(path: Path) -> bool:
    match = _HALF_MADE.fullmatch(path.name)
    return match is not None and not _runs(int(match[2]))


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)  # asks, and sends nothing
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, as someone else
        pass
    return True


def fsync(path: Path) -> None:
    """Return when what was written to a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
