"""How right predictions are: micro-F1, Spearman's correlation, AUC, entity F1. Pure: values in, numbers to 1 out.

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


def auc(values: np.ndarray, positive: np.ndarray) -> float:
    """The chance that a positive row has a higher value than another one, ties counting half; float and bool [N].

    That is the area under the ROC curve (Mann & Whitney's U). 0.5 where rows of one of the two kinds are missing.
    """
    count, others = int(positive.sum()), int((~positive).sum())
    if not count or not others:
        return 0.5
    return float((average_ranks(values)[positive].sum() - count * (count + 1) / 2) / (count * others))


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
