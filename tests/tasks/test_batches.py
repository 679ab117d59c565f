"""Batches: nothing lost, drawn without a look at lengths."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weixing.tasks.batches import WIDTH_MULTIPLE, batches_in_epoch, shuffled_batches, sorted_batches, width_of

lengths_of_rows = st.lists(st.integers(3, 128), min_size=1, max_size=300).map(np.array)


@given(lengths_of_rows, st.integers(1, 40), st.integers(0, 99))
def test_each_row_comes_once_an_epoch_in_the_promised_number_of_batches(lengths, batch_size, seed) -> None:
    batches = shuffled_batches(len(lengths), batch_size, np.random.default_rng(seed))
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    assert len(batches) == batches_in_epoch(len(lengths), batch_size)
    assert max(map(len, batches)) <= batch_size


@given(lengths_of_rows, st.integers(1, 40))
def test_evaluation_takes_each_row_once_longest_first(lengths, batch_size) -> None:
    order = np.concatenate(sorted_batches(lengths, batch_size))
    assert sorted(order) == list(range(len(lengths)))
    assert (np.diff(lengths[order]) <= 0).all()


def test_epochs_differ_and_a_seed_repeats_them() -> None:
    def epochs(seed: int) -> list[list[int]]:
        generator = np.random.default_rng(seed)
        return [np.concatenate(shuffled_batches(500, 32, generator)).tolist() for _ in range(2)]

    first, second = epochs(7)
    assert first != second
    assert epochs(7) == [first, second]
    assert epochs(8)[0] != first


@pytest.mark.parametrize(("longest", "width"), [(3, 8), (8, 8), (9, 16), (97, 100), (100, 100)])
def test_a_width_is_a_multiple_of_eight_below_the_maximum(longest: int, width: int) -> None:
    assert width_of(np.array([3, longest]), 100) == width
    assert width == 100 or width % WIDTH_MULTIPLE == 0
