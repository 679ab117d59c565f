"""The loss of a batch: the objective's own, and beside it what R-Drop and teachers add. Pure tensor code."""

from dataclasses import dataclass

import torch
from torch import Tensor

from weixing.tasks.objectives import Objective
from weixing.tasks.tuning import Tuning


@dataclass(frozen=True)
class Loss:
    """Sums over a batch, to be divided by `count`; shapes of logits and targets are those of `Objective`."""

    objective: Objective
    tuning: Tuning = Tuning()  # noqa: RUF009  # frozen

    @property
    def passes(self) -> int:
        """How often each row is to go through the model, each time with other dropout."""
        return 2 if self.tuning.r_drop else 1

    def count(self, targets: Tensor) -> int | Tensor:
        """As `Objective.count`."""
        return self.objective.count(targets)

    def sum(self, logits: Tensor, targets: Tensor, soft: Tensor | None) -> Tensor:
        """The loss of some rows, a scalar: labels' or teachers', the mean of all passes; and R-Drop's.

        Args:
            logits: of the rows in the first pass, and behind them those of the second, if there is one.
            targets: of the rows.
            soft: the teachers' logits, as those of one pass.
        """
        first, *more = logits.chunk(self.passes)
        if not more:
            return self._of_a_pass(first, targets, soft)
        (second,) = more
        taught = (self._of_a_pass(first, targets, soft) + self._of_a_pass(second, targets, soft)) / 2
        apart = [self.objective.divergence(*pair, targets) for pair in ((first, second), (second, first))]
        return taught + self.tuning.r_drop * (apart[0] + apart[1]) / 2

    def _of_a_pass(self, logits: Tensor, targets: Tensor, soft: Tensor | None) -> Tensor:
        """(1 - w) · the labels' + w · T² · KL(teachers ‖ model), both at temperature T."""
        own = self.objective.loss(logits, targets)
        if soft is None:
            return own
        weight, T = self.tuning.teacher_weight, self.tuning.temperature
        return torch.lerp(own, T**2 * self.objective.divergence(soft / T, logits / T, targets), weight)
