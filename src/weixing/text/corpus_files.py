"""Which files a corpus is: files, folders and globs, here or in a store. Looks into folders; opens no file."""

import glob
import os
import re
from pathlib import Path
from typing import Any, cast

from weixing.errors import UserError
from weixing.storage import is_remote, place, reaching

ACCEPTED = (
    "UTF-8 text (.txt) or JSON lines (.jsonl), each also .gz .zst .xz; tables with a column `text` (.parquet, .arrow); "
    "folders and globs of them, here or in a store (s3://…)"
)
_NAME = re.compile(r".*\.(?:(txt|jsonl)(?:|\.gz|\.zst|\.xz)|(parquet|arrow))", re.DOTALL)
# What `datasets` keeps of its own computations beside a data set: the same rows again, in part or changed.
_CACHE = re.compile(r"cache-.*\.arrow", re.DOTALL)


def form_of(file: Path) -> str:
    """What the name says: "txt", "jsonl", "parquet", "arrow", or "" if it is no corpus file's."""
    match = _NAME.fullmatch(file.name.lower())
    return match[1] or match[2] if match else ""


def corpus_files(source: str | Path) -> list[Path]:
    """The corpus files that a source names, the files of a folder or glob sorted by path.

    Raises:
        UserError: none, or one of another format; a store that cannot be reached.
    """
    with reaching(source):
        return _found(place(source), source)


def _found(path: Path, source: str | Path) -> list[Path]:
    if path.is_dir():
        files, what = _within(path), "the folder holds no corpus file"
    elif path.exists():
        files, what = [path] if form_of(path) else [], f"a corpus file cannot end in {path.suffix!r}"
    elif glob.has_magic(str(source)):
        files = [file for match in _matches(path) for file in (_within(match) if match.is_dir() else [match])]
        files, what = list(filter(form_of, files)), "no corpus file has such a name"
    else:
        files, what = [], "there is no such corpus file or folder"
    if not files:
        raise UserError(what, where=source, accepted=ACCEPTED)
    return files


def _matches(pattern: Path) -> list[Path]:
    if not is_remote(pattern):
        return [match for match in map(Path, sorted(glob.glob(str(pattern), recursive=True))) if _counts(match.name)]
    fixed = pattern
    while glob.has_magic(str(fixed)):
        fixed = fixed.parent
    found = fixed.glob(str(pattern)[len(str(fixed)) :].lstrip("/"))
    return sorted((match for match in found if _counts(match.name)), key=str)


def _counts(name: str) -> bool:
    """Whether a file or folder found by search is looked at."""
    return not name.startswith(".") and not _CACHE.fullmatch(name)


def _within(folder: Path) -> list[Path]:
    """Corpus files in a folder and below, sorted by path; hidden files and folders are passed over.

    Raises:
        UserError: a folder that may not be read.
    """

    def refuse(error: OSError) -> None:
        raise UserError(f"cannot read the folder: {error.strerror}", where=error.filename)

    found: list[Path] = []
    walk: Any = cast(Any, folder).walk(on_error=refuse) if is_remote(folder) else os.walk(folder, onerror=refuse)
    for parent, folders, names in walk:
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = parent if is_remote(folder) else Path(parent)
        found += [inside / name for name in names if _counts(name)]
    return sorted(filter(form_of, found), key=lambda file: file.parts)
