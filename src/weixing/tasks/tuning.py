"""What may be changed about how a cell is trained, beyond its four numbers. Plain values; no torch."""

from dataclasses import dataclass
from typing import Literal

from weixing.errors import UserError

Contrast = Literal["cosent", "in-batch", "simcse"]


@dataclass(frozen=True)
class Tuning:
    """Options of fine-tuning; as they come, all are off and a cell is trained as the published scores were.

    Attributes:
        layer_decay: the learning rate of each layer is that of the layer above it times this; the head has the cell's,
            the embeddings have the lowest (Howard & Ruder 2018, arXiv 1801.06146).
        r_drop: weight of the symmetric Kullback-Leibler divergence between two passes of each row, which dropout makes
            different; the task's loss is then the mean of both (R-Drop, Liang et al. 2021, arXiv 2106.14448).
        teachers: names of fine-tuned models of the same labels, whose logits (the mean of several) are taught beside
            the labels (Hinton et al. 2015, arXiv 1503.02531).
        teacher_weight: share of the loss that is the teachers', 0 to 1; the rest is the labels'.
        temperature: that both sides' logits are divided by before they are compared.
        patience: stop when so many epochs in a row have brought no better dev score; the best epoch's model counts
            then. None: never, and the last epoch's counts.
        contrast, pooling, scale: of similarity alone, see `weixing.tasks.similarity`.
    """

    layer_decay: float = 1.0
    r_drop: float = 0.0
    teachers: tuple[str, ...] = ()
    teacher_weight: float = 0.5
    temperature: float = 2.0
    patience: int | None = None
    contrast: Contrast = "cosent"
    pooling: Literal["mean", "cls"] = "mean"
    scale: float = 20.0

    def __post_init__(self) -> None:
        for option, fits, accepted in (
            ("layer_decay", 0 < self.layer_decay <= 1, "more than 0, at most 1"),
            ("r_drop", 0 <= self.r_drop < float("inf"), "0 or more"),
            ("teacher_weight", 0 <= self.teacher_weight <= 1, "0 to 1"),
            ("temperature", 0 < self.temperature < float("inf"), "more than 0"),
            ("patience", self.patience is None or self.patience >= 1, "1 or more epochs"),
            ("scale", 0 < self.scale < float("inf"), "more than 0"),
        ):
            if not fits:
                raise UserError(str(getattr(self, option)), where=f"--{option.replace('_', '-')}", accepted=accepted)
