"""The paired bootstrap: against the enumeration of all resamples, against scipy, and by its properties."""

from collections import Counter
from itertools import product

import numpy as np
import pytest

from weixing.reporting.bootstrap import paired_bootstrap, summary
from weixing.reporting.metrics import accuracy


def runs(*right: list[int]) -> np.ndarray:
    """Rows right or wrong [N, K, 1], of the runs of one model."""
    return np.array(right, dtype=float).T[:, :, None]


def drawn(correlation: float, size: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Two models with one run each on the same rows, about 70 and 76 % right."""
    random = np.random.default_rng(5)
    first = random.random(size) < 0.7
    second = np.where(random.random(size) < correlation, first, random.random(size) < 0.9)
    return runs(first.tolist()), runs(second.tolist())


def test_differences_are_distributed_as_in_all_possible_resamples() -> None:
    first, second = [1, 0, 1, 0], [1, 1, 1, 0]
    exact = Counter(sum(second[row] - first[row] for row in rows) * 25.0 for rows in product(range(4), repeat=4))
    ours, theirs, resampled = paired_bootstrap(runs(first), runs(second), accuracy, seed=[1], resamples=100_000)
    assert (ours, theirs) == (50, 75)
    counted = Counter(resampled.tolist())
    assert set(counted) == set(exact) == {0, 25, 50, 75, 100}
    for difference, number in exact.items():
        share = number / 256
        assert counted[difference] / 100_000 == pytest.approx(share, abs=4 * (share * (1 - share) / 100_000) ** 0.5)


def test_seeds_are_drawn_too_and_each_model_its_own() -> None:
    # Each run is right everywhere or nowhere, so that rows make no difference: only which runs are drawn.
    first, second = runs([1] * 5, [0] * 5), runs([1] * 5, [1] * 5, [0] * 5)
    exact: Counter[float] = Counter()
    for ours, theirs in product(product([100, 0], repeat=2), product([100, 100, 0], repeat=3)):
        exact[round(sum(theirs) / 3 - sum(ours) / 2, 6)] += 1
    _, _, resampled = paired_bootstrap(first, second, accuracy, seed=[1], resamples=100_000)
    counted = Counter(np.round(resampled, 6).tolist())
    assert set(counted) == set(exact)
    for difference, number in exact.items():
        share = number / exact.total()
        assert counted[difference] / 100_000 == pytest.approx(share, abs=4 * (share * (1 - share) / 100_000) ** 0.5)


def test_the_interval_is_that_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    first, second = drawn(correlation=0.5)
    found = summary(*paired_bootstrap(first, second, accuracy, seed=[3]))

    def difference(ours, theirs, axis):
        return 100 * (theirs.mean(axis=axis) - ours.mean(axis=axis))

    theirs = stats.bootstrap(
        (first.ravel(), second.ravel()), difference, paired=True, n_resamples=10_000, method="percentile", rng=4
    ).confidence_interval
    assert found.difference == pytest.approx(difference(first.ravel(), second.ravel(), 0))
    # What two sets of 10,000 draws differ by: the lattice has steps of 0.25 points.
    assert found.low == pytest.approx(theirs.low, abs=0.26)
    assert found.high == pytest.approx(theirs.high, abs=0.26)


@pytest.mark.parametrize(("won", "lost"), [(60, 35), (40, 38), (90, 40)])
def test_the_p_value_is_near_that_of_mcnemars_exact_test(won: int, lost: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    first = runs([0] * won + [1] * lost + [1] * 300)
    second = runs([1] * won + [0] * lost + [1] * 300)
    p = summary(*paired_bootstrap(first, second, accuracy, seed=[3])).p
    exact = stats.binomtest(won, won + lost).pvalue
    # McNemar's is conservative: it takes in the whole of the observed count. Half of it is the mid-p value.
    mid = exact - stats.binom.pmf(won, won + lost, 0.5)
    assert p == pytest.approx(mid, abs=0.15 * mid + 0.002)


def test_what_the_two_have_in_common_cancels_out() -> None:
    first, second = drawn(correlation=0.9)
    paired = summary(*paired_bootstrap(first, second, accuracy, seed=[1]))
    shuffled = second[np.random.default_rng(1).permutation(len(second))]
    unpaired = summary(*paired_bootstrap(first, shuffled, accuracy, seed=[1]))
    assert paired.difference == pytest.approx(unpaired.difference)
    assert paired.high - paired.low < 0.6 * (unpaired.high - unpaired.low)


def test_two_equal_models_differ_by_nothing() -> None:
    first, _ = drawn(correlation=1)
    found = summary(*paired_bootstrap(first, first, accuracy, seed=[1]))
    assert (found.difference, found.low, found.high, found.p, found.sign_flips) == (0, 0, 0, 1, 1)


def test_a_sure_difference_has_the_smallest_p_there_is() -> None:
    found = summary(*paired_bootstrap(runs([0] * 99 + [1]), runs([1] * 99 + [0]), accuracy, seed=[1], resamples=999))
    assert (found.first, found.second, found.difference) == (1, 99, 98)
    assert (found.p, found.sign_flips) == (0.001, 0)


def test_the_other_way_round_is_the_same_with_the_other_sign() -> None:
    first, second = drawn(correlation=0.5)
    there = summary(*paired_bootstrap(first, second, accuracy, seed=[1]))
    back = summary(*paired_bootstrap(second, first, accuracy, seed=[2]))
    assert back.difference == -there.difference
    assert (-back.high, -back.low) == pytest.approx((there.low, there.high), abs=0.3)
    assert back.p == pytest.approx(there.p, abs=0.01)


def test_the_draws_are_those_of_the_seed_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    sides = drawn(correlation=0.5)
    whole = paired_bootstrap(*sides, accuracy, seed=[1, 2])[2]
    assert np.array_equal(whole, paired_bootstrap(*sides, accuracy, seed=[1, 2])[2])
    assert not np.array_equal(whole, paired_bootstrap(*sides, accuracy, seed=[1, 3])[2])
    monkeypatch.setattr("weixing.reporting.bootstrap.BLOCK", 1000)
    in_blocks = paired_bootstrap(*sides, accuracy, seed=[1, 2])[2]
    assert len(in_blocks) == len(whole)
    assert in_blocks.std() == pytest.approx(whole.std(), rel=0.05)
