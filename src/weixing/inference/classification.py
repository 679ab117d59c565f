"""A classifier's logits as labels with scores, as transformers' text-classification pipeline has them. Pure.

Shapes: B texts, L labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from weixing.model.heads import ProblemType

THRESHOLD = 0.5  # of the score from which on a label holds that does not compete with others


@dataclass(frozen=True)
class Labels:
    """What the outputs of a classifier mean.

    Args:
        names: of the outputs, in order.
        problem_type: whether one of them holds, so that scores sum to 1; any number of them, each with a probability
            of its own; or they are numbers, which are the scores.
    """

    names: tuple[str, ...]
    problem_type: ProblemType

    def scores(self, logits: Tensor) -> Tensor:
        """Logits [B, L] → scores [B, L]."""
        if self.problem_type == "single_label_classification":
            return logits.softmax(1)
        return logits if self.problem_type == "regression" else logits.sigmoid()

    def named(self, scores: Sequence[float], top_k: int | None = None) -> list[dict[str, Any]]:
        """Of one text: ``{"label", "score"}``, highest score first, all of them or the first `top_k`."""
        order = sorted(range(len(scores)), key=lambda label: -scores[label])
        return [{"label": self.names[label], "score": scores[label]} for label in order[:top_k]]

    def predicted(self, scores: Sequence[float], top_k: int | None = None) -> list[dict[str, Any]]:
        """Of one text the labels that hold, or else the first `top_k`.

        They are the best one, or the number; of labels that do not compete those that reach `THRESHOLD`.
        """
        if top_k is not None or self.problem_type != "multi_label_classification":
            return self.named(scores, top_k or 1)
        return [each for each in self.named(scores) if each["score"] >= THRESHOLD]


def classifier_logits(pooler: nn.Module, classifier: nn.Module, first: Tensor) -> Tensor:
    """Hidden states of the first tokens [B, H] → logits [B, L], in float32 whatever the encoder is computed in."""
    return cast(Tensor, classifier(torch.tanh(pooler(first))))
