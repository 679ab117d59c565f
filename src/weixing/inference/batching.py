"""Texts of many lengths as padded batches: sorted by length, so that little is padding. Pure; NumPy alone.

Shapes: B texts, T positions.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np


class Padded(NamedTuple):
    """Texts, or pairs of texts, padded at the end.

    Args:
        ids: int64 [B, T].
        lengths: int64 [B].
        firsts: of pairs, positions of the first texts with their [CLS] and [SEP], int64 [B]; None: single texts.
    """

    ids: np.ndarray
    lengths: np.ndarray
    firsts: np.ndarray | None = None

    @property
    def kinds(self) -> np.ndarray:
        """Token types, int64 [B, T]: 1 in the second text, else 0."""
        if self.firsts is None:
            return np.zeros_like(self.ids)
        places = np.arange(self.ids.shape[1])
        return ((places >= self.firsts[:, None]) & (places < self.lengths[:, None])).astype(np.int64)

    @property
    def real(self) -> np.ndarray:
        """Where there is a token, bool [B, T]."""
        return np.arange(self.ids.shape[1]) < self.lengths[:, None]


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


def pad(rows: Sequence[np.ndarray], pad_id: int, firsts: np.ndarray | None = None) -> Padded:
    """Token ids of texts (and of pairs, `firsts` as in `Padded`) as one batch; T is the longest row."""
    lengths = np.array([len(row) for row in rows])
    ids = np.full((len(rows), lengths.max()), pad_id, np.int64)
    ids[np.arange(ids.shape[1]) < lengths[:, None]] = np.concatenate(rows)
    return Padded(ids, lengths, firsts)
