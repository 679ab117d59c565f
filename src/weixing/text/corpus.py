"""Corpus readers: documents out of text files of any size, in constant memory.

Opens the corpus files, for reading only. Reads blocks of whole lines, so that a line costs little Python; memory is
bounded by the block size and the longest line. Knows nothing of tokens.
"""

import glob
import gzip
import json
import lzma
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal

import zstandard

from weixing.errors import UserError

ACCEPTED = "UTF-8 text (.txt) or JSON lines (.jsonl), each also .gz .zst .xz; folders and globs of them"

_NAME = re.compile(r".*\.(txt|jsonl)(|\.gz|\.zst|\.xz)", re.DOTALL)
_BLOCK_BYTES = 1 << 20  # decompressed
_ZSTANDARD_BYTES = 1 << 16  # compressed
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class CorpusReader:
    r"""The documents of a corpus, one string each, never blank.

    A line ends with \n or \r\n; any other white space, a lone \r too, is part of the text. A byte order mark at the
    start of a file is skipped. Iterating again starts again.

    Args:
        sources: files, folders (searched recursively, hidden and other files in them passed over) and globs; read in
            this order, the files of a folder or glob sorted by name.
        documents: in .txt files, ``line``: a document a line; or ``blank-line``: a sentence a line and an empty line
            between documents, whose sentences are joined with \n. In .jsonl every record is a document.

    Attributes:
        files: the files, in reading order.
        total_bytes: their size on disk.
        bytes_read: decompressed bytes read so far.
        disk_bytes_read: bytes read from disk so far, to measure progress against `total_bytes`.
        documents_read: documents given out so far.
        blank: documents left out so far because they are empty or white space.

    Raises:
        UserError: a source that is missing, empty or of another format. While iterating: bytes that are not UTF-8,
            records that are not {"text": …}, damaged compressed files; at the end, a corpus without any document.
    """

    def __init__(self, sources: Sequence[str | Path], documents: Literal["line", "blank-line"] = "line") -> None:
        if documents not in ("line", "blank-line"):
            raise UserError(f"documents separated by {documents!r}", accepted="line, blank-line")
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
            raise UserError(
                f"the corpus is empty: no document in {len(self.files)} file(s) of {self.bytes_read:,} bytes",
                where=", ".join(map(str, self.files[:3])) + (", …" if len(self.files) > 3 else ""),
                accepted="at least one line that is not blank",
            )

    def _documents(self, file: Path) -> Iterator[str]:
        """Documents of one file, blank ones included."""
        lines = self._lines(file)
        if _form(file) == "jsonl":
            return _texts(lines, file)
        return lines if self.documents == "line" else _paragraphs(lines)

    def _lines(self, file: Path) -> Iterator[str]:
        start = 0  # of the block, in the decompressed stream
        for block in self._blocks(file):
            mark = len(_BYTE_ORDER_MARK) if start == 0 and block.startswith(_BYTE_ORDER_MARK) else 0
            try:
                text = str(memoryview(block)[mark:], "utf-8")
            except UnicodeDecodeError as error:
                bad = mark + error.start
                raise UserError(
                    f"byte {start + bad:,} of the text (0x{block[bad]:02x}) is not UTF-8",
                    where=file,
                    accepted="UTF-8",
                    action="Convert the file, for example with: iconv -f GB18030 -t UTF-8",
                ) from None
            start += len(block)
            lines = text.removesuffix("\n").split("\n")
            yield from (line.removesuffix("\r") for line in lines) if "\r" in text else lines

    def _blocks(self, file: Path) -> Iterator[bytes]:
        """The decompressed bytes of a file in blocks of whole lines; the last line may be unended."""
        before = self.disk_bytes_read
        unended: list[bytes] = []
        for piece, on_disk in _pieces(file):
            self.bytes_read += len(piece)
            self.disk_bytes_read = before + on_disk
            end = piece.rfind(b"\n") + 1
            if end:
                yield b"".join([*unended, piece[:end]])
                unended = []
            if end < len(piece):
                unended.append(piece[end:])
        if unended:
            yield b"".join(unended)


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
        yield _text(line, f"{file}:{number}") if line and not line.isspace() else ""


