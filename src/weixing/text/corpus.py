"""Corpus readers: documents out of text files of any size, in constant memory, as blocks of bytes or as strings.

Opens the corpus files, for reading only, in threads of its own. Reads blocks of whole documents, so that a document
costs little Python; memory is bounded by the block size and the longest document. Knows nothing of tokens.
"""

import json
import re
import zlib
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np

from weixing.errors import UserError
from weixing.storage import reaching
from weixing.text.arrow import tables
from weixing.text.corpus_files import corpus_files, form_of
from weixing.text.decompression import pieces

BLOCK_BYTES = 2 << 20  # decompressed; a block ends with the first document that ends after so many

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_PLACES = np.arange(1, BLOCK_BYTES // 4 + 1, dtype=np.uint64)  # of the integers of a block of twice that size


@dataclass(frozen=True)
class Block:
    """Whole documents of one file.

    Args:
        data: lines, not yet known to be UTF-8; the last one of a file may be unended. Not empty.
        form: how they hold documents: one a `line`; the lines up to a `blank-line`; a JSON `record` a line; or a `row`
            of a table, whose texts follow one another without anything between.
        file: where they are.
        start: how many bytes of the decompressed file come before them.
        first_line: the number of their first line, from 1; of records only.
        disk_bytes: how many bytes of the file had been read from disk when they were complete.
        offsets: int64 [texts + 1], of rows only: where in `data` each text begins, and the last one ends.
        number: of the file among those of the corpus, from 0.
        checksum: of the file's decompressed bytes up to the end of this block.
    """

    data: bytes
    form: Literal["line", "blank-line", "record", "row"]
    file: Path
    start: int
    first_line: int
    disk_bytes: int
    offsets: np.ndarray | None = None
    number: int = 0
    checksum: int = 0

    @property
    def end(self) -> int:
        """How many bytes of the decompressed file come before what follows it."""
        return self.start + len(self.data)

    def documents(self) -> Iterator[str]:
        """The documents as strings; a blank one may come as any white space.

        Raises:
            UserError: bytes that are not UTF-8, lines that are not {"text": …}.
        """
        if self.offsets is not None:
            return self._rows(self.offsets)
        try:
            text = self.data.decode()
        except UnicodeDecodeError as error:
            raise self.not_utf8(error) from None
        lines = text.removesuffix("\n").split("\n")
        if "\r" in text:
            lines = [line.removesuffix("\r") for line in lines]
        match self.form:
            case "record":
                return _texts(lines, self.file, self.first_line)
            case "blank-line":
                return _paragraphs(lines)
        return iter(lines)

    def _rows(self, offsets: np.ndarray) -> Iterator[str]:
        for row, (start, end) in enumerate(pairwise(offsets.tolist()), self.first_line):
            try:
                yield self.data[start:end].decode()
            except UnicodeDecodeError as error:
                raise UserError(
                    f"not UTF-8: {error.reason}", where=f"{self.file}, row {row}", accepted="UTF-8"
                ) from None

    def not_utf8(self, error: UnicodeDecodeError) -> UserError:
        """What to tell the user about an error of decoding `data`."""
        if self.offsets is not None:
            list(self.documents())  # which knows the row
        return UserError(
            f"byte {self.start + error.start:,} of the text (0x{self.data[error.start]:02x}) is not UTF-8",
            where=self.file,
            accepted="UTF-8",
            action="Convert the file, for example with: iconv -f GB18030 -t UTF-8",
        )


class CorpusReader:
    r"""The documents of a corpus, one string each, never blank.

    A line ends with \n or \r\n; any other white space, a lone \r too, is part of the text. A byte order mark at the
    start of a file is skipped. Iterating again starts again.

    Args:
        sources: files, folders (searched recursively, hidden and other files in them passed over) and globs, here or
            in a store (``s3://bucket/folder``); read in this order, the files of a folder or glob sorted by name.
        documents: in .txt files, ``line``: a document a line; or ``blank-line``: a sentence a line and an empty line
            between documents, whose sentences are joined with \n. In .jsonl every record is a document, in tables every
            row.

    Attributes:
        files: the files, in reading order.
        total_bytes: their size on disk.
        bytes_read: decompressed bytes given out so far.
        disk_bytes_read: the bytes on disk that these took, to measure progress against `total_bytes`.
        documents_read: documents given out so far.
        blank: documents left out so far because they are empty or white space.

    Raises:
        UserError: a source that is missing, empty or of another format. While iterating: bytes that are not UTF-8,
            records that are not {"text": …}, damaged compressed files; at the end, a corpus without any document.
    """

    def __init__(self, sources: Sequence[str | Path], documents: Literal["line", "blank-line"] = "line") -> None:
        if documents not in ("line", "blank-line"):
            raise UserError(f"documents separated by {documents!r}", accepted="line, blank-line")
        self._form: Literal["line", "blank-line"] = documents
        self.files = [file for source in sources for file in corpus_files(source)]
        self.total_bytes = sum(map(_size, self.files))
        self._rewind()

    def _rewind(self) -> None:
        self.bytes_read = self.disk_bytes_read = self.documents_read = self.blank = 0

    def __iter__(self) -> Iterator[str]:
        for block in self.blocks():
            for document in block.documents():
                if not document or document.isspace():
                    self.blank += 1
                else:
                    self.documents_read += 1
                    yield document
        if not self.documents_read:
            raise self.empty()

    def empty(self) -> UserError:
        """What to tell the user about a corpus without any document."""
        return UserError(
            f"the corpus is empty: no document in {len(self.files)} file(s) of {self.bytes_read:,} bytes",
            where=", ".join(map(str, self.files[:3])) + (", …" if len(self.files) > 3 else ""),
            accepted="at least one line that is not blank",
        )

    def blocks(
        self, files_ahead: int = 1, first: int = 0, bytes_before: int = 0, disk_bytes_before: int = 0
    ) -> Generator[Block]:
        """The corpus as blocks of bytes, in order. Their text is not checked yet, and they may be blank.

        Each file is read and decompressed by a thread, one block ahead.

        Args:
            files_ahead: how many files are read at a time.
            first: number of the file to begin with.
            bytes_before, disk_bytes_before: what `bytes_read` and `disk_bytes_read` are before it.
        """
        self._rewind()
        before, disk_before = self.bytes_read, self.disk_bytes_read = bytes_before, disk_bytes_before
        remaining = iter(enumerate(self.files[first:], first))
        reading: deque[tuple[Iterator[Block], Future[Block | None]]] = deque()
        with ThreadPoolExecutor(files_ahead) as pool:
            while True:
                while len(reading) < files_ahead and (numbered := next(remaining, None)):
                    blocks = self._blocks(*numbered)
                    reading.append((blocks, pool.submit(next, blocks, None)))
                if not reading:
                    return
                blocks, step = reading[0]
                if block := step.result():
                    reading[0] = blocks, pool.submit(next, blocks, None)
                    self.bytes_read = before + block.end
                    self.disk_bytes_read = disk_before + block.disk_bytes
                    yield block
                else:
                    reading.popleft()
                    before, disk_before = self.bytes_read, self.disk_bytes_read

    def _blocks(self, number: int, file: Path) -> Iterator[Block]:
        start, line, checksum = 0, 1, 0
        if (kind := form_of(file)) in ("parquet", "arrow"):
            for data, offsets, disk_bytes in tables(file, kind):
                if data:
                    checksum = _checksum(data, checksum)
                    yield Block(data, "row", file, start, line, disk_bytes, offsets, number, checksum)
                start += len(data)
                line += len(offsets) - 1
            return
        form: Literal["line", "blank-line", "record"] = "record" if kind == "jsonl" else self._form
        for data, disk_bytes in _whole_documents(pieces(file, BLOCK_BYTES), form):
            if start == 0 and data.startswith(_BYTE_ORDER_MARK):
                start, data = len(_BYTE_ORDER_MARK), data.removeprefix(_BYTE_ORDER_MARK)
            if data:
                checksum = _checksum(data, checksum)
                yield Block(data, form, file, start, line, disk_bytes, None, number, checksum)
            start += len(data)
            line += data.count(b"\n") if form == "record" else 0


def _checksum(data: bytes, before: int) -> int:
    """Of bytes that follow those with checksum `before`.

    Integers of 8 bytes are added up, each times its place, so that their order counts: a third of the time of a CRC.
    """
    words = np.frombuffer(data, "<u8", len(data) // 8)
    places = _PLACES[: len(words)] if len(words) <= len(_PLACES) else np.arange(1, len(words) + 1, dtype=np.uint64)
    total = int(np.dot(words, places))
    return zlib.crc32(data[8 * len(words) :] + total.to_bytes(8, "little"), before)


def _size(file: Path) -> int:
    with reaching(file):
        return file.stat().st_size


def _whole_documents(pieces: Iterable[tuple[bytes, int]], form: str) -> Iterator[tuple[bytes, int]]:
    """The bytes of `pieces` cut at ends of documents, each with the bytes read from disk until then."""
    waiting: list[bytes | memoryview] = []
    size = disk_bytes = 0
    for piece, disk_bytes in pieces:
        size += len(piece)
        end = _end_of_documents(piece, form == "blank-line") if size >= BLOCK_BYTES else 0
        if end:
            yield b"".join([*waiting, memoryview(piece)[:end]]), disk_bytes
            waiting, size = [memoryview(piece)[end:]], len(piece) - end
        else:
            waiting.append(piece)
    if size:
        yield b"".join(waiting), disk_bytes


def _end_of_documents(piece: bytes, blank_line: bool) -> int:
    """Where the last line, or the last blank line, in a piece of a file ends; 0 if none is known to."""
    end = piece.rfind(b"\n") + 1
    while blank_line and end:
        line = piece.rfind(b"\n", 0, end - 1) + 1
        if line and not piece[line:end].decode(errors="replace").strip():
            break
        end = line  # the first line of a piece may have begun before it
    return end


def _paragraphs(lines: Iterable[str]) -> Iterator[str]:
    """Lines between blank lines, joined."""
    sentences: list[str] = []
    for line in lines:
        if line and not line.isspace():
            sentences.append(line)
        elif sentences:
            yield "\n".join(sentences)
            sentences = []
    if sentences:
        yield "\n".join(sentences)


def _texts(lines: Iterable[str], file: Path, first: int) -> Iterator[str]:
    """The "text" of each record, of which the first is on line `first`; a blank line gives an empty text."""
    for number, line in enumerate(lines, first):
        try:
            yield _text(line) if line and not line.isspace() else ""
        except (ValueError, RecursionError) as error:
            what = str(error) if isinstance(error, _WrongRecord) else f"this is not JSON ({error})"
            raise UserError(what, where=f"{file}:{number}", accepted='one JSON object a line, {"text": "…"}') from None


class _WrongRecord(ValueError):
    """JSON, but no record with a text."""


_json = json.JSONDecoder().raw_decode


def _text(line: str) -> str:
    try:
        record, end = _json(line)
    except ValueError:
        end = -1
    if end != len(line):  # more than a value, or less: json.loads knows what to say, and allows spaces; twice as slow
        record = json.loads(line)
    if not isinstance(record, dict) or "text" not in record:
        raise _WrongRecord('the record has no "text"')
    text = record["text"]
    if not isinstance(text, str):
        raise _WrongRecord(f'"text" is {json.dumps(text)[:40]}, not a string')
    if "\\u" in line and re.search("[\ud800-\udfff]", text):
        raise _WrongRecord('"text" holds half a surrogate pair, which is no character')
    return text
