"""Texts to model input: [CLS] a [SEP] and [CLS] a [SEP] b [SEP], truncated, kept as one flat tensor. No I/O.

N rows, B rows of a batch, T positions of a batch, W words of all rows, L outputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from weixing.tasks.files import Examples
from weixing.tasks.objectives import IGNORED, Objective
from weixing.tasks.rows import Label
from weixing.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Batch:
    """Rows as a model gets them.

    `ids`, `token_types` int64 [B, T]; `attention` bool [B, T], true for real tokens; `targets` [B, …], or [B, T] where
    each token has one; `soft`, the logits to be taught, [B, L] or [B, T, L].
    """

    ids: Tensor
    token_types: Tensor
    attention: Tensor
    targets: Tensor
    soft: Tensor | None = None

    def __getitem__(self, rows: Tensor) -> "Batch":
        """Some of the rows, int64, in their order."""
        return Batch(
            self.ids[rows],
            self.token_types[rows],
            self.attention[rows],
            self.targets[rows],
            None if self.soft is None else self.soft[rows],
        )

    def repeated(self, times: int) -> "Batch":
        """All rows, and all of them again behind, `times` in all."""
        return self if times == 1 else self[torch.arange(len(self.ids), device=self.ids.device).repeat(times)]


@dataclass(frozen=True)
class Encoded:
    """Every row of a task file as ids, one behind the other, so that a batch is cut on the device that trains.

    Where the two texts of a row are read apart, each of them is a row here: those of all first texts come first, [2N].

    Attributes:
        ids: int64 [tokens].
        starts, lengths, first_lengths: of each row; those of token type 0. int64 [N] or [2N].
        targets: what an `Objective` makes of the labels, [N, …], or [tokens] where each token has one; of texts that
            are read apart [2N, 2], and behind it a number that equal texts share.
        labels: as they were read, N.
        pad_id: stands behind the end of a row.
        words: where each token has a target, for every word where in `ids` its first token is, -1 where it was cut
            off. int64 [W].
        soft: the logits to be taught, float32 [N, L] or [tokens, L].
    """

    ids: Tensor
    starts: Tensor
    lengths: Tensor
    first_lengths: Tensor
    targets: Tensor
    labels: Sequence[Label]
    pad_id: int
    words: Tensor | None = None
    soft: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "Encoded":
        """The same rows on `device`."""
        tensors = {name: x for name, x in vars(self).items() if isinstance(x, Tensor)}
        moved: dict[str, Any] = {name: x.to(device) for name, x in tensors.items()}
        return replace(self, **moved)

    def texts_of(self, rows: np.ndarray) -> np.ndarray:
        """Where, in `starts`, rows that are numbered as labels are, int64 [B]: itself, or [2B] of texts read apart."""
        return np.concatenate([rows + part * len(self) for part in range(len(self.starts) // len(self))])

    def batch(self, rows: Tensor, width: int) -> Batch:
        """The rows numbered `rows` (int64 [B]), padded to `width` positions."""
        positions = torch.arange(width, device=self.ids.device)
        attention = positions < self.lengths[rows, None]
        at = (self.starts[rows, None] + positions).clamp_(max=len(self.ids) - 1)
        targets_at = rows if self.words is None else at
        targets = self.targets[targets_at]
        return Batch(
            ids=torch.where(attention, self.ids[at], self.pad_id),
            token_types=(attention & (positions >= self.first_lengths[rows, None])).long(),
            attention=attention,
            targets=targets if self.words is None else torch.where(attention, targets, IGNORED),
            soft=None if self.soft is None else self.soft[targets_at],
        )

    @property
    def words_of_rows(self) -> list[Tensor] | None:
        """`words`, on the CPU, for each row; it has as many as tags."""
        if self.words is None:
            return None
        return list(self.words.cpu().split([len(tags) for tags in self.labels if isinstance(tags, tuple)]))


def truncate_pair(first: int, second: int, budget: int) -> tuple[int, int]:
    """How many tokens of each text stay when both together may have `budget`: the longer one is cut first.

    The same as taking one token at a time from the end of the longer text, from the second where both are equal
    (BERT, `_truncate_seq_pair`). UER-py cuts the end of the joined row instead, which loses the second text and the
    last [SEP] (`finetune/run_classifier.py:160-162`).
    """
    second = min(second, max(budget - first, budget // 2))
    return min(first, budget - second), second


def encode_examples(examples: Examples, objective: Objective, tokenizer: Tokenizer, max_length: int) -> Encoded:
    """Tokenize each text once and build the rows, none longer than `max_length` tokens; [SEP] is never lost.

    Words that have a tag each are tokenized one by one, so that no token belongs to two.
    """
    vocabulary, rows = tokenizer.vocabulary, len(examples)
    texts, seconds = examples.texts, examples.second_texts
    if objective.apart:
        assert seconds is not None
        texts, seconds, rows = [*texts, *seconds], None, 2 * rows
    if objective.each_token:
        assert examples.words is not None
        first_ids, word_offsets = tokenizer.encode_batch(list(chain.from_iterable(examples.words)))
        first_word = np.cumsum([0, *map(len, examples.words)])
        first_offsets = word_offsets[first_word]
    else:
        first_ids, first_offsets = tokenizer.encode_batch(texts)
    pairs = seconds is not None
    second_ids, second_offsets = tokenizer.encode_batch(seconds or [""] * rows)
    budget = max_length - (3 if pairs else 2)
    cls, sep = np.array([vocabulary.cls_id]), np.array([vocabulary.sep_id])
    pieces: list[np.ndarray] = []
    lengths, first_lengths = np.empty((2, rows), dtype=np.int64)
    for row, (start, end, second_start, second_end) in enumerate(
        zip(first_offsets[:-1], first_offsets[1:], second_offsets[:-1], second_offsets[1:], strict=True)
    ):
        first, second = truncate_pair(end - start, second_end - second_start, budget)
        pieces += [cls, first_ids[start : start + first], sep]
        first_lengths[row] = lengths[row] = first + 2
        if pairs:
            pieces += [second_ids[second_start : second_start + second], sep]
            lengths[row] += second + 1
    starts = np.cumsum(lengths) - lengths
    targets, words = objective.targets(examples.labels), None
    if objective.apart:
        numbers: dict[str, int] = {}
        same = torch.tensor([numbers.setdefault(text, len(numbers)) for text in texts])
        targets = torch.stack([targets, same.to(targets)], 1)
    if objective.each_token:
        places = np.repeat(starts + 1 - first_offsets[:-1], np.diff(first_word)) + word_offsets[:-1]
        ends = np.repeat(starts + first_lengths - 1, np.diff(first_word))
        # A word may be cut off, or be nothing that has a token, such as a control character.
        words = torch.from_numpy(np.where((places < ends) & (np.diff(word_offsets) > 0), places, -1))
        of_words, targets = targets, torch.full((int(lengths.sum()),), IGNORED)
        targets[words[words >= 0]] = of_words[words >= 0]
    return Encoded(
        ids=torch.from_numpy(np.concatenate(pieces).astype(np.int64)),
        starts=torch.from_numpy(starts),
        lengths=torch.from_numpy(lengths),
        first_lengths=torch.from_numpy(first_lengths),
        targets=targets,
        labels=examples.labels,
        pad_id=vocabulary.pad_id,
        words=words,
    )
