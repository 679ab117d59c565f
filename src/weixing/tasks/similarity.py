"""Sentence vectors whose cosine says how alike two texts are: pooling, the three losses, the score. Pure tensor code.

Shapes: B pairs of a batch (for SimCSE, texts), T positions, H hidden units, N dev pairs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from weixing.tasks.objectives import Score
from weixing.tasks.rows import Label
from weixing.tasks.scores import auc, spearman
from weixing.tasks.tuning import Contrast, SentencePooling


@dataclass(frozen=True)
class Similarity:
    """What is learnt of pairs of texts, or of texts alone.

    Attributes:
        contrast: ``simcse``: a text is like itself under other dropout and unlike the others of its batch (Gao et al.
            2021, arXiv 2104.08821; labels are not looked at); ``in-batch``: the same of the two texts of a pair whose
            label is in the upper half (Henderson et al. 2017, arXiv 1705.00652; both directions), the second texts of
            other pairs standing among those that it is unlike; ``cosent``: of any two pairs that with the higher label
            has the higher cosine (Su Jianlin 2022, kexue.fm/archives/8847).
        pooling: of the tokens of a text: their mean, [CLS] and [SEP] included, or [CLS].
        scale: that cosines are multiplied by; 1 / SimCSE's temperature.
        binary: whether the labels are 0 and 1 alone, so that the score is the area under the ROC curve; else it is
            Spearman's correlation.
    """

    contrast: Contrast
    pooling: SentencePooling = "mean"
    scale: float = 20.0
    binary: bool = True

    labels: ClassVar[tuple[str, ...]] = ()
    each_token: ClassVar[bool] = False

    @property
    def metric(self) -> str:
        """Name of the score."""
        return "auc" if self.binary else "spearman"

    def vectors(self, hidden: Tensor, attention: Tensor) -> Tensor:
        """Unit vectors, float32 [B, H], of hidden states [B, T, H]; `attention` bool [B, T]."""
        if self.pooling == "cls":
            return F.normalize(hidden[:, 0].float(), dim=1)
        weights = attention.float().unsqueeze(2)
        return F.normalize((hidden.float() * weights).sum(1) / weights.sum(1), dim=1)

    def loss(self, first: Tensor, second: Tensor, labels: Tensor, identities: Tensor) -> Tensor:
        """The mean loss of a batch, a scalar.

        Args:
            first, second: unit vectors [B, H] of the two texts of each pair, or of one text twice.
            labels: float [B], from 0 to 1.
            identities: int64 [2, B]: equal where texts are the same; they are not held against one another.
        """
        if self.contrast == "cosent":
            return cosent(self.scale * (first * second).sum(1), labels)
        positive = torch.ones_like(labels, dtype=torch.bool) if self.contrast == "simcse" else labels > 0.5
        scores = self.scale * first @ second.t()
        there = in_batch(scores, positive, identities[0], identities[1])
        if self.contrast == "simcse":
            return there
        return (there + in_batch(scores.t(), positive, identities[1], identities[0])) / 2

    def score(self, predictions: np.ndarray, labels: Sequence[Label]) -> Score:
        """Of cosines, float [N]."""
        gold = np.array(labels, dtype=np.float64)
        return Score(100 * (auc(predictions, gold > 0.5) if self.binary else spearman(predictions, gold)), 0, 0)

    def described(self, predictions: np.ndarray) -> Iterator[dict[str, Any]]:
        """For each pair what is to be written."""
        for value in predictions:
            yield {"predicted": round(float(value), 6)}


def cosent(scores: Tensor, labels: Tensor) -> Tensor:
    """log(1 + Σ exp(s_i - s_j)) over all i, j with label_i < label_j; scores and labels float [B]."""
    differences = scores[:, None] - scores[None, :]
    wrong = differences[labels[:, None] < labels[None, :]]
    return torch.cat([wrong.new_zeros(1), wrong]).logsumexp(0)


def in_batch(scores: Tensor, positive: Tensor, own: Tensor, others: Tensor) -> Tensor:
    """Mean cross entropy of row i of `scores` [B, B] with column i as the right one, over the `positive` rows.

    Args:
        positive: bool [B].
        own, others: int64 [B], identities of what rows and columns stand for. A column that is the same text as its
            row, or as the right column, is no wrong answer and left out.
    """
    same = (own[:, None] == others[None, :]) | (others[:, None] == others[None, :])
    same &= ~torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    if not positive.any():
        return scores.sum() * 0
    answers = torch.arange(len(scores), device=scores.device)[positive]
    return F.cross_entropy(scores.masked_fill(same, -torch.inf)[positive], answers)
