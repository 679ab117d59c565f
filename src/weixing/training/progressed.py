"""What a run has come to: its own numbers on the way, and those of its end. Plain values."""

import math
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Pretrained:
    """What a run came to.

    `tokens` counts positions fed, padding included; `stopped_by` is a signal's number; `rank` is this process.
    """

    steps: int
    tokens: int
    seconds: float
    tokens_per_second: float
    train_loss: float | None
    eval_loss: float | None
    eval_accuracy: float | None
    peak_fraction: float
    output: str
    stopped_by: int | None = None
    rank: int = 0


@dataclass
class Progressed:
    """The loop's own numbers, saved with every checkpoint."""

    step: int = 0
    seconds: float = 0.0
    timed_steps: int = 0
    timed_seconds: float = 0.0
    loss_sum: float = 0.0  # since the last report
    predicted: float = 0.0
    train_loss: float = math.nan  # of the last report
    grad_norm: float = math.nan
    evaluation: dict[str, float] = field(default_factory=dict)
    best_step: int | None = None  # of the evaluations
    best_loss: float = math.inf
