"""Loader promises: every row once an epoch, the same stream from any position and for any number of ranks."""

import numpy as np

from weixing.data.loader import Loader, RowOrder
from weixing.data.shards import ShardSet


def test_every_epoch_is_another_permutation_of_all_rows():
    order = RowOrder(rows=1_000, seed=7)
    first, second = order.indices(0, 1_000), order.indices(1_000, 2_000)
    assert sorted(first) == sorted(second) == list(range(1_000))
    assert (first != second).any()


def test_a_window_shuffles_only_within_itself():
    indices = RowOrder(rows=1_000, seed=7, window=300).indices(0, 1_000)
    for begin in range(0, 1_000, 300):
        assert sorted(indices[begin : begin + 300]) == list(range(begin, min(begin + 300, 1_000)))
    assert (indices != np.arange(1_000)).mean() > 0.9


def test_the_stream_is_the_same_read_in_any_pieces():
    whole = RowOrder(rows=70, seed=3).indices(0, 300)
    order = RowOrder(rows=70, seed=3)
    pieces = [order.indices(start, min(start + 11, 300)) for start in range(0, 300, 11)]
    assert np.array_equal(whole, np.concatenate(pieces))
    assert np.array_equal(RowOrder(rows=70, seed=3).indices(210, 300), whole[210:])


def test_ranks_together_read_what_one_reads_alone(tiny_shards):
    shards = ShardSet(tiny_shards)

    def loader(rank: int, ranks: int) -> Loader:
        return Loader(shards, RowOrder(len(shards), 7), batch_size=8, rank=rank, ranks=ranks)

    for step in (0, 5, 100):
        alone, _ = loader(0, 1).update(step)
        together = np.concatenate([loader(rank, 4).update(step)[0] for rank in range(4)])
        assert np.array_equal(alone, together)
