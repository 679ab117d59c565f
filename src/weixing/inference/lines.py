"""Texts of a file of any size, line by line, in chunks of bounded memory. Opens the file, to read.

What the name says, behind which .gz .zst .xz may follow: .jsonl has an object a line, .tsv a table under a header, any
other a text a line. An empty line is an empty text, so that the texts are numbered as the lines are.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from weixing.errors import UserError
from weixing.text.decompression import pieces

CHUNK_LINES = 4096  # enough for texts of like length to come together, and few to lose by a kill
CHUNK_BYTES = 4 << 20  # of lines; a longer line is a chunk of its own
PIECE_BYTES = 1 << 20  # read at a time

_NAME = re.compile(r".*\.(jsonl|tsv)(|\.gz|\.zst|\.xz)", re.DOTALL | re.IGNORECASE)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_USUAL_KEYS = (("text", "text_pair"), ("sentence", None), ("sentence1", "sentence2"))
_USUAL_COLUMNS = (("text_a", "text_b"),)


class BadLine(ValueError):
    """What is wrong with a line, said so that it can follow its place."""


@dataclass(frozen=True)
class Form:
    """How a line holds a text, or a pair.

    Args:
        kind: ``line``: it is one; ``record``: an object with keys; ``table``: fields between tabs.
        text, pair: the keys, or the columns (from 0).
        columns: of the table.
    """

    kind: Literal["line", "record", "table"]
    text: str | int = 0
    pair: str | int | None = None
    columns: int = 0

    def parse(self, line: str) -> tuple[str, str | None]:
        """The texts in a line without its end; no second one where there are no pairs.

        Raises:
            BadLine: they are not there.
        """
        if self.kind == "line":
            return line, None
        if not line or line.isspace():
            return "", None if self.pair is None else ""
        if self.kind == "record":
            return self._record(line)
        fields = line.split("\t")
        if len(fields) != self.columns:
            raise BadLine(f"{len(fields)} fields, but the header names {self.columns}")
        return fields[int(self.text)], None if self.pair is None else fields[int(self.pair)]

    def _record(self, line: str) -> tuple[str, str | None]:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BadLine(f"this is not JSON ({error})") from None
        if not isinstance(record, dict):
            raise BadLine("this is not a JSON object")
        found = []
        for key in (self.text,) if self.pair is None else (self.text, self.pair):
            if not isinstance(record.get(key), str):
                raise BadLine(f'no text "{key}"')
            if re.search("[\ud800-\udfff]", record[key]):
                raise BadLine(f'"{key}" holds half a surrogate pair, which is no character')
            found.append(record[key])
        return found[0], found[1] if self.pair is not None else None


@dataclass(frozen=True)
class Chunk:
    """Some lines.

    Attributes:
        first_line: the number of the first, from 1.
        texts: of each line; empty where it is bad.
        second_texts: of pairs.
        bad: what is wrong, by index among these lines.
        end: bytes of the decompressed file up to here.
        disk_bytes: bytes read from disk up to here.
    """

    first_line: int
    texts: list[str]
    second_texts: list[str] | None
    bad: dict[int, str]
    end: int
    disk_bytes: int


def form_of(path: Path, text: str | None = None, pair: str | None = None) -> Form:
    """The form of a file, by its name and its first line.

    Args:
        text, pair: keys or columns; None: the usual ones, pairs where they are there.

    Raises:
        UserError: the file cannot be read, is empty, or its first line has no such key or column.
    """
    if not path.is_file():
        what = "there is no such file" if not path.exists() else "this is not a file"
        raise UserError(what, where=path, accepted="a UTF-8 file: a text a line (.txt), .jsonl or .tsv")
    first = next((line for line, _, _ in _lines(path, 0)), None)
    if first is None:
        raise empty(path)
    match = _NAME.fullmatch(path.name)
    kind = match[1].lower() if match else "txt"
    if kind == "txt":
        if text is not None or pair is not None:
            raise UserError("a text a line has no columns", where=path, accepted="a .jsonl or .tsv for --text")
        return Form("line")
    try:
        decoded = first.decode()
        keys = list(json.loads(decoded)) if kind == "jsonl" else decoded.split("\t")
    except (ValueError, TypeError, RecursionError):
        keys = []
    usual = _USUAL_KEYS if kind == "jsonl" else _USUAL_COLUMNS
    if text is None:
        text, usual_pair = next(((one, two) for one, two in usual if one in keys), (None, None))
        pair = pair if pair is not None else usual_pair if usual_pair in keys else None
    for name in [text] if pair is None else [text, pair]:
        if name not in keys:
            what = "its keys" if kind == "jsonl" else "the header"
            raise UserError(
                f"no {name or ' or '.join(one for one, _ in usual)} among {what}: {', '.join(keys)[:80] or 'none'}",
                where=f"{path}:1",
                action="Name the text's with --text, and that of the second text of pairs with --text-pair",
            )
    assert text is not None
    if kind == "jsonl":
        return Form("record", text, pair)
    return Form("table", keys.index(text), None if pair is None else keys.index(pair), len(keys))


def chunks(
    path: Path, form: Form, *, end: int = 0, line: int = 1, most: int = CHUNK_LINES, most_bytes: int = CHUNK_BYTES
) -> Iterator[Chunk]:
    """The lines of a file, in order; from the same place on the chunks are always the same.

    Args:
        end, line: where to go on: as an earlier chunk's `end`, and the number of the line after it.
        most, most_bytes: of a chunk.

    Raises:
        UserError: the file cannot be read, or is damaged.
    """
    waiting: list[bytes] = []
    size = disk_bytes = 0
    place = end
    for content, place, disk_bytes in _lines(path, end):
        if form.kind == "table" and line == 1:  # the header
            line = 2
            continue
        waiting.append(content)
        size += len(content)
        if len(waiting) >= most or size >= most_bytes:
            yield _chunk(waiting, form, line, place, disk_bytes)
            line += len(waiting)
            waiting, size = [], 0
    if waiting:
        yield _chunk(waiting, form, line, place, disk_bytes)


def empty(path: Path) -> UserError:
    """What to tell the user about a file without any text."""
    return UserError("there is no text in this file", where=path, accepted="a UTF-8 file, one text a line")


def _chunk(lines: list[bytes], form: Form, first_line: int, end: int, disk_bytes: int) -> Chunk:
    texts, seconds, bad = [], [], {}
    for index, line in enumerate(lines):
        try:
            text, second = form.parse(line.decode().removesuffix("\r"))
        except UnicodeDecodeError as error:
            bad[index] = f"byte {error.start + 1} of this line is not UTF-8"
        except BadLine as error:
            bad[index] = str(error)
        else:
            texts.append(text)
            seconds.append(second or "")
            continue
        texts.append("")
        seconds.append("")
    return Chunk(first_line, texts, None if form.pair is None else seconds, bad, end, disk_bytes)


def _lines(path: Path, start: int) -> Iterator[tuple[bytes, int, int]]:
    """The lines from byte `start` on, without their ends, with the place behind each and the bytes read from disk."""
    place = 0
    begun: list[bytes] = []  # of a line that has not ended yet
    disk_bytes = 0
    for piece, disk_bytes in pieces(path, PIECE_BYTES):
        before, place = place, place + len(piece)
        if place <= start:
            continue
        if before < start:
            piece = piece[start - before :]
        elif before == 0:
            piece = piece.removeprefix(_BYTE_ORDER_MARK)
        at = place - len(piece)
        first, *rest = piece.split(b"\n")
        begun.append(first)
        if not rest:
            continue
        at += len(first) + 1
        yield b"".join(begun), at, disk_bytes
        for line in rest[:-1]:
            at += len(line) + 1
            yield line, at, disk_bytes
        begun = [rest[-1]]
    if last := b"".join(begun):
        yield last, place, disk_bytes
