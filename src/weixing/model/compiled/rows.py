"""What a compiled encoder reads. Pure. Shapes: B rows, T positions, M asked positions a row."""

from typing import NamedTuple

import numpy as np


class Rows(NamedTuple):
    """What an encoder reads, int64 arrays.

    Args:
        ids, positions, kinds: [B, T], tokens, places, token types.
        first, last: [B, T], what a token sees: the keys from first up to, not including, last.
        asked: [B, M], positions within a row that are wanted of the last layer, or None: all.
    """

    ids: np.ndarray
    positions: np.ndarray
    kinds: np.ndarray
    first: np.ndarray
    last: np.ndarray
    asked: np.ndarray | None

    @classmethod
    def of(
        cls,
        ids: np.ndarray,
        *,
        positions: np.ndarray | None = None,
        kinds: np.ndarray | None = None,
        first: np.ndarray | None = None,
        last: np.ndarray | None = None,
        asked: np.ndarray | None = None,
    ) -> "Rows":
        """With what is left out: positions 0 … T-1, token type 0, all keys seen, all positions wanted."""
        length = ids.shape[1]
        return cls(
            ids,
            np.broadcast_to(np.arange(length), ids.shape).copy() if positions is None else positions,
            np.zeros_like(ids) if kinds is None else kinds,
            np.zeros_like(ids) if first is None else first,
            np.full_like(ids, length) if last is None else last,
            asked,
        )

    def narrow(self, width: int) -> "Rows":
        """The first `width` positions, behind which there is only padding."""
        ids, positions, kinds, first, last = (np.ascontiguousarray(table[:, :width]) for table in self[:5])
        return Rows(ids, positions, kinds, first, last, self.asked)

    def some(self, part: slice) -> "Rows":
        """Some of the rows."""
        asked = None if self.asked is None else self.asked[part]
        return Rows(self.ids[part], self.positions[part], self.kinds[part], self.first[part], self.last[part], asked)

    def repeated(self, times: int) -> "Rows":
        """All rows, and all of them again behind, `times` in all."""
        if times == 1:
            return self
        ids, positions, kinds, first, last = (np.tile(table, (times, 1)) for table in self[:5])
        asked = None if self.asked is None else np.tile(self.asked, (times, 1))
        return Rows(ids, positions, kinds, first, last, asked)
