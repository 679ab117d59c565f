"""What a teacher says of predicted positions: probabilities of few entries each, the label's share beside. Pure.

A position's target is ``(1 - sum of shares) · label + shares``. Only what a teacher finds likely is kept; all the rest
is the label's: where a teacher knows little, its many small probabilities leave the position to the data, and a target
always sums to 1, so that the gradient of a logit stays ``softmax - target``.

Shapes: B rows, M predicted positions of a row, n positions, K entries of a position, V vocabulary entries.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

LEAST_PROBABILITY = 0.004  # below it an entry's probability is left to the label
MOST_ENTRIES = 48  # K


@dataclass(frozen=True)
class SoftTargets:
    """Targets beside the labels.

    Attributes:
        entries: int64 [B, M, K], vocabulary entries; 0 where a place is unused.
        shares: float32 [B, M, K], of the target; 0 where a place is unused. Those of a position sum to at most 1.
    """

    entries: Tensor
    shares: Tensor

    def __getitem__(self, rows: slice) -> "SoftTargets":
        """The same for some of the rows."""
        return SoftTargets(self.entries[rows], self.shares[rows])


def likely_entries(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Columns [n, K] and probabilities float32 [n, K] of the likeliest entries of logits [n, V], 0 where unused."""
    probabilities = logits.float().softmax(1)
    kept, columns = probabilities.topk(min(MOST_ENTRIES, logits.shape[1]), dim=1)
    used = kept >= LEAST_PROBABILITY
    return torch.where(used, columns, 0), torch.where(used, kept, 0.0)
