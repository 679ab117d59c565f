"""What steps measure, left on the device until someone looks: a look waits for all that the device has been given."""

from dataclasses import dataclass

import torch
from torch import Tensor

from weixing.training.ranks import ALONE, Ranks


@dataclass(frozen=True)
class Reading:
    """Of one step: the sum of its losses, the number of predicted positions, the L2 norm of its gradient."""

    step: int
    loss: float
    predicted: float
    norm: float


class Readings:
    """Readings of the steps since the last look."""

    def __init__(self) -> None:
        self._unseen: list[tuple[int, Tensor]] = []

    def __len__(self) -> int:
        return len(self._unseen)

    def add(self, step: int, measured: Tensor) -> None:
        """Keep what a step measured, float32 [3]: loss, predicted, norm, wherever it is; no device is waited for."""
        self._unseen.append((step, measured))

    def take(self, ranks: Ranks = ALONE) -> list[Reading]:
        """All that were kept, oldest first, losses and positions added up over the ranks; none is left."""
        unseen, self._unseen = self._unseen, []
        if not unseen:
            return []
        values = torch.stack([measured for _, measured in unseen]).cpu()  # one copy, whatever the number of steps
        sums = ranks.sum(values[:, :2].double()).tolist()
        norms = values[:, 2].tolist()
        return [
            Reading(step, loss, predicted, norm)
            for (step, _), (loss, predicted), norm in zip(unseen, sums, norms, strict=True)
        ]
