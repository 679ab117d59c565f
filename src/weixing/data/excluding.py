"""Files whose texts are to stay out of a corpus: dev and test sets, as task files have them. Opens them."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weixing.data.grams import Grams
from weixing.errors import UserError
from weixing.files import sha256_of
from weixing.text.decompression import pieces

PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class ExcludedFile:
    """A file that was kept out: its name without folders, checksum and number of texts."""

    file: str
    sha256: str
    texts: int


def read_excluded(files: Sequence[Path]) -> tuple[Grams, tuple[ExcludedFile, ...]]:
    """The sequences of all texts in `files`, and what the files were.

    A text is any string in a line that is JSON, or any field between tabs of another line; also where the file is
    compressed (.gz .zst .xz).

    Raises:
        UserError: a file that is missing, no file, not UTF-8, damaged, or without text.
    """
    texts: list[str] = []
    described = []
    for file in files:
        if file.is_dir():
            raise UserError("a folder", where=f"--exclude {file}", accepted="a file; the option may be repeated")
        data = b"".join(piece for piece, _ in pieces(file, PIECE_BYTES))
        try:
            lines = data.decode("utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise UserError(f"byte {error.start:,} is not UTF-8", where=f"--exclude {file}", accepted="UTF-8") from None
        here = [text for line in lines for text in _texts(line) if text and not text.isspace()]
        if not here:
            raise UserError("there is no text in this file", where=f"--exclude {file}")
        texts += here
        described.append(ExcludedFile(file.name, sha256_of(file), len(here)))
    return Grams(texts), tuple(described)


def _texts(line: str) -> Iterator[str]:
    if line.lstrip()[:1] in ("{", "["):
        try:
            yield from _strings(json.loads(line))
            return
        except (ValueError, RecursionError):
            pass  # a text that begins like that
    yield from line.split("\t")


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _strings(each)
