"""Token shards on disk: a folder of memory-mapped uint16 rows with a manifest, written last. Opens files; no pickle.

A folder holds ``rows-NNNNN.bin`` (little-endian uint16, rows of one length, one after another), with whole-word
borders ``words-NNNNN.bin`` (one bit a position, rows padded to whole bytes, most significant bit first: 1 where a
token continues the word before it), ``vocab.txt``, and ``manifest.json``.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from weixing.data.stored_shards import local_copy
from weixing.errors import UserError
from weixing.files import read_json, sha256_of
from weixing.recipes import Layout
from weixing.storage import is_remote
from weixing.text.vocabulary import Vocabulary

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
SHARD_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Shard:
    """One shard: its rows, and name and SHA-256 of its file or files."""

    rows: int
    file: str
    sha256: str
    words_file: str | None = None
    words_sha256: str | None = None


@dataclass(frozen=True)
class Manifest:
    """What manifest.json says. `tokens` counts positions that hold no padding, [CLS] and [SEP] included.

    `cleaning` is what `weixing.data.cleaning` did to the corpus; None: nothing.
    """

    format_version: int
    layout: Layout
    sequence_length: int
    rows: int
    tokens: int
    documents: int
    bytes_in: int
    vocabulary_sha256: str
    vocabulary_size: int
    shards: tuple[Shard, ...]
    sources: tuple[str, ...]
    cleaning: dict[str, Any] | None = None

    @property
    def padding(self) -> int:
        """Positions that hold padding."""
        return self.rows * self.sequence_length - self.tokens

    @property
    def has_words(self) -> bool:
        """Whether whole-word borders are stored."""
        return any(shard.words_file for shard in self.shards)

    @cached_property
    def sha256(self) -> str:
        """Identity of the rows: of everything but the names of the sources, and how the rows came to be."""
        identity = {**asdict(self), "sources": None}
        del identity["cleaning"]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


class ShardWriter:
    """Writes rows into the shards of a folder that the caller has made (see `weixing.files.atomic_folder`).

    Args:
        folder: where the shards go.
        sequence_length: positions a row.
        words: whether whole-word borders come with the rows.
        shard_bytes: size after which a new shard begins.
    """

    def __init__(self, folder: Path, sequence_length: int, *, words: bool, shard_bytes: int = SHARD_BYTES) -> None:
        self.folder, self.sequence_length, self.words = folder, sequence_length, words
        self.rows = 0
        self._rows_a_shard = max(1, shard_bytes // (2 * sequence_length))
        self._shards: list[Shard] = []
        self._open: list[tuple[BinaryIO, str]] = []
        self._hashes: list[hashlib._Hash] = []
        self._rows_here = 0

    def write(self, rows: np.ndarray, continues_word: np.ndarray | None = None) -> None:
        """Append rows, [rows, sequence_length] uint16, with their bool word flags of the same shape."""
        while len(rows):
            if not self._open:
                self._begin()
            taken = min(len(rows), self._rows_a_shard - self._rows_here)
            parts = [np.ascontiguousarray(rows[:taken], "<u2").data.cast("B")]
            if continues_word is not None:
                parts.append(np.packbits(continues_word[:taken], axis=1).data.cast("B"))
                continues_word = continues_word[taken:]
            for (stream, _), digest, part in zip(self._open, self._hashes, parts, strict=True):
                stream.write(part)
                digest.update(part)
            rows = rows[taken:]
            self._rows_here += taken
            self.rows += taken
            if self._rows_here == self._rows_a_shard:
                self._end()

    def close(self) -> tuple[Shard, ...]:
        """Finish the last shard and return all of them."""
        self._end()
        return tuple(self._shards)

    def abandon(self) -> None:
        """Close the open files without finishing; for a caller that failed."""
        for stream, _ in self._open:
            stream.close()
        self._open = []

    def _begin(self) -> None:
        number = len(self._shards)
        names = [f"rows-{number:05d}.bin"] + ([f"words-{number:05d}.bin"] if self.words else [])
        self._open = [(open(self.folder / name, "wb"), name) for name in names]  # noqa: SIM115  # closed in _end
        self._hashes = [hashlib.sha256() for _ in names]
        self._rows_here = 0

    def _end(self) -> None:
        if not self._open:
            return
        for stream, _ in self._open:
            stream.close()
        described = [(name, digest.hexdigest()) for (_, name), digest in zip(self._open, self._hashes, strict=True)]
        words = described[1] if self.words else (None, None)
        self._shards.append(Shard(self._rows_here, *described[0], *words))
        self._open = []


class ShardSet:
    """A folder of shards, opened for reading; one in a store (``s3://…``) is copied to this machine first, once.

    Attributes:
        manifest: what the folder's manifest says.
        vocabulary: the folder's vocabulary.

    Raises:
        UserError: no manifest, another format, a shard that is missing, truncated or altered, or a vocab.txt whose
            checksum is not the one that the shards were made with.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = local_copy(str(folder)) if is_remote(folder) else Path(folder)
        self.manifest = read_manifest(self.folder)
        self.vocabulary = Vocabulary.read(self.folder / "vocab.txt")
        check_same_vocabulary(self.vocabulary, self, self.folder / "vocab.txt")
        length = self.manifest.sequence_length
        self._rows, self._words = [], []
        for shard in self.manifest.shards:
            _check_file(self.folder / shard.file, shard.rows * length * 2, shard.sha256)
            self._rows.append(np.memmap(self.folder / shard.file, "<u2", "r", shape=(shard.rows, length)))
            if shard.words_file and shard.words_sha256:
                width = -(-length // 8)
                _check_file(self.folder / shard.words_file, shard.rows * width, shard.words_sha256)
                self._words.append(np.memmap(self.folder / shard.words_file, np.uint8, "r", shape=(shard.rows, width)))
        self._starts = np.cumsum([0] + [shard.rows for shard in self.manifest.shards])

    def __len__(self) -> int:
        return self.manifest.rows

    def rows(self, indices: np.ndarray) -> np.ndarray:
        """The rows at `indices` [n], in that order: [n, sequence_length] uint16."""
        return self._gather(self._rows, indices)

    def continues_word(self, indices: np.ndarray) -> np.ndarray:
        """Whole-word flags of those rows: [n, sequence_length] bool, True where a token continues a word."""
        return np.unpackbits(self._gather(self._words, indices), axis=1, count=self.manifest.sequence_length).view(bool)

    def _gather(self, maps: list[np.memmap], indices: np.ndarray) -> np.ndarray:
        gathered = np.empty((len(indices), maps[0].shape[1]), maps[0].dtype)
        shard_of = np.searchsorted(self._starts, indices, side="right") - 1
        for shard in np.unique(shard_of):
            here = shard_of == shard
            gathered[here] = maps[shard][indices[here] - self._starts[shard]]
        return gathered


def check_same_vocabulary(vocabulary: Vocabulary, shards: ShardSet, where: str | Path) -> None:
    """Raise UserError if `vocabulary`, found at `where`, is not the one that `shards` were made with."""
    if vocabulary.sha256 != shards.manifest.vocabulary_sha256:
        raise UserError(
            f"this vocabulary (SHA-256 {vocabulary.sha256[:12]}…) is not the one that the shards in {shards.folder} "
            f"were made with ({shards.manifest.vocabulary_sha256[:12]}…)",
            where=where,
            action="Prepare the corpus again with this vocabulary, or name the model or vocabulary it was made with",
        )


def read_manifest(folder: Path) -> Manifest:
    """What the manifest of a folder of shards says; the shards themselves are not looked at.

    Raises:
        UserError: there is none, or one of another format.
    """
    path = folder / MANIFEST
    if not path.parent.is_dir():
        raise UserError("there is no such folder of shards", where=path.parent, action="Make it with: weixing prepare")
    if not path.exists():
        raise UserError("a folder without manifest.json is no finished set of shards", where=path.parent)
    value = read_json(path, "a shard manifest")
    if not isinstance(value, dict) or value.get("format_version") != FORMAT_VERSION:
        raise UserError(
            "a shard manifest of another format", where=path, accepted=f"format_version {FORMAT_VERSION}",
            action="Prepare the corpus again",
        )  # fmt: skip
    try:
        shards = tuple(Shard(**shard) for shard in value.pop("shards"))
        manifest = Manifest(shards=shards, sources=tuple(value.pop("sources")), **value)
        counts = (manifest.sequence_length, manifest.rows, manifest.tokens, *(shard.rows for shard in shards))
        if not all(type(count) is int for count in counts) or manifest.rows != sum(counts[3:]):
            raise ValueError("its counts of rows do not agree")
        return manifest
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"an incomplete shard manifest ({error})", where=path, action="Prepare the corpus again"
        ) from None


def _check_file(path: Path, size: int, sha256: str) -> None:
    action = "Prepare the corpus again, or copy the folder again"
    if not path.exists():
        raise UserError("a shard that the manifest names is missing", where=path, action=action)
    if path.stat().st_size != size:
        raise UserError(f"a truncated shard: {path.stat().st_size} bytes, not {size}", where=path, action=action)
    if sha256_of(path) != sha256:
        raise UserError("an altered shard: its checksum is not the manifest's", where=path, action=action)
