"""From the loader's rows to what a forward pass takes: masked on the device, with the attention the recipe asks for."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from weixing.data.borders import attention_mask, isolate_documents
from weixing.data.masking import MaskedRows, Masking
from weixing.model.heads import MaskedLanguageModel
from weixing.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class Batch:
    """Masked rows, with what each token sees and its position.

    Attributes:
        masked: the rows.
        seen: ``first`` and ``last`` of `weixing.data.borders`, or None: every token sees every other.
        positions: int64 [B, T], or None: 0 … T-1.
    """

    masked: MaskedRows
    seen: tuple[Tensor, Tensor] | None
    positions: Tensor | None

    def __len__(self) -> int:
        return len(self.masked.ids)

    @property
    def attention(self) -> Tensor | None:
        """`seen` as a mask, bool [B, T, T]."""
        return attention_mask(*self.seen) if self.seen else None

    def __getitem__(self, rows: slice) -> "Batch":
        """The same for some of the rows (a micro-batch)."""
        return Batch(
            self.masked[rows],
            (self.seen[0][rows], self.seen[1][rows]) if self.seen else None,
            None if self.positions is None else self.positions[rows],
        )

    def to(self, device: torch.device) -> "Batch":
        """The same on another device."""
        masked = self.masked
        return Batch(
            MaskedRows(*(t.to(device) for t in (masked.ids, masked.positions, masked.labels, masked.weights))),
            (self.seen[0].to(device), self.seen[1].to(device)) if self.seen else None,
            None if self.positions is None else self.positions.to(device),
        )


def masked_loss(model: MaskedLanguageModel, batch: Batch, entries: Tensor | None = None) -> Tensor:
    """Sum of the cross entropies at the predicted positions of `batch`, a float32 scalar, among `entries` (or all)."""
    masked = batch.masked
    return model.loss(
        masked.ids, masked.positions, masked.labels, masked.weights, batch.attention, batch.positions, entries
    )


class BatchMaker:
    """Makes batches of one kind.

    Args:
        vocabulary: of the rows.
        masking: the masking rule.
        isolate: whether packed documents are kept apart (`weixing.data.borders`).
        device: where batches live.
    """

    def __init__(self, vocabulary: Vocabulary, masking: Masking, isolate: bool, device: torch.device) -> None:
        self.vocabulary, self.masking, self.isolate, self.device = vocabulary, masking, isolate, device
        self._generator = torch.Generator(device)

    def __call__(self, rows: np.ndarray, continues_word: np.ndarray | None, seed: int) -> Batch:
        """Batch of `rows` [B, T] uint16; the masking is decided by `seed` alone."""
        # Asked of the host's copy, so that a GPU is never waited for; most batches need no mask at all.
        padded = bool((rows == self.vocabulary.pad_id).any())
        several = self.isolate and bool((rows[:, 1:] == self.vocabulary.cls_id).any())
        ids = torch.from_numpy(rows.astype(np.int64)).to(self.device, non_blocking=True)
        words = None if continues_word is None else torch.from_numpy(continues_word).to(self.device)
        seen, positions = None, None
        if several:
            first, last, positions = isolate_documents(ids, self.vocabulary.cls_id)
            seen = first, last
        if padded:
            lengths = (ids != self.vocabulary.pad_id).sum(1, keepdim=True).expand_as(ids)
            # A padded position sees what the row's tokens see; nothing is asked of it.
            first, last = seen or (torch.zeros_like(ids), lengths)
            seen = first.minimum(lengths - 1), last.minimum(lengths)
        return Batch(self.masking(ids, self._generator.manual_seed(seed), words), seen, positions)
