"""Texts of many lengths in padded batches."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from weixing.inference.batching import batches, pad


@given(st.lists(st.integers(0, 600)), st.integers(1, 5000))
def test_every_text_is_in_one_batch_and_no_batch_is_over_the_budget_but_a_single_long_text(
    lengths: list[int], batch_tokens: int
) -> None:
    made = list(batches(lengths, batch_tokens))
    assert sorted(int(i) for batch in made for i in batch) == list(range(len(lengths)))
    for batch in made:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= batch_tokens


@given(st.lists(st.integers(2, 600), min_size=1))
def test_sorting_leaves_no_text_longer_than_one_of_the_batch_before(lengths: list[int]) -> None:
    made = [[lengths[i] for i in batch] for batch in batches(lengths, 1200)]
    for before, after in pairwise(made):
        assert min(before) >= max(after)


def test_padding_is_on_the_right_and_the_lengths_are_told() -> None:
    batch = pad([np.array([2, 7, 8, 3]), np.array([2, 3])], pad_id=9)
    assert batch.ids.tolist() == [[2, 7, 8, 3], [2, 3, 9, 9]]
    assert batch.lengths.tolist() == [4, 2]
    assert batch.real.tolist() == [[True] * 4, [True, True, False, False]]
    assert batch.ids.dtype == np.int64
    assert not batch.kinds.any()


def test_the_second_text_of_a_pair_is_of_the_other_kind_and_padding_is_of_the_first() -> None:
    batch = pad([np.arange(6), np.arange(4)], pad_id=9, firsts=np.array([2, 3]))
    assert batch.kinds.tolist() == [[0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 0, 0]]
    assert batch.kinds.dtype == np.int64
