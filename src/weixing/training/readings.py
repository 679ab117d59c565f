"""What steps measure, left on the device until someone looks: a look waits for all that the device has been given."""

from dataclasses import dataclass

import torch
from torch import Tensor


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
        self._unseen: list[tuple[int, Tensor, Tensor, Tensor]] = []

    def __len__(self) -> int:
        return len(self._unseen)

    def add(self, step: int, loss: Tensor, predicted: Tensor, norm: Tensor) -> None:
        """Keep three scalars, wherever they are; no device is waited for."""
        self._unseen.append((step, loss, predicted, norm))

    def take(self) -> list[Reading]:
        """All that were kept, oldest first; none is left."""
        unseen, self._unseen = self._unseen, []
        if not unseen:
            return []
        steps, *measured = zip(*unseen, strict=True)
        columns = (torch.stack(column).tolist() for column in measured)  # one copy each, whatever the number of steps
        return [Reading(*values) for values in zip(steps, *columns, strict=True)]
