"""From the loader's rows to what a forward pass takes: masked on the device, with the attention the recipe asks for."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from weixing.data.borders import attention_mask, isolate_documents
from weixing.data.masking import MaskedRows, Masking
from weixing.model.heads import MaskedLanguageModel
from weixing.model.soft_targets import SoftTargets
from weixing.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class Batch:
    """Masked rows, with what each token sees and its position.

    Attributes:
        masked: the rows.
        seen: ``first`` and ``last`` of `weixing.data.borders`, or None: every token sees every other.
        positions: int64 [B, T], or None: 0 … T-1.
        soft: targets beside the labels, or None: the labels alone.
    """

    masked: MaskedRows
    seen: tuple[Tensor, Tensor] | None
    positions: Tensor | None
    soft: SoftTargets | None = None

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
            self.soft[rows] if self.soft else None,
        )

    def to(self, device: torch.device) -> "Batch":
        """The same on another device."""
        masked = self.masked
        return Batch(
            MaskedRows(*(t.to(device) for t in (masked.ids, masked.positions, masked.labels, masked.weights))),
            (self.seen[0].to(device), self.seen[1].to(device)) if self.seen else None,
            None if self.positions is None else self.positions.to(device),
            SoftTargets(self.soft.entries.to(device), self.soft.shares.to(device)) if self.soft else None,
        )


@dataclass(frozen=True)
class ReadRows:
    """Rows as they were read, in the host's memory, and what was asked of them there: a GPU would be waited for.

    Attributes:
        ids: int64 [B, T].
        continues_word: bool [B, T], or None.
        padded: whether a row may be padded.
        isolated: whether rows may hold several documents, to be kept apart.
    """

    ids: Tensor
    continues_word: Tensor | None
    padded: bool
    isolated: bool


@dataclass(frozen=True)
class PlacedRows:
    """Rows on the device, with the random numbers that decide their masking: all that an update there starts from.

    Attributes:
        ids: int64 [B, T].
        draws: uniform numbers, [ranks · B, T] each (`weixing.data.masking.Masking.draw`): those of the rows of all
            ranks, so that a row is masked in the same way whatever their number.
        continues_word, padded, isolated: as in `ReadRows`.
    """

    ids: Tensor
    draws: list[Tensor]
    continues_word: Tensor | None
    padded: bool
    isolated: bool


def masked_loss(model: MaskedLanguageModel, batch: Batch, entries: Tensor | None = None) -> Tensor:
    """Sum of the cross entropies at the predicted positions of `batch`, a float32 scalar, among `entries` (or all)."""
    masked = batch.masked
    return model.loss(
        masked.ids, masked.positions, masked.labels, masked.weights, batch.seen, batch.positions, entries, batch.soft
    )


Loss = Callable[[MaskedLanguageModel, Batch, Tensor | None], Tensor]
"""Of a model, of one batch, among some vocabulary entries: `masked_loss` or compiled from it."""


class BatchMaker:
    """Makes batches of one kind.

    Args:
        vocabulary: of the rows.
        masking: the masking rule.
        isolate: whether packed documents are kept apart (`weixing.data.borders`).
        device: where batches live.
        compiled: whether torch.compile may be used, which is done on a GPU: sixty small kernels become a few.
        rank, ranks: this process among those that have rows of an update, as many each.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        masking: Masking,
        isolate: bool,
        device: torch.device,
        compiled: bool = False,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self._rank, self._ranks = rank, ranks
        self.vocabulary, self.masking, self.isolate, self.device = vocabulary, masking, isolate, device
        self._generator = torch.Generator(device)
        self._make = _make
        if compiled and device.type != "cpu":
            self._make = torch.compile(_make, fullgraph=True, dynamic=False)

    def __call__(self, rows: np.ndarray, continues_word: np.ndarray | None, seed: int) -> Batch:
        """Batch of `rows` [B, T] uint16; the masking is decided by `seed` alone."""
        return self.mask(self.read(rows, continues_word), seed)

    def read(self, rows: np.ndarray, continues_word: np.ndarray | None) -> ReadRows:
        """The part of the work that needs no device and may be done in another thread."""
        ids = self._copyable(rows.astype(np.int64))
        words = None if continues_word is None else self._copyable(continues_word)
        padded = bool((rows == self.vocabulary.pad_id).any())
        if self.device.type != "cpu":  # compiled for each form of batches, so that there should be few
            return ReadRows(ids, words, padded or self.isolate, self.isolate)
        several = bool((rows[:, 1:] == self.vocabulary.cls_id).any())
        return ReadRows(ids, words, padded, self.isolate and several)

    def mask(self, rows: ReadRows, seed: int) -> Batch:
        """The rest, on the device, which is not waited for."""
        return self.make(self.place(rows, seed))

    def place(self, rows: ReadRows, seed: int, into: PlacedRows | None = None) -> PlacedRows:
        """Rows and random numbers to the device; with `into` to where those are, of the same form."""
        ids = self._placed(rows.ids, into.ids if into else None)
        words = rows.continues_word
        if words is not None:
            words = self._placed(words, into.continues_word if into else None)
        draws = self.masking.draw(ids, self._generator.manual_seed(seed), into.draws if into else None, self._ranks)
        return into or PlacedRows(ids, draws, words, rows.padded, rows.isolated)

    def make(self, placed: PlacedRows) -> Batch:
        """What needs neither the host nor a generator."""
        border = self.vocabulary.cls_id if placed.isolated else None
        rows = len(placed.ids)
        draws = [draw[self._rank * rows : (self._rank + 1) * rows] for draw in placed.draws]
        return self._make(self.masking, placed.ids, draws, placed.continues_word, border, placed.padded)

    def _placed(self, tensor: Tensor, into: Tensor | None) -> Tensor:
        if into is None:
            return tensor.to(self.device, non_blocking=True)
        return into.copy_(tensor, non_blocking=True)

    def _copyable(self, array: np.ndarray) -> Tensor:
        """In pinned memory if a GPU is to fetch it: only from there are copies asynchronous.

        Torch's allocator does not give that memory away before the copy is done (recordEvent in aten's cuda/Copy.cu).
        """
        tensor = torch.from_numpy(array)
        return tensor.pin_memory() if self.device.type == "cuda" else tensor


def _make(
    masking: Masking, ids: Tensor, draws: list[Tensor], words: Tensor | None, border: int | None, padded: bool
) -> Batch:
    """A batch from ids and draws; `border`, if not None, is the token at which another document begins."""
    seen, positions = None, None
    if border is not None:
        first, last, positions = isolate_documents(ids, border)
        seen = first, last
    if padded:
        lengths = (ids != masking.pad_id).sum(1, keepdim=True).clamp(min=1).expand_as(ids)
        # A padded position sees what the row's tokens see; nothing is asked of it.
        first, last = seen or (torch.zeros_like(ids), lengths)
        seen = first.minimum(lengths - 1), last.minimum(lengths)
    return Batch(masking.choose(ids, draws, words), seen, positions)
