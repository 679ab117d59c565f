"""Corpus readers: documents out of text files of any size, in constant memory.

Opens the corpus files, for reading only. Reads blocks of whole lines, so that a line costs little Python; memory is bounded
by the block size and the longest line. Knows nothing of tokens.
"""

import glob
import gzip
import json
import lzma
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal

from weixing.errors import UserError

FORMATS = (".txt", ".jsonl")
COMPRESSIONS = ("", ".gz", ".zst", ".xz")
SUFFIXES = tuple(form + compression for form in FORMATS for compression in COMPRESSIONS)
ACCEPTED = "UTF-8 text (.txt) or JSON lines (.jsonl), each also .gz .zst .xz; folders and globs of them"

_BLOCK_BYTES = 1 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class CorpusReader:
    r"""The documents of a corpus, one string each, never blank.

    A line ends with \n or \r\n; any other white space, a lone \r too, is part of the text. A byte order mark at the start
    of a file is skipped. Iterating again starts again.

    Args:
        sources: files, folders (searched recursively; hidden and other files in them are passed over) and globs; read in
            this order, files within a folder or a glob sorted by name.
        documents: of .txt files: ``line``, a document a line; or ``blank-line``, a sentence a line and an empty line
            between documents, whose sentences are joined with \n. In .jsonl every record is a document.

    Attributes:
        files: the files, in reading order.
        total_bytes: their size on disk.
        bytes_read: decompressed bytes read so far.
        disk_bytes_read: bytes read from disk so far, to measure progress against `total_bytes`.
        documents_read: documents given out so far.
        blank: documents left out so far because they are empty or white space.

    Raises:
        UserError: a source that is missing, empty or of another format. While iterating: bytes that are not UTF-8, records
            that are not {"text": …}, damaged compressed files; at the end, a corpus without any document.
    """

    def __init__(self, sources: Sequence[str | Path], documents: Literal["line", "blank-line"] = "line") -> None:
        if documents not in ("line", "blank-line"):
            raise UserError(f"documents {documents!r}", accepted="line, blank-line")
        self.documents = documents
        self.files = [file for source in sources for file in _files(source)]
        self.total_bytes = sum(file.stat().st_size for file in self.files)
        self._rewind()

    def _rewind(self) -> None:
        self.bytes_read = self.disk_bytes_read = self.documents_read = self.blank = 0

    def __iter__(self) -> Iterator[str]:
        self._rewind()
        for file in self.files:
            for document in self._documents(file):
                if not document or document.isspace():
                    self.blank += 1
                else:
                    self.documents_read += 1
                    yield document
        if not self.documents_read:
            names = ", ".join(map(str, self.files[:3])) + (", …" if len(self.files) > 3 else "")
            raise UserError(
                f"the corpus is empty: no document in {len(self.files)} file(s), {self.bytes_read:,} bytes",
                where=names,
                accepted="at least one line that is not blank",
            )

    def _documents(self, file: Path) -> Iterator[str]:
        """Documents of one file, blank ones included."""
        lines = self._lines(file)
        if ".jsonl" in file.name.lower():
            return _texts(lines, file)
        return lines if self.documents == "line" else _paragraphs(lines)

    def _lines(self, file: Path) -> Iterator[str]:
        start = 0  # of the block, in the decompressed stream
        for block in self._blocks(file):
            skip = len(_BYTE_ORDER_MARK) if start == 0 and block.startswith(_BYTE_ORDER_MARK) else 0
            try:
                text = str(memoryview(block)[skip:], "utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"byte {start + skip + error.start:,} (0x{block[skip + error.start]:02x}) is not UTF-8",
                    where=file,
                    accepted="UTF-8",
                    action=f"Convert it, for example: iconv -f GB18030 -t UTF-8 {file.name}",
                ) from None
            start += len(block)
            lines = text.removesuffix("\n").split("\n")
            yield from (line.removesuffix("\r") for line in lines) if "\r" in text else lines

    def _blocks(self, file: Path) -> Iterator[bytes]:
        """The decompressed bytes of a file in blocks of whole lines; the last line may be unended."""
        before = self.disk_bytes_read
        with _opened(file) as (disk, stream):
            unended: list[bytes] = []
            while piece := stream.read(_BLOCK_BYTES):
                self.bytes_read += len(piece)
                self.disk_bytes_read = before + disk.tell()
                end = piece.rfind(b"\n") + 1
                if end:
                    yield b"".join([*unended, piece[:end]])
                    unended = [piece[end:]] if end < len(piece) else []
                else:
                    unended.append(piece)
            if unended:
                yield b"".join(unended)
        self.disk_bytes_read = before + file.stat().st_size


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


