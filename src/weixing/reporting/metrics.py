"""Scores of resampled dev rows, for `weixing.reporting.bootstrap`: what is counted of a row, and what that makes. Pure.

Shapes: U kinds of rows, K runs, S statistics of a row, R resamples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from weixing.reporting.bootstrap import Score
from weixing.tasks.scores import entities


@dataclass(frozen=True)
class Metric:
    """A metric by what it counts.

    Attributes:
        statistics: of one row, from its gold label and the predicted one.
        score: percent, from how often each kind of row was drawn.
        label: whether a value can be a label or a prediction of such a task; `accepted` says what can.
    """

    statistics: Callable[[Any, Any], Sequence[float]]
    score: Score
    is_label: Callable[[Any], bool]
    accepted: str


def _right(gold: str, predicted: str) -> tuple[float]:
    return (float(gold == predicted),)


def _labels(gold: Sequence[str], predicted: Sequence[str]) -> tuple[float, float, float]:
    """Found, predicted and gold labels."""
    return len(set(gold) & set(predicted)), len(set(predicted)), len(set(gold))


def _entities(gold: Sequence[str], predicted: Sequence[str]) -> tuple[float, float, float]:
    """Found, predicted and gold entities."""
    theirs, ours = set(entities(gold)), set(entities(predicted))
    return len(theirs & ours), len(ours), len(theirs)


def _both(gold: float, predicted: float) -> tuple[float, float]:
    return gold, predicted


def accuracy(counts: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Percent [R, K] of rows that are right, from counts [R, U] and right or wrong [U, K, 1]."""
    return 100 * (counts @ rows[:, :, 0]) / counts.sum(axis=1, keepdims=True)


def micro_f1(counts: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Percent [R, K], from counts [R, U] and found, predicted and gold [U, K, 3]; 0 where there is none of either."""
    found, predicted, gold = (counts @ rows[:, :, part] for part in range(3))
    return 200 * found / np.maximum(predicted + gold, 1)


def spearman(counts: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """100 times the rank correlation [R, K], from counts [R, U] and gold and predicted numbers [U, K, 2]; 0 where all
    are equal."""
    mean = (counts.sum(axis=1, keepdims=True) + 1) / 2
    gold = _ranks(counts, rows[:, 0, 0]) - mean
    correlations = []
    for run in range(rows.shape[1]):
        ours = _ranks(counts, rows[:, run, 1]) - mean
        together, theirs_alone, ours_alone = (
            (counts * one * other).sum(axis=1) for one, other in ((gold, ours), (gold, gold), (ours, ours))
        )
        norm = np.sqrt(theirs_alone * ours_alone)
        correlations.append(100 * np.divide(together, norm, out=np.zeros_like(norm), where=norm > 0))
    return np.stack(correlations, axis=1)


def auc(counts: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Percent [R, K] under the ROC curve, from counts [R, U] and gold (1 or less) and predicted numbers [U, K, 2]; 50
    where all are alike."""
    positive = counts * (rows[:, 0, 0] == 1)
    alike = positive.sum(axis=1)
    pairs = alike * (counts.sum(axis=1) - alike)
    areas = []
    for run in range(rows.shape[1]):
        above = (positive * _ranks(counts, rows[:, run, 1])).sum(axis=1) - alike * (alike + 1) / 2
        areas.append(100 * np.divide(above, pairs, out=np.full_like(above, 0.5), where=pairs > 0))
    return np.stack(areas, axis=1)


def _ranks(counts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Average rank [R, U] of values [U] that occur `counts` times each, from 1; equal ones share the mean of theirs."""
    _, first, group = np.unique(np.sort(values), return_index=True, return_inverse=True)
    order = np.argsort(values, kind="stable")
    of_group = np.add.reduceat(counts[:, order], first, axis=1)
    ranks = np.empty_like(counts)
    ranks[:, order] = (of_group.cumsum(axis=1) - (of_group - 1) / 2)[:, group]
    return ranks


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


METRICS = {
    "accuracy": Metric(_right, accuracy, lambda value: isinstance(value, str), "text"),
    "micro_f1": Metric(_labels, micro_f1, _is_texts, "a list of texts"),
    "entity_f1": Metric(_entities, micro_f1, _is_texts, "a list of texts"),
    "spearman": Metric(_both, spearman, _is_number, "a number"),
    "auc": Metric(_both, auc, _is_number, "a number"),
}
"""By the names that results.jsonl has for them."""
