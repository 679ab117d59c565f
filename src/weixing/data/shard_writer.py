"""Rows on their way into shards (`weixing.data.shards` says what these are). Writes files."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from weixing.data.shards import Shard
from weixing.errors import UserError

SHARD_BYTES = 256 * 2**20


class ShardWriter:
    """Writes rows into the shards of a folder that the caller has made (see `weixing.files.atomic_folder`).

    Args:
        folder: where the shards go.
        sequence_length: positions a row.
        words: whether whole-word borders come with the rows.
        shard_bytes: size after which a new shard begins.

    Attributes:
        rows: how many were written.
        shards: those that are finished.
    """

    def __init__(self, folder: Path, sequence_length: int, *, words: bool, shard_bytes: int = SHARD_BYTES) -> None:
        self.folder, self.sequence_length, self.words = folder, sequence_length, words
        self.rows = 0
        self.shards: list[Shard] = []
        self._rows_a_shard = max(1, shard_bytes // (2 * sequence_length))
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

    def flush(self) -> list[Path]:
        """Hand everything written to the system; the files that are not finished."""
        for stream, _ in self._open:
            stream.flush()
        return [self.folder / name for _, name in self._open]

    def go_on(self, rows: int, shards: Sequence[Shard]) -> None:
        """Be as after the first `rows` that another writer wrote into this folder; what it wrote beyond is cut off.

        Args:
            rows: how many.
            shards: those that it had finished.

        Raises:
            UserError: they are not all there.
        """
        whole, self._rows_here = divmod(rows, self._rows_a_shard)
        self.rows, self.shards = rows, list(shards[:whole])
        finished = {name for shard in self.shards for name in (shard.file, shard.words_file) if name}
        for name in finished:
            require_size(self.folder / name, self._rows_a_shard * self._width(name))
        if self._rows_here:
            self._open = [(self._cut(name), name) for name in self._names()]
        for path in self.folder.glob("*-*.bin"):
            if path.name not in finished | {name for _, name in self._open}:
                path.unlink()

    def close(self) -> tuple[Shard, ...]:
        """Finish the last shard and return all of them."""
        self._end()
        return tuple(self.shards)

    def abandon(self) -> None:
        """Close the open files without finishing; for a caller that failed."""
        for stream, _ in self._open:
            stream.close()
        self._open = []

    def _names(self) -> list[str]:
        return [f"{kind}-{len(self.shards):05d}.bin" for kind in ("rows", "words")[: 2 if self.words else 1]]

    def _width(self, name: str) -> int:
        """Bytes of a row in the file of that name."""
        return -(-self.sequence_length // 8) if name.startswith("words") else 2 * self.sequence_length

    def _begin(self) -> None:
        self._open = [(open(self.folder / name, "wb"), name) for name in self._names()]  # noqa: SIM115  # closed in _end
        self._hashes = [hashlib.sha256() for _ in self._open]
        self._rows_here = 0

    def _cut(self, name: str) -> BinaryIO:
        """A file at the end of this shard's rows, with its checksum up to there."""
        path, size = self.folder / name, self._rows_here * self._width(name)
        require_size(path, size)
        os.truncate(path, size)
        with open(path, "rb") as stream:
            self._hashes.append(hashlib.file_digest(stream, "sha256"))
        return open(path, "ab")

    def _end(self) -> None:
        if not self._open:
            return
        for stream, _ in self._open:
            stream.close()
        described = [(name, digest.hexdigest()) for (_, name), digest in zip(self._open, self._hashes, strict=True)]
        words = described[1] if self.words else (None, None)
        self.shards.append(Shard(self._rows_here, *described[0], *words))
        self._open = []


def require_size(path: Path, size: int) -> None:
    """Raise UserError if a file of so many bytes, or more, is not there."""
    if not path.exists() or path.stat().st_size < size:
        raise UserError(
            "what was done of this output is no longer whole", where=path, action="Begin anew, without --resume"
        )
