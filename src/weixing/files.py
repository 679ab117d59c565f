"""Files that appear whole or not at all: write beside, fsync, rename. Every output of the project goes through here.

Raises UserError where an output exists and may not be overwritten; lets OSError (a full disk) through after
removing what was half made.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from weixing.errors import UserError


def require_new(path: Path, overwrite: bool = False) -> None:
    """Raise UserError if `path` exists (a non-empty folder, or a file) and may not be overwritten."""
    if overwrite or not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    raise UserError(
        "the output exists already", where=path, action="Name another output, or pass --overwrite to replace it"
    )


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; on success fsync it and rename it to `path`, on failure remove it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.writing-{os.getpid()}")
    try:
        yield beside
        _fsync(beside)
        os.replace(beside, path)
        _fsync(path.parent)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a new folder beside `path` to fill; on success fsync its files and rename it to `path`.

    With `overwrite`, an existing folder is kept until the new one is complete, then replaced.

    Raises:
        UserError: `path` exists and `overwrite` is false.
    """
    path = Path(path)
    require_new(path, overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.writing-{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    try:
        yield beside
        for file in sorted(beside.rglob("*")):
            _fsync(file)
        if path.exists():
            old = path.with_name(f".{path.name}.replaced-{os.getpid()}")
            os.replace(path, old)
            os.replace(beside, path)
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        else:
            os.replace(beside, path)
        _fsync(path.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


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
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"this is not {what}: {error}", where=path) from None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
