"""What every preparation leaves behind: shards of rows, vocab.txt and, last, the manifest. Writes a folder."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from weixing.data.shard_writer import ShardWriter
from weixing.data.shards import FORMAT_VERSION, MANIFEST, Manifest, Shard
from weixing.errors import UserError
from weixing.files import atomic_folder, write_json
from weixing.recipes import Layout
from weixing.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class Prepared:
    """What a preparation did. `tokens` are positions without padding; `seconds_tokenizing` sums over the workers.

    Times are of this process alone, all else is of the whole preparation, resumed or not. `left_out` counts the
    documents that cleaning left out, by reason.
    """

    documents: int
    tokens: int
    rows: int
    bytes_in: int
    seconds: float
    seconds_tokenizing: float
    output: str
    left_out: dict[str, int] = field(default_factory=dict)


class ShardFolder:
    """Rows on their way into a folder of shards.

    Args:
        folder: an empty folder that the caller has made.
        vocabulary: what the rows' ids stand for.
        layout: of the rows.
        sequence_length: positions a row.
        words: whether whole-word borders come with the rows.
    """

    def __init__(self, folder: Path, vocabulary: Vocabulary, layout: Layout, sequence_length: int, words: bool) -> None:
        self._folder, self._vocabulary, self._layout = folder, vocabulary, layout
        self._writer = ShardWriter(folder, sequence_length, words=words)
        self.tokens = 0

    @property
    def rows(self) -> int:
        """Rows so far."""
        return self._writer.rows

    @property
    def shards(self) -> list[Shard]:
        """Those that are finished."""
        return list(self._writer.shards)

    def flush(self) -> list[Path]:
        """Hand everything written to the system; the files of the shard that is not finished."""
        return self._writer.flush()

    def go_on(self, rows: int, tokens: int, shards: Sequence[Shard]) -> None:
        """Be as after the first `rows`, of `tokens`, in a folder that was written into before (`ShardWriter.go_on`)."""
        self._writer.go_on(rows, shards)
        self.tokens = tokens

    def write(self, ids: np.ndarray, continues_word: np.ndarray | None = None) -> None:
        """Append rows, [rows, sequence_length] uint16, with their bool word flags of the same shape."""
        self.tokens += int(np.count_nonzero(ids != self._vocabulary.pad_id))
        self._writer.write(ids, continues_word)

    def finish(
        self, documents: int, bytes_in: int, sources: Sequence[Path], cleaning: dict[str, Any] | None = None
    ) -> None:
        """Write what comes last: the vocabulary, and the manifest that makes these files a folder of shards."""
        shards = self._writer.close()
        self._vocabulary.write(self._folder / "vocab.txt")
        manifest = Manifest(
            format_version=FORMAT_VERSION,
            layout=self._layout,
            sequence_length=self._writer.sequence_length,
            rows=self.rows,
            tokens=self.tokens,
            documents=documents,
            bytes_in=bytes_in,
            vocabulary_sha256=self._vocabulary.sha256,
            vocabulary_size=len(self._vocabulary),
            shards=shards,
            sources=tuple(map(str, sources)),
            cleaning=cleaning,
        )
        write_json(self._folder / MANIFEST, asdict(manifest))

    def abandon(self) -> None:
        """Close what is open; nothing happens after `finish`."""
        self._writer.abandon()


def require_16_bits(vocabulary: Vocabulary) -> None:
    """Make sure that every id fits the shards.

    Raises:
        UserError: more entries than that.
    """
    if len(vocabulary) > 2**16:
        raise UserError(f"a vocabulary of {len(vocabulary)} entries", where="--vocab", accepted="at most 65,536")


@contextmanager
def new_shards(
    output: Path, vocabulary: Vocabulary, layout: Layout, sequence_length: int, *, words: bool, overwrite: bool
) -> Iterator[ShardFolder]:
    """A folder of shards to fill and `finish`; it appears at `output` whole or not at all.

    Raises:
        UserError: an output that exists, or that cannot be made there.
    """
    with atomic_folder(output, overwrite=overwrite) as folder:
        shards = ShardFolder(folder, vocabulary, layout, sequence_length, words)
        try:
            yield shards
        finally:
            shards.abandon()
