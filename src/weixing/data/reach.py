"""Which vocabulary entries a set of rows reaches. Reads the rows once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from weixing.compiling import compiled
from weixing.data.shards import ShardSet
from weixing.errors import UserError

RAREST = 64
ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Reach:
    """Entries that occur, and those that do so most seldom.

    Attributes:
        entries: int64, ascending: ids that occur in the rows, and the special tokens.
        rarest: int64: the ordinary ones of them that occur least, at most RAREST.
        counts: int64 [V]: how often each entry occurs; 0 for special tokens, which are never predicted.
    """

    entries: np.ndarray
    rarest: np.ndarray
    counts: np.ndarray


def reach_of(
    shards: ShardSet, share: slice | None = None, add_up: Callable[[Sequence[np.ndarray]], None] | None = None
) -> Reach:
    """The entries that the rows of `shards` hold.

    Args:
        share: the rows that this process reads, where others read the rest; None: all.
        add_up: adds up arrays, in place, over all these processes.

    Raises:
        UserError: they hold special tokens alone.
    """
    counts = np.zeros(len(shards.vocabulary), np.int64)
    begin, end, _ = (share or slice(None)).indices(len(shards))
    for start in range(begin, end, ROWS_AT_ONCE):
        _count(shards.rows(np.arange(start, min(start + ROWS_AT_ONCE, end))).ravel(), counts)
    if add_up:
        add_up([counts])
    special = np.array(shards.vocabulary.special_ids)
    ordinary = np.setdiff1d(np.flatnonzero(counts), special)
    if not len(ordinary):
        raise UserError("no row holds any token but special ones", where=shards.folder, accepted="rows of text")
    rarest = ordinary[np.argsort(counts[ordinary], kind="stable")[:RAREST]]
    counts[special] = 0
    return Reach(np.union1d(ordinary, special), rarest, counts)


@compiled
def _count(ids, counts):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    for i in range(len(ids)):
        counts[ids[i]] += 1
