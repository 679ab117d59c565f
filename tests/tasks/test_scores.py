"""Scores: hand-worked tables, and seqeval as the examiner of entities."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weixing.tasks.scores import auc, average_ranks, entities, entity_f1, micro_f1, spearman


def test_micro_f1_counts_pairs_of_rows_and_labels() -> None:
    gold = np.array([[1, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=bool)
    predicted = np.array([[1, 0, 0], [0, 1, 1], [1, 0, 0]], dtype=bool)
    # Found 2 of 3 gold, 2 of 4 predicted: 2·(2/4)·(2/3) / (2/4 + 2/3).
    assert micro_f1(predicted, gold) == pytest.approx(4 / 7)
    assert micro_f1(gold, gold) == 1
    assert micro_f1(np.zeros_like(gold), gold) == 0
    assert micro_f1(np.zeros_like(gold), np.zeros_like(gold)) == 0


def test_ranks_of_equal_values_are_the_mean_of_theirs() -> None:
    assert average_ranks(np.array([30.0, 10.0, 20.0, 20.0, 40.0, 20.0])).tolist() == [5, 1, 3, 3, 6, 3]


def test_spearman_of_hand_worked_tables() -> None:
    # Ranks differ by 1, 1, 0, 1, 1: 1 - 6·4 / (5·24).
    assert spearman(np.array([1.0, 2, 3, 4, 5]), np.array([20.0, 10, 30, 90, 40])) == pytest.approx(0.8)
    assert spearman(np.array([1.0, 2, 3, 4, 5]), np.array([2.0, 1, 3, 9, 8]) ** 3) == pytest.approx(0.8)
    assert spearman(np.array([1.0, 2, 3]), np.array([3.0, 2, 1])) == pytest.approx(-1)
    # With ties: ranks 1 2.5 2.5 4 against 1 3 2 4, 4.5 / √(4.5 · 5).
    assert spearman(np.array([1.0, 2, 2, 3]), np.array([1.0, 3, 2, 4])) == pytest.approx(4.5 / (4.5 * 5) ** 0.5)
    assert spearman(np.array([1.0, 1, 1]), np.array([3.0, 2, 1])) == 0


numbers = st.sampled_from([-1.0, 0.0, 0.25, 0.3, 1.0])


@given(rows=st.lists(st.tuples(numbers, st.booleans()), min_size=2, max_size=30))
def test_auc_is_that_of_scikit_learn(rows: list[tuple[float, bool]]) -> None:
    values, positive = (np.array(column) for column in zip(*rows, strict=True))
    if len(set(positive.tolist())) < 2:
        assert auc(values, positive) == 0.5
    else:
        metrics = pytest.importorskip("sklearn.metrics")
        assert auc(values, positive) == pytest.approx(metrics.roc_auc_score(positive, values))


@given(rows=st.lists(st.tuples(numbers, numbers), min_size=3, max_size=30))
def test_spearman_is_that_of_scipy(rows: list[tuple[float, float]]) -> None:
    one, other = (np.array(column) for column in zip(*rows, strict=True))
    if min(len(set(one.tolist())), len(set(other.tolist()))) > 1:
        assert spearman(one, other) == pytest.approx(pytest.importorskip("scipy.stats").spearmanr(one, other).statistic)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O B-PER I-PER O B-LOC", [("PER", 1, 3), ("LOC", 4, 5)]),
        ("B-PER B-PER I-PER", [("PER", 0, 1), ("PER", 1, 3)]),
        ("I-PER I-PER I-LOC O I-LOC", [("PER", 0, 2), ("LOC", 2, 3), ("LOC", 4, 5)]),
        ("B-PER I-LOC", [("PER", 0, 1), ("LOC", 1, 2)]),
        ("S-PER S-PER B-LOC I-LOC E-LOC I-LOC", [("PER", 0, 1), ("PER", 1, 2), ("LOC", 2, 5), ("LOC", 5, 6)]),
        ("O O", []),
        ("", []),
    ],
)
def test_entities_that_tags_spell_out(tags: str, expected: list[tuple[str, int, int]]) -> None:
    assert list(entities(tags.split())) == expected


def test_entity_f1_wants_type_and_both_borders() -> None:
    gold = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-LOC", "I-LOC"], ["B-PER"]]
    predicted = [["B-PER", "I-PER", "O", "B-PER"], ["O", "B-LOC", "O"], ["B-PER"]]
    # 2 of 4 gold entities and 2 of 4 predicted ones.
    assert entity_f1(predicted, gold) == 0.5
    assert entity_f1(gold, gold) == 1
    assert entity_f1([["O"] * len(row) for row in gold], gold) == 0


tags = st.sampled_from(["O", *(f"{place}-{kind}" for place in "BIES" for kind in ("PER", "LOC"))])
rows = st.lists(st.lists(st.tuples(tags, tags), min_size=1, max_size=9), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def f1_score() -> Callable[..., float]:
    return pytest.importorskip("seqeval.metrics").f1_score


@given(rows=rows)
def test_entity_f1_is_that_of_seqeval(f1_score: Callable[..., float], rows: list[list[tuple[str, str]]]) -> None:
    predicted, gold = ([[pair[place] for pair in row] for row in rows] for place in (0, 1))
    assert entity_f1(predicted, gold) == pytest.approx(f1_score(gold, predicted, zero_division=0))
