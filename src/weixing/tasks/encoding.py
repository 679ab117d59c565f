"""Texts to model input: [CLS] a [SEP] and [CLS] a [SEP] b [SEP], truncated, kept as one flat tensor. No I/O.

N rows, B rows of a batch, T positions of a batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from weixing.tasks.files import Examples
from weixing.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Batch:
    """`ids`, `token_types` int64 [B, T]; `attention` bool [B, T], true for real tokens; `labels` int64 [B]."""

    ids: Tensor
    token_types: Tensor
    attention: Tensor
    labels: Tensor

    def __getitem__(self, rows: Tensor) -> "Batch":
        """Some of the rows, int64, in their order."""
        return Batch(self.ids[rows], self.token_types[rows], self.attention[rows], self.labels[rows])


@dataclass(frozen=True)
class Encoded:
    """Every row of a task file as ids, one behind the other, so that a batch is cut on the device that trains.

    `ids` int64 [tokens]; `starts`, `lengths`, `first_lengths` (positions of token type 0) and `labels` int64 [N].
    """

    ids: Tensor
    starts: Tensor
    lengths: Tensor
    first_lengths: Tensor
    labels: Tensor
    pad_id: int

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "Encoded":
        """The same rows on `device`."""
        names = ("ids", "starts", "lengths", "first_lengths", "labels")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def batch(self, rows: Tensor, width: int) -> Batch:
        """The rows numbered `rows` (int64 [B]), padded to `width` positions."""
        positions = torch.arange(width, device=self.ids.device)
        attention = positions < self.lengths[rows, None]
        at = (self.starts[rows, None] + positions).clamp_(max=len(self.ids) - 1)
        return Batch(
            ids=torch.where(attention, self.ids[at], self.pad_id),
            token_types=(attention & (positions >= self.first_lengths[rows, None])).long(),
            attention=attention,
            labels=self.labels[rows],
        )


def truncate_pair(first: int, second: int, budget: int) -> tuple[int, int]:
    """How many tokens of each text stay when both together may have `budget`: the longer one is cut first.

    The same as taking one token at a time from the end of the longer text, from the second where both are equal
    (BERT, `_truncate_seq_pair`). UER-py cuts the end of the joined row instead, which loses the second text and the
    last [SEP] (`finetune/run_classifier.py:160-162`).
    """
    second = min(second, max(budget - first, budget // 2))
    return min(first, budget - second), second


def encode_examples(examples: Examples, labels: Sequence[str], tokenizer: Tokenizer, max_length: int) -> Encoded:
    """Tokenize each text once and build the rows, none longer than `max_length` tokens; [SEP] is never lost."""
    vocabulary = tokenizer.vocabulary
    first_ids, first_offsets = tokenizer.encode_batch(examples.texts)
    pairs = examples.second_texts is not None
    second_ids, second_offsets = tokenizer.encode_batch(examples.second_texts or [""] * len(examples))
    budget = max_length - (3 if pairs else 2)
    cls, sep = np.array([vocabulary.cls_id]), np.array([vocabulary.sep_id])
    pieces: list[np.ndarray] = []
    lengths, first_lengths = np.empty((2, len(examples)), dtype=np.int64)
    for row, (start, end, second_start, second_end) in enumerate(
        zip(first_offsets[:-1], first_offsets[1:], second_offsets[:-1], second_offsets[1:], strict=True)
    ):
        first, second = truncate_pair(end - start, second_end - second_start, budget)
        pieces += [cls, first_ids[start : start + first], sep]
        first_lengths[row] = lengths[row] = first + 2
        if pairs:
            pieces += [second_ids[second_start : second_start + second], sep]
            lengths[row] += second + 1
    label_ids = {label: number for number, label in enumerate(labels)}
    return Encoded(
        ids=torch.from_numpy(np.concatenate(pieces).astype(np.int64)),
        starts=torch.from_numpy(np.cumsum(lengths) - lengths),
        lengths=torch.from_numpy(lengths),
        first_lengths=torch.from_numpy(first_lengths),
        labels=torch.tensor([label_ids[str(label)] for label in examples.labels]),
        pad_id=vocabulary.pad_id,
    )
