"""Which rows share a batch, and how wide it is. Pure.

Batches of training are drawn without a look at lengths. Rows of like length in one batch would need less padding, but
with them 2/128 came out 0.6 points below plain training (docs/experiments.md): batches of short and of long texts
pull in turn. What pads little without changing the batch is to divide its work by length, as `weixing.tasks.steps`
does on a CPU.
"""

import numpy as np

WIDTH_MULTIPLE = 8  # matrix units like widths of this multiple


def batches_in_epoch(rows: int, batch_size: int) -> int:
    """Batches, and so optimizer updates, in one pass over `rows`: the last batch may be short."""
    return -(-rows // batch_size)


def shuffled_batches(rows: int, batch_size: int, generator: np.random.Generator) -> list[np.ndarray]:
    """One epoch: every row once, in random order, in `batches_in_epoch` batches, int64 [B] each, the last one short."""
    order = generator.permutation(rows)
    return [order[at : at + batch_size] for at in range(0, rows, batch_size)]


def sorted_batches(lengths: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Every row once, longest first, for evaluation: the largest batch comes first, so that memory fails early."""
    order = np.argsort(-lengths, kind="stable")
    return [order[at : at + batch_size] for at in range(0, len(order), batch_size)]


def width_of(lengths: np.ndarray, max_length: int) -> int:
    """Positions of a batch whose rows have `lengths` tokens: the longest, rounded up, at most `max_length`."""
    longest = int(lengths.max())
    return min(-(-longest // WIDTH_MULTIPLE) * WIDTH_MULTIPLE, max(max_length, longest))
