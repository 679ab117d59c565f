"""Texts of many lengths as padded batches: sorted by length, so that little is padding. Pure; NumPy alone."""

from collections.abc import Iterator, Sequence

import numpy as np


def batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[np.ndarray]:
    """Indices of the texts of each batch, longest first; every text is in one batch.

    Args:
        lengths: tokens of each text.
        batch_tokens: most positions in a batch, padding included; a longer text has a batch of its own.
    """
    order = np.argsort(-np.asarray(lengths, np.int64), kind="stable")
    start = 0
    while start < len(order):
        rows = max(1, batch_tokens // max(1, lengths[order[start]]))
        yield order[start : start + rows]
        start += rows


def pad(rows: Sequence[np.ndarray], pad_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Token ids int64 [B, T], padded at the end, and their lengths, int64 [B]; T is the longest row."""
    lengths = np.array([len(row) for row in rows])
    ids = np.full((len(rows), lengths.max()), pad_id, np.int64)
    ids[np.arange(ids.shape[1]) < lengths[:, None]] = np.concatenate(rows)
    return ids, lengths
