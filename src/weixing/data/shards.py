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
from typing import Any

import numpy as np

from weixing.data.stored_shards import local_copy
from weixing.errors import UserError
from weixing.files import read_json, sha256_of
from weixing.recipes import Layout
from weixing.storage import is_remote
from weixing.text.vocabulary import Vocabulary

FORMAT_VERSION = 1
MANIFEST = "manifest.json"


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
