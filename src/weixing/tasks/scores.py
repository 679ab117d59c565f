"""How right predictions are: micro-F1, Spearman's correlation, ROC area, entity F1. Pure: values in, 0 to 1 out.

Accuracy needs no function. Shapes: N rows, L labels.
"""

from collections.abc import Iterator, Sequence

import numpy as np


def f1(found: int, predicted: int, gold: int) -> float:
    """Harmonic mean of precision found/predicted and recall found/gold; 0 where nothing was predicted and is gold."""
    return 2 * found / (predicted + gold) if predicted + gold else 0.0


def micro_f1(predicted: np.ndarray, gold: np.ndarray) -> float:
    """F1 over all pairs of a row and a label, bool [N, L] twice."""
    return f1(int((predicted & gold).sum()), int(predicted.sum()), int(gold.sum()))


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's rank correlation of float [N] twice, -1 to 1; 0 where one of them is the same everywhere."""
    ranks = np.stack([average_ranks(one), average_ranks(other)])
    ranks -= ranks.mean(axis=1, keepdims=True)
    norms = np.sqrt((ranks**2).sum(axis=1))
    return float(ranks[0] @ ranks[1] / norms.prod()) if norms.all() else 0.0


def auc(scores: np.ndarray, gold: np.ndarray) -> float:
    """Area under the ROC curve of float [N] for bool [N]: how often a right one scores higher than a wrong one, ties
    half; 0.5 where one of the two is missing. As the Mann-Whitney statistic (Hanley & McNeil 1982)."""
    right = int(gold.sum())
    wrong = len(gold) - right
    if not (right and wrong):
        return 0.5
    return float((average_ranks(scores)[gold].sum() - right * (right + 1) / 2) / (right * wrong))


def average_ranks(values: np.ndarray) -> np.ndarray:
    """Rank of each of float [N], from 1; equal values have the mean of their ranks."""
    _, number, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[number]


def entities(tags: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """Type, first word and the word behind the last of each entity that BIO tags (also BIOES) spell out.

    As conlleval and seqeval have it, which forgive: an entity also begins with I- where none of its type is open.
    """
    start, kind, closed = 0, "", True
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, its_kind = tag.partition("-")
        if not closed and (prefix in ("O", "B", "S") or its_kind != kind):
            yield kind, start, place
            closed = True
        if prefix != "O":
            if closed:
                start, kind = place, its_kind
            closed = prefix in ("E", "S")
            if closed:
                yield kind, start, place + 1


def entity_f1(predicted: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]) -> float:
    """Micro-F1 over entities, right where type and both borders are; the tags of every row, twice."""
    ours, theirs = (
        {(row, *entity) for row, tags in enumerate(rows) for entity in entities(tags)} for rows in (predicted, gold)
    )
    return f1(len(ours & theirs), len(ours), len(theirs))
