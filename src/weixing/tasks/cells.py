"""The cells of a grid: what a score depends on besides model and task. Plain values; no torch."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product

from weixing.tasks.batches import batches_in_epoch


@dataclass(frozen=True)
class Cell:
    """One point of a grid: what a score depends on besides model and task."""

    epochs: int
    batch_size: int
    learning_rate: float
    seed: int

    @property
    def name(self) -> str:
        """Fit for a file name; distinct for distinct cells."""
        return f"epochs-{self.epochs}_batch-{self.batch_size}_lr-{self.learning_rate!r}_seed-{self.seed}"

    def total_steps(self, rows: int) -> int:
        """Optimizer updates on `rows` training rows."""
        return self.epochs * batches_in_epoch(rows, self.batch_size)


@dataclass(frozen=True)
class Lists:
    """What each number of a cell is taken from."""

    epochs: tuple[int, ...]
    batch_sizes: tuple[int, ...]
    learning_rates: tuple[float, ...]


PUBLISHED = Lists(epochs=(3, 5, 8), batch_sizes=(32, 64), learning_rates=(3e-5, 1e-4, 3e-4))
"""The 18 cells that the published scores are the best of."""

GRIDS = {
    "published": PUBLISHED,
    "wide": replace(PUBLISHED, learning_rates=(*PUBLISHED.learning_rates, 5e-4, 1e-3)),  # small shapes take more
}

SIMILARITY = Lists(epochs=(3,), batch_sizes=(64,), learning_rates=(1e-4,))
"""Of vectors of texts, one cell."""


def grid(
    epochs: Iterable[int], batch_sizes: Iterable[int], learning_rates: Iterable[float], seeds: Iterable[int]
) -> list[Cell]:
    """Every combination, in the order of `run_classifier_grid.py:62` (batch size, learning rate, epochs), seed last."""
    return [
        Cell(epoch_count, batch_size, learning_rate, seed)
        for batch_size, learning_rate, epoch_count, seed in product(batch_sizes, learning_rates, epochs, seeds)
    ]
