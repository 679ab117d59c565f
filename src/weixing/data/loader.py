"""The loader: which rows make up which update, for any seed, rank and position. Reads shards; keeps no other state.

Update number s takes rows s·G … (s+1)·G of an endless stream (G rows an update): the rows of the set in the order of
epoch 0, then of epoch 1, … So the position in the data is the step alone, and resuming is exact by construction.
"""

import numpy as np

from weixing.data.shards import ShardSet


class RowOrder:
    """The endless order of a set's rows: every epoch is one permutation, decided by the seed and the epoch.

    Args:
        rows: rows in the set.
        seed: of the shuffling.
        window: rows are shuffled within consecutive windows of this many (as UER's buffer does, uer/utils/
            dataloader.py:29-46); None: over the whole set.
    """

    def __init__(self, rows: int, seed: int, window: int | None = None) -> None:
        self.rows, self.seed, self.window = rows, seed, window
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def indices(self, start: int, stop: int) -> np.ndarray:
        """Rows at the stream's positions `start` … `stop`: [stop - start] int64."""
        parts = []
        while start < stop:
            epoch, at = divmod(start, self.rows)
            taken = min(self.rows - at, stop - start)
            parts.append(self._permutation(epoch)[at : at + taken])
            start += taken
        return np.concatenate(parts)

    def _permutation(self, epoch: int) -> np.ndarray:
        if epoch != self._epoch:
            random = np.random.default_rng([self.seed, epoch])
            window = self.window or self.rows
            self._order = np.concatenate(
                [begin + random.permutation(min(window, self.rows - begin)) for begin in range(0, self.rows, window)]
            )
            self._epoch = epoch
        return self._order


class Loader:
    """Rows of an update, for one rank of several.

    Args:
        shards: the set of rows.
        order: its endless order.
        batch_size: rows an update over all ranks, a multiple of `ranks`.
        rank, ranks: this process among all of them.
    """

    def __init__(self, shards: ShardSet, order: RowOrder, batch_size: int, rank: int = 0, ranks: int = 1) -> None:
        self.shards, self.order = shards, order
        self.batch_size, self._mine = batch_size, batch_size // ranks
        self._first = rank * self._mine

    def update(self, step: int) -> tuple[np.ndarray, np.ndarray | None]:
        """This rank's rows of update `step`: [batch_size / ranks, T] uint16, and their word flags if stored."""
        start = step * self.batch_size + self._first
        indices = self.order.indices(start, start + self._mine)
        words = self.shards.continues_word(indices) if self.shards.manifest.has_words else None
        return self.shards.rows(indices), words