def _texts(lines: Iterable[str], file: Path) -> Iterator[str]:
    """The "text" of each record; a blank line gives an empty text."""
    for number, line in enumerate(lines, 1):
        if not line or line.isspace():
            yield ""
            continue
        try:
            record = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise _bad_record(f"this is not JSON ({error})", file, number) from None
        if not isinstance(record, dict) or "text" not in record:
            raise _bad_record('the record has no "text"', file, number)
        text = record["text"]
        if not isinstance(text, str):
            raise _bad_record(f'"text" is {type(text).__name__}, not a string', file, number)
        yield text


def _bad_record(what: str, file: Path, line: int) -> UserError:
    return UserError(what, where=f"{file}:{line}", accepted='one JSON object a line, {"text": "…"}')


def _files(source: str | Path) -> list[Path]:
    """The corpus files that a source names, sorted.

    Raises:
        UserError: none, or one of another format.
    """
    path = Path(source)
    if path.is_dir():
        files = _within(path)
        if not files:
            raise UserError("the folder holds no corpus file", where=path, accepted=ACCEPTED)
        return files
    if path.exists():
        if not path.name.lower().endswith(SUFFIXES):
            raise UserError(f"the corpus file ends in {path.suffix!r}", where=path, accepted=ACCEPTED)
        return [path]
    if glob.has_magic(str(source)):
        matches = [Path(match) for match in sorted(glob.glob(str(source), recursive=True))]
        files = [
            file
            for match in matches
            for file in (_within(match) if match.is_dir() else [match] if match.name.lower().endswith(SUFFIXES) else [])
        ]
        if not files:
            raise UserError("the glob matches no corpus file", where=source, accepted=ACCEPTED)
        return files
    raise UserError("there is no such corpus file or folder", where=source, accepted=ACCEPTED)


def _within(folder: Path) -> list[Path]:
    """Corpus files in a folder and below, sorted by path; hidden files and folders are passed over."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in names if name.lower().endswith(SUFFIXES) and not name.startswith(".")]
    return sorted(found)


@contextmanager
def _opened(file: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """A corpus file as it lies on the disk, and its decompressed bytes.

    Raises:
        UserError: it cannot be opened, or (while it is read) its compressed data is damaged.
    """
    try:
        disk = open(file, "rb")  # noqa: SIM115  closed below
    except OSError as error:
        raise UserError(f"cannot read the corpus file: {error.strerror}", where=file) from None
    with disk:
        suffix = file.suffix.lower()
        damage: tuple[type[Exception], ...] = (EOFError,)
        stream: IO[bytes] = disk
        if suffix == ".gz":
            stream, damage = gzip.GzipFile(fileobj=disk), (EOFError, gzip.BadGzipFile, zlib.error)
        elif suffix == ".xz":
            stream, damage = lzma.LZMAFile(disk), (EOFError, lzma.LZMAError)
        elif suffix == ".zst":
            stream, damage = _zstandard(disk, file)
        try:
            yield disk, stream
        except damage as error:
            raise UserError(f"the compressed file is damaged or cut short ({error})", where=file) from None
