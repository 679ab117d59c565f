"""A classifier's logits as labels with scores, as transformers' text-classification pipeline has them. Pure.

Shapes: B texts, L labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from weixing.errors import UserError
from weixing.tasks.files import Kind

KIND_OF_PROBLEM: dict[str, Kind] = {
    "single_label_classification": "class",
    "multi_label_classification": "multi-label",
    "regression": "number",
}
"""What transformers calls the kinds of labels, in config.json's ``problem_type``."""


@dataclass(frozen=True)
class Labels:
    """What the outputs of a classifier mean.

    Args:
        names: of the outputs, in order.
        kind: ``class``: one of them, so that scores sum to 1; ``multi-label``: any number of them, each with a
            probability of its own; ``number``: the score is the output itself.
    """

    names: tuple[str, ...]
    kind: Kind

    def scores(self, logits: Tensor) -> Tensor:
        """Logits [B, L] → scores [B, L]."""
        if self.kind == "class":
            return logits.softmax(1)
        return logits.sigmoid() if self.kind == "multi-label" else logits

    def named(self, scores: Sequence[float], top_k: int | None = None) -> list[dict[str, Any]]:
        """Of one text: ``{"label", "score"}``, highest score first, all of them or the first `top_k`."""
        order = sorted(range(len(scores)), key=lambda label: -scores[label])
        return [{"label": self.names[label], "score": scores[label]} for label in order[:top_k]]


def labels_of(names: Sequence[str], problem: Any, where: Any) -> Labels:
    """From the names of the outputs and what config.json says of the problem.

    Where that is nothing, one output is one label that holds or not, and several are classes, as transformers has it.

    Raises:
        UserError: another problem.
    """
    if problem is None:
        return Labels(tuple(names), "class" if len(names) > 1 else "multi-label")
    kind = KIND_OF_PROBLEM.get(problem) if isinstance(problem, str) else None
    if kind is None:
        raise UserError(f"problem_type is {problem!r}", where=where, accepted=", ".join(KIND_OF_PROBLEM))
    return Labels(tuple(names), kind)


def classifier_logits(pooler: torch.nn.Module, classifier: torch.nn.Module, first: Tensor) -> Tensor:
    """Hidden states of the first tokens [B, H] → logits [B, L], in float32 whatever the encoder is computed in."""
    return classifier(torch.tanh(pooler(first)))
