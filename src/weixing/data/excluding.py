"""Files whose texts are to stay out of a corpus: dev and test sets, as task files have them. Opens them."""

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path
from typing import Any

from weixing.data.grams import Grams
from weixing.errors import UserError
from weixing.storage import place
from weixing.text.decompression import pieces

PIECE_BYTES = 1 << 20
_BIO_LINE = re.compile(r"\S+[ \t]+(O|[BIES]-\S+)\s*")  # tasks.bio knows more, but comes after this room


@dataclass(frozen=True)
class ExcludedFile:
    """A file that was kept out: its name without folders, checksum of its text, and number of texts."""

    file: str
    sha256: str
    texts: int


def read_excluded(files: Sequence[str | Path]) -> tuple[Grams, tuple[ExcludedFile, ...]]:
    """The sequences of all texts in `files`, and what the files were.

    A text is any string of JSON (a file, or a line of one), where a list of strings is also one text; any field of a
    ``.csv``; the words of a sentence of BIO; or any field between tabs of another line. Files may be compressed
    (.gz .zst .xz).

    Raises:
        UserError: a file that is missing, no file, not UTF-8, damaged, or without text.
    """
    texts: list[str] = []
    described = []
    for name in files:
        file, option = place(name), f"--exclude {name}"
        if file.is_dir():
            raise UserError("a folder", where=option, accepted="a file; the option may be repeated")
        data = b"".join(piece for piece, _ in pieces(file, PIECE_BYTES))
        try:
            whole = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UserError(f"byte {error.start:,} is not UTF-8", where=option, accepted="UTF-8") from None
        here = [text for text in _texts(whole, file.name) if text and not text.isspace()]
        if not here:
            raise UserError("there is no text in this file", where=option)
        texts += here
        described.append(ExcludedFile(file.name, hashlib.sha256(data).hexdigest(), len(here)))
    return Grams(texts), tuple(described)


def _texts(whole: str, name: str) -> Iterator[str]:
    if whole.lstrip()[:1] in ("{", "[") and (value := _json(whole)) is not None:
        yield from _strings(value)
        return
    if ".csv" in Path(name).suffixes:
        yield from chain.from_iterable(csv.reader(io.StringIO(whole)))
        return
    lines = [line.removesuffix("\r") for line in whole.split("\n")]
    first = next((line for line in lines if line), "")
    if name.endswith(".bio") or _BIO_LINE.fullmatch(first):
        for filled, sentence in groupby(lines, bool):
            if filled:
                yield "".join(line.split()[0] for line in sentence if line.split())
        return
    for line in lines:
        value = _json(line) if line.lstrip()[:1] in ("{", "[") else None
        yield from _strings(value) if value is not None else line.split("\t")


def _json(text: str) -> Any:
    """The value, or None if this is not JSON but a text that begins like it."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) and value and all(isinstance(word, str) for word in value):
        yield from value
        if len(value) > 1:  # the words of a sentence, perhaps
            yield "".join(value)
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _strings(each)