def _text(line: str, where: str) -> str:
    def wrong(what: str) -> UserError:
        return UserError(what, where=where, accepted='one JSON object a line, {"text": "…"}')

    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise wrong(f"this is not JSON ({error})") from None
    if not isinstance(record, dict) or "text" not in record:
        raise wrong('the record has no "text"')
    text = record["text"]
    if not isinstance(text, str):
        raise wrong(f'"text" is {json.dumps(text)[:40]}, not a string')
    if "\\u" in line and re.search("[\ud800-\udfff]", text):
        raise wrong('"text" holds half a surrogate pair, which is no character')
    return text


def _form(file: Path) -> str:
    """What the name says: "txt", "jsonl", or "" if it is no corpus file's."""
    match = _NAME.fullmatch(file.name.lower())
    return match[1] if match else ""


def _files(source: str | Path) -> list[Path]:
    """The corpus files that a source names.

    Raises:
        UserError: none, or one of another format.
    """
    path = Path(source)
    if path.is_dir():
        files, what = _within(path), "the folder holds no corpus file"
    elif path.exists():
        files, what = [path] if _form(path) else [], f"a corpus file cannot end in {path.suffix!r}"
    elif glob.has_magic(str(source)):
        matches = map(Path, sorted(glob.glob(str(source), recursive=True)))
        files = [file for match in matches for file in (_within(match) if match.is_dir() else [match])]
        files, what = list(filter(_form, files)), "no corpus file has such a name"
    else:
        files, what = [], "there is no such corpus file or folder"
    if not files:
        raise UserError(what, where=source, accepted=ACCEPTED)
    return files


def _within(folder: Path) -> list[Path]:
    """Corpus files in a folder and below, sorted by path; hidden files and folders are passed over.

    Raises:
        UserError: a folder that may not be read.
    """

    def refuse(error: OSError) -> None:
        raise UserError(f"cannot read the folder: {error.strerror}", where=error.filename)

    found: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in names if not name.startswith(".")]
    return sorted(filter(_form, found))


def _pieces(file: Path) -> Iterator[tuple[bytes, int]]:
    """The decompressed bytes of a file piece by piece, each with how many bytes have been read from disk.

    Raises:
        UserError: it cannot be opened, or its compressed data is damaged.
    """
    try:
        disk = file.open("rb")
    except OSError as error:
        raise UserError(f"cannot read the corpus file: {error.strerror}", where=file) from None
    with disk:
        try:
            for piece in _decompressed(disk, file):
                yield piece, disk.tell()
        except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
            raise UserError(f"the compressed file is damaged or cut short ({error})", where=file) from None


def _decompressed(disk: IO[bytes], file: Path) -> Iterator[bytes]:
    stream: Any = disk
    match file.suffix.lower():
        case ".zst":
            return _zstandard_pieces(disk)
        case ".gz":
            stream = gzip.GzipFile(fileobj=disk)
        case ".xz":
            stream = lzma.LZMAFile(disk)  # noqa: SIM115  `disk` is what has to be closed
    return iter(partial(stream.read, _BLOCK_BYTES), b"")


def _zstandard_pieces(disk: IO[bytes]) -> Iterator[bytes]:
    """Decompressed bytes of Zstandard frames. (The library's own stream reader takes a cut file for a whole one.)

    Raises:
        EOFError: damaged data, or a frame that does not end.
    """
    decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 31)
    frame = None
    try:
        while compressed := disk.read(_ZSTANDARD_BYTES):
            while compressed:
                frame = frame or decompressor.decompressobj()
                if piece := frame.decompress(compressed):
                    yield piece
                compressed = b""
                if frame.eof:
                    compressed, frame = frame.unused_data, None
    except zstandard.ZstdError as error:
        raise EOFError(error) from None
    if frame:
        raise EOFError("the last frame does not end")
