"""Is a difference between two models more than chance? Paired bootstrap over dev rows and seeds. Pure.

The dev rows are a sample of the texts that a model might meet, and the seeds a sample of the runs that its recipe might
give. So both are drawn again, with replacement, and the difference is measured anew on each draw:

* rows are drawn for both models alike (paired), so that what is hard for both cancels out: Efron & Tibshirani 1993, An
  Introduction to the Bootstrap, chapters 13 (percentile interval) and 16 (tests); Koehn 2004, Statistical Significance
  Tests for Machine Translation Evaluation;
* seeds are drawn for each model by itself, as the seeds of two models have nothing to do with each other: the
  multi-bootstrap of Sellam et al. 2022, The MultiBERTs, arXiv 2106.16163. With one seed, the variation between seeds is
  left out, and with few it is underestimated: the variance of the mean of k runs drawn from k comes out at
  ``1 - 1/k`` of what it is, on average.

Rows with the same outcome in every run are interchangeable. So what is drawn is how often each kind of row comes up, a
multinomial count: the same distribution as drawing rows one by one, and thousands of draws at once.

Shapes: N rows, U kinds of rows, K runs (seeds) of a model, S statistics of a row, R resamples.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000
CONFIDENCE = 0.95
BLOCK = 4_000_000  # counts in memory at once
TOLERANCE = 1e-9  # points; equal differences that were added up in another order

Score = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Counts [R, U] and the statistics of the kinds of rows [U, K, S] in, scores in percent [R, K] out."""


@dataclass(frozen=True)
class Difference:
    """Of two scores, second less first, in points.

    `low` to `high` is the percentile interval of `CONFIDENCE`. `p` is two-sided: how often chance alone, the resampled
    differences shifted to a mean difference of 0, gives one at least as large (counted with the observed one itself,
    so that it is never 0). `sign_flips` is the share of resamples that see no difference or the opposite one.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float
    sign_flips: float


def paired_bootstrap(
    first: np.ndarray, second: np.ndarray, score: Score, *, seed: list[int], resamples: int = RESAMPLES
) -> tuple[float, float, np.ndarray]:
    """Both scores in percent, each the mean over its runs, and the difference in each resample, float64 [R].

    Args:
        first, second: statistics of the same rows [N, K, S]; the two may have different K.
        score: what makes a score of them.
        seed: of the draws.
    """
    rows = np.concatenate([part.reshape(len(part), -1) for part in (first, second)], axis=1)
    kinds, numbers = np.unique(rows, axis=0, return_counts=True)
    width = first[0].size
    sides = [kinds[:, :width].reshape(-1, *first.shape[1:]), kinds[:, width:].reshape(-1, *second.shape[1:])]
    random = np.random.default_rng(seed)
    differences = np.empty(resamples)
    block = max(1, BLOCK // len(kinds))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        counts = random.multinomial(len(rows), numbers / len(rows), size=size).astype(float)
        below, above = (_mean_over_seeds(score(counts, side), random) for side in sides)
        differences[start : start + size] = above - below
    observed = [float(score(numbers[None].astype(float), side).mean()) for side in sides]
    return observed[0], observed[1], differences


def summary(first: float, second: float, resampled: np.ndarray) -> Difference:
    """What resampled differences [R] say of the observed one."""
    difference = second - first
    low, high = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    as_extreme = int((np.abs(resampled - difference) >= abs(difference) - TOLERANCE).sum())
    return Difference(
        first,
        second,
        difference,
        float(low),
        float(high),
        p=(1 + as_extreme) / (1 + len(resampled)),
        sign_flips=float((resampled * np.sign(difference) <= TOLERANCE).mean()),
    )


def _mean_over_seeds(scores: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Mean [R] of scores [R, K] over runs that are drawn anew for each resample."""
    resamples, runs = scores.shape
    return (scores * random.multinomial(runs, np.full(runs, 1 / runs), size=resamples)).sum(axis=1) / runs
