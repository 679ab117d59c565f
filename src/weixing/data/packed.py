"""Tokenized blocks on their way into a folder of shards, in the corpus' order; and how far they are. Writes files."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from weixing.data.blocks import CONTINUES_WORD, Tokenized, Where
from weixing.data.duplicates import Deduplicate, Seen
from weixing.data.output import ShardFolder
from weixing.data.packing import RowPacker
from weixing.data.shard_writer import require_size
from weixing.data.shards import Shard
from weixing.recipes import Layout
from weixing.text.vocabulary import Vocabulary

KEYS = "keys"  # of the documents that stayed, one after another: what the search for duplicates knows


@dataclass(frozen=True)
class Point:
    """What a preparation came to at the end of a block.

    Args:
        number, end, checksum, disk_bytes: of the block (`weixing.data.blocks.Where`).
        bytes_before, disk_bytes_before: text, and bytes on disk, of the files before it.
        rows, tokens, documents, left_out: so far.
        waiting: values in the packer.
        keys: how many documents the search for duplicates knows.
    """

    number: int = 0
    end: int = 0
    checksum: int = 0
    disk_bytes: int = 0
    bytes_before: int = 0
    disk_bytes_before: int = 0
    rows: int = 0
    tokens: int = 0
    documents: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    waiting: list[int] = field(default_factory=list)
    keys: int = 0


class Packed:
    """Packs blocks into shards, leaves out duplicates, and counts.

    Args:
        folder: where the shards go; made by the caller.
        vocabulary, layout, sequence_length, whole_words, deduplicate: as of `weixing.data.prepare.prepare`.

    Attributes:
        documents: packed so far.
        left_out: documents left out so far, by reason.
        file_began: what it had come to when the file of the last block began.
    """

    def __init__(
        self,
        folder: Path,
        vocabulary: Vocabulary,
        layout: Layout,
        sequence_length: int,
        whole_words: bool,
        deduplicate: Deduplicate | None,
    ) -> None:
        self._packer = RowPacker(
            layout, sequence_length,
            cls=vocabulary.cls_id, sep=vocabulary.sep_id, pad=vocabulary.pad_id,
            dtype=np.int32 if whole_words else np.uint16,
        )  # fmt: skip
        self.shards = ShardFolder(folder, vocabulary, layout, sequence_length, whole_words)
        self._whole_words = whole_words
        self._seen = Seen(deduplicate) if deduplicate else None
        self._keys = open(folder / KEYS, "ab") if deduplicate else None  # noqa: SIM115  # closed in `close`
        self._known = 0
        self.documents, self.left_out = 0, Counter[str]()
        self._where, self._bytes_before, self._disk_bytes_before = Where(), 0, 0
        self.file_began = self.point()

    def add(self, where: Where, block: Tokenized) -> None:
        """The next block, which ends `where`."""
        if where.number != self._where.number:
            self._bytes_before += self._where.end
            self._disk_bytes_before += self._where.disk_bytes
            self._where = Where(where.number)
            self.file_began = self.point()
        values, offsets = block.values, block.offsets
        if self._seen and self._keys and block.keys is not None:
            new = self._seen.new(block.keys)
            values, offsets = block.some(new)
            self.left_out["duplicate"] += int((~new).sum())
            self._keys.write(block.keys[new].tobytes())
            self._known += int(new.sum())
        self._write(self._packer.add(values, offsets))
        self.documents += len(offsets) - 1
        self.left_out += block.left_out
        self._where = where

    def finish(self) -> None:
        """The last row, which may not be full."""
        self._write(self._packer.finish())

    def close(self) -> None:
        """Close what is open, whether it is finished or not."""
        if self._keys:
            self._keys.close()
        self.shards.abandon()

    def point(self) -> Point:
        """What it came to so far."""
        return Point(
            *self._where, self._bytes_before, self._disk_bytes_before, self.shards.rows, self.shards.tokens,
            self.documents, dict(self.left_out), self._packer.waiting().tolist(), self._known,
        )  # fmt: skip

    def flush(self) -> list[Path]:
        """Hand everything written to the system; the files that are still written to."""
        files = self.shards.flush()
        if self._keys:
            self._keys.flush()
            files.append(Path(self._keys.name))
        return files

    def go_on(self, point: Point, file_began: Point, shards: Sequence[Shard]) -> None:
        """Be as one that came to `point` in this folder; what is there beyond it is cut off.

        Args:
            point: what it had come to.
            file_began: what it had come to when the file of that point began.
            shards: those that were finished.

        Raises:
            UserError: there is less in the folder than that.
        """
        self.shards.go_on(point.rows, point.tokens, shards)
        self._packer.go_on(np.array(point.waiting, np.int32))
        self.documents, self.left_out = point.documents, Counter(point.left_out)
        self._where = Where(point.number, point.end, point.checksum, point.disk_bytes)
        self._bytes_before, self._disk_bytes_before = point.bytes_before, point.disk_bytes_before
        self.file_began = file_began
        if self._seen and self._keys:
            path, key = Path(self._keys.name), self._seen.key
            require_size(path, point.keys * key.itemsize)
            self._keys.truncate(point.keys * key.itemsize)
            self._seen.go_on(np.fromfile(path, key.base).reshape(-1, *key.shape))
            self._known = point.keys

    def _write(self, rows: np.ndarray) -> None:
        flags = rows >= CONTINUES_WORD if self._whole_words else None
        self.shards.write(rows.astype(np.uint16, copy=False), flags)
