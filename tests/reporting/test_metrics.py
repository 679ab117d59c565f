"""Scores from counts are those of the rows written out as often as they were drawn."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from weixing.reporting.metrics import METRICS
from weixing.tasks import scores

chance = random.Random(3)
TAGS = ("O", "O", "B-PER", "I-PER", "B-ORG", "I-ORG")
LABELS = ("甲", "乙", "丙", "丁")


def tags() -> list[str]:
    return chance.choices(TAGS, k=6)


def labels() -> list[str]:
    return chance.sample(LABELS, chance.randrange(4))


def one_hot(rows: Sequence[Sequence[str]]) -> np.ndarray:
    return np.array([[label in row for label in LABELS] for row in rows])


def right(predicted: list[str], gold: list[str]) -> float:
    return sum(map(str.__eq__, predicted, gold)) / len(gold)


WAYS: dict[str, tuple[Callable[[], Any], Callable[[list, list], float]]] = {
    "accuracy": (lambda: chance.choice("甲乙"), right),
    "micro_f1": (labels, lambda *sides: scores.micro_f1(*map(one_hot, sides))),
    "entity_f1": (tags, scores.entity_f1),
    "auc": (lambda: float(chance.randrange(2)), lambda ours, gold: scores.auc(np.array(ours), np.array(gold) == 1)),
    "spearman": (lambda: float(chance.randrange(6)), lambda *sides: scores.spearman(*map(np.array, sides))),
}
"""How a label comes about, and a score of rows that are written out."""


@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_score_of_counts_is_the_score_of_the_rows(name: str) -> None:
    value, expected = WAYS[name]
    metric = METRICS[name]
    gold = [value() for _ in range(12)]
    predicted = [[value() for _ in range(12)] for _ in range(3)]  # of three runs
    rows = np.array(
        [[metric.statistics(g, p) for g, p in zip(gold, run, strict=True)] for run in predicted], dtype=float
    ).transpose(1, 0, 2)
    counts = np.random.default_rng(3).multinomial(12, np.full(12, 1 / 12), size=20)
    found = metric.score(counts.astype(float), rows)
    assert found.shape == (20, 3)
    for number, count in enumerate(counts):
        for run in range(3):
            written_out = [
                [side[row] for row in range(12) for _ in range(count[row])] for side in (predicted[run], gold)
            ]
            assert found[number, run] == pytest.approx(100 * expected(*written_out))


def test_every_metric_of_finetune_is_known() -> None:
    objectives = pytest.importorskip("weixing.tasks.objectives")
    similarity = pytest.importorskip("weixing.tasks.similarity").Similarity
    kinds = (objectives.OneClass, objectives.ManyClasses, objectives.Number, objectives.Tags, similarity)
    assert {kind.metric for kind in kinds} == set(METRICS)


def test_spearman_is_that_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(1).integers(0, 20, size=(50, 2)).astype(float)
    found = METRICS["spearman"].score(np.ones((1, 50)), values[:, None, :])
    assert found[0, 0] == pytest.approx(100 * stats.spearmanr(values[:, 0], values[:, 1]).statistic)


@pytest.mark.parametrize(("name", "rows"), [("spearman", [[1, 2], [1, 3]]), ("micro_f1", [[0, 0, 0], [0, 0, 0]])])
def test_a_score_of_nothing_is_0(name: str, rows: list[list[float]]) -> None:
    assert METRICS[name].score(np.ones((1, 2)), np.array(rows, dtype=float)[:, None, :]).tolist() == [[0]]


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("accuracy", ["a", ""], [1, None, ["a"]]),
        ("micro_f1", [[], ["a"]], ["a", [1], None]),
        ("entity_f1", [["O", "B-PER"]], ["O", [None]]),
        ("spearman", [1, 0.5, -3], ["1", True, float("nan"), None]),
    ],
)
def test_what_can_be_a_label(name: str, good: list[Any], bad: list[Any]) -> None:
    assert all(map(METRICS[name].is_label, good))
    assert not any(map(METRICS[name].is_label, bad))
