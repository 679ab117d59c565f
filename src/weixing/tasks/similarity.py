"""Vectors that are near where texts mean alike: three contrastive losses, AUC or Spearman. Pure tensor code.

A row is a pair of texts, each of which goes through the encoder alone. Shapes: N rows, B rows of a batch, H hidden
units. Vectors of a batch are [2B, H]: of its first texts, and behind them of its second ones.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from weixing.errors import UserError
from weixing.model.encoder import Encoder
from weixing.model.heads import Embedder, SentencePooling
from weixing.tasks.files import Examples
from weixing.tasks.objectives import Objective, Predictions, Score
from weixing.tasks.rows import UNLABELLED, Label
from weixing.tasks.scores import auc, spearman
from weixing.tasks.tuning import Contrast

SAME_OR_NOT = {0.0, 1.0}


@dataclass(frozen=True)
class Similarity(Objective):
    """How alike two texts are, as the cosine of their vectors. Predictions: cosines, float32 [N].

    A loss looks at all rows of a batch at once:

    * ``cosent`` (Su Jianlin 2022, kexue.fm/archives/8847): of any two rows that with the higher label shall have the
      higher cosine. Labels of any order will do.
    * ``in-batch`` (Henderson et al. 2017, arXiv 1705.00652): of a row whose label is in the upper half each text shall
      be nearest to the other one, among the texts of the whole batch on the other's side; those of unlike rows too.
    * ``simcse`` (Gao et al. 2021, arXiv 2104.08821): a text shall be nearest to itself under other dropout, among those
      of the batch. Labels are not looked at. The layer that the paper has on top in training is not there.

    Attributes:
        contrast: the loss.
        pooling: what a vector is made of.
        scale: that cosines are multiplied by; 1 / temperature.
        metric: ``auc`` (labels 0 and 1) or ``spearman``.
    """

    contrast: Contrast = "cosent"
    pooling: SentencePooling = "mean"
    scale: float = 20.0
    metric: str = "auc"

    apart = True
    whole_batch = True

    @property
    def output_names(self) -> tuple[str, ...]:
        """None: a vector's numbers have no names."""
        return ()

    def model(self, encoder: Encoder) -> Embedder:
        """A new model on `encoder`; pooling has no weights."""
        return Embedder(encoder, self.pooling)

    def trained_on(self, examples: Examples) -> Examples:
        """What the loss learns from: each text paired with itself for ``simcse``, labels 0 and 1 for ``in-batch``.

        Raises:
            UserError: texts or labels are all alike.
        """
        if self.contrast == "simcse":
            first_line: dict[str, int] = {}
            for texts in (examples.texts, examples.second_texts or ()):
                for line, text in zip(examples.lines, texts, strict=False):
                    first_line.setdefault(text, line)
            if len(first_line) < 2:
                raise UserError("one text alone", where=examples.path, accepted="two different texts or more")
            texts, labels = list(first_line), [UNLABELLED] * len(first_line)
            return replace(examples, texts=texts, second_texts=texts, labels=labels, lines=list(first_line.values()))
        labels = [float(str(label)) for label in examples.labels]
        lowest, highest = min(labels), max(labels)
        if lowest == highest and (self.contrast == "cosent" or highest <= 0):
            raise UserError(
                f"every training row has the label {highest:g}", where=examples.path, accepted="different labels",
                action="--contrast in-batch learns from rows labelled 1 alone",
            )  # fmt: skip
        if self.contrast == "in-batch":
            middle = (lowest + highest) / 2
            labels = [float(label >= highest or label > middle) for label in labels]
        return replace(examples, labels=labels)

    def targets(self, labels: Sequence[Label]) -> Tensor:
        """float64 [2N], of each text that of its row: of the first texts, then of the second."""
        return torch.tensor(cast(Sequence[float], labels), dtype=torch.float64).repeat(2)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Of a whole batch, to be divided by `count`.

        Args:
            logits: vectors [2B, H].
            targets: [2B, 2], the label of a text's row and a number that equal texts share.
        """
        (first, second), (labels, _) = F.normalize(logits, dim=1).chunk(2), targets[:, 0].chunk(2)
        if self.contrast == "cosent":
            return cosent(self.scale * (first * second).sum(1), labels)
        scores, alike = self.scale * first @ second.T, labels > 0.5
        one, other = targets[:, 1].chunk(2)
        there = in_batch(scores, alike, one, other)
        return there if self.contrast == "simcse" else (there + in_batch(scores.T, alike, other, one)) / 2

    def count(self, targets: Tensor) -> int | Tensor:
        """Rows that are alike; ``cosent`` has one loss a batch."""
        labels = targets[: len(targets) // 2, 0]
        return 1 if self.contrast == "cosent" else (labels > 0.5).sum().clamp(min=1)

    def divergence(self, of: Tensor, given: Tensor, targets: Tensor) -> Tensor:
        """Nothing: `weixing.tasks.kinds.objective_for` refuses what would ask for it."""
        raise NotImplementedError

    def predictions(self, logits: Tensor, words: Sequence[Tensor] | None) -> Predictions:
        """Cosines of vectors [2N, H]."""
        first, second = F.normalize(logits, dim=1).chunk(2)
        return (first * second).sum(1).numpy()

    def score(self, predictions: Predictions, labels: Sequence[Label]) -> Score:
        """As in `Objective`."""
        cosines, gold = cast(np.ndarray, predictions), np.array(labels, dtype=np.float64)
        return Score(100 * (auc(cosines, gold == 1) if self.metric == "auc" else spearman(cosines, gold)), 0, 0)

    def described(self, predictions: Predictions) -> Iterator[dict[str, Any]]:
        """As in `Objective`."""
        for value in cast(np.ndarray, predictions):
            yield {"predicted": float(f"{value:.7g}")}


def cosent(scores: Tensor, labels: Tensor) -> Tensor:
    """log(1 + Σ exp(score i - score j)) over all i and j with label i < label j, [B] both; 0 if there are none."""
    wrong = (scores[:, None] - scores[None, :])[labels[:, None] < labels[None, :]]
    return torch.cat([wrong.new_zeros(1), wrong]).logsumexp(0)


def in_batch(scores: Tensor, alike: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Sum of the cross entropies of row i of `scores` [B, B], column i being right, over the rows that are `alike`.

    Args:
        alike: bool [B].
        rows, columns: [B], equal where texts are. A column that has the text of its row, or of the right column, is no
            wrong answer and left out.
    """
    same = (rows[:, None] == columns[None, :]) | (columns[:, None] == columns[None, :])
    same &= ~torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    right = torch.arange(len(scores), device=scores.device)
    return F.cross_entropy(scores.masked_fill(same, -torch.inf)[alike], right[alike], reduction="sum")
