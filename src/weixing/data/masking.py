"""Masked-LM masking: dynamic, vectorised on the training device, with a fixed number of slots a row. Pure.

Rule (Devlin et al. 2018, arXiv 1810.04805; UER uer/utils/mask.py:5-60): of a row with L tokens, [CLS] and [SEP]
counted, exactly ``max(1, round(rate · L))`` positions that hold no special token are predicted (all of them if there
are fewer); each of these is replaced by [MASK] with probability 0.8, by a random ordinary token with 0.1, and kept
with 0.1. Shapes: B rows, T positions, M slots a row; slots that a short row leaves over carry no weight.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from weixing.recipes import MaskingUnit
from weixing.text.vocabulary import Vocabulary

MASK_SHARE, RANDOM_SHARE = 0.8, 0.1
SPAN_SUCCESS, LONGEST_SPAN = 0.2, 10  # SpanBERT (arXiv 1907.10529) and UER: lengths ~ Geometric(0.2), cut at 10


@torch.library.custom_op("weixing::ascending", mutates_args=())
def _ascending(values: Tensor) -> Tensor:
    """Indices, int64 [B, N], that sort each row of `values` [B, N], stably.

    An operator of its own so that torch.compile leaves it alone: the sorting network that it would make for rows of up
    to 512 takes minutes to compile.
    """
    return values.sort(dim=1, stable=True).indices


@_ascending.register_fake
def _(values: Tensor) -> Tensor:
    return torch.empty_like(values, dtype=torch.int64)


@dataclass(frozen=True)
class MaskedRows:
    """Rows to predict from.

    Attributes:
        ids: [B, T] int64, with some tokens replaced.
        positions: [B, M] int64, the predicted positions, ascending; 0 in unused slots.
        labels: [B, M] int64, the original tokens there.
        weights: [B, M] float32, 1 where a slot is used, else 0.
    """

    ids: Tensor
    positions: Tensor
    labels: Tensor
    weights: Tensor

    def __getitem__(self, rows: slice) -> "MaskedRows":
        """The same for some of the rows (a micro-batch)."""
        return MaskedRows(self.ids[rows], self.positions[rows], self.labels[rows], self.weights[rows])


class Masking:
    """The masking rule for one vocabulary.

    Args:
        vocabulary: gives the special tokens; the other ones are what random replacements are drawn from.
        rate: predicted share of a row's tokens.
        drawn_from: ids that random replacements are drawn from, special ones left out; None: the whole vocabulary.
        unit: what is drawn whole: ``token``; ``word`` (needs word flags); ``span`` of 1–10 tokens, whose tokens
            share one 80/10/10 draw. The last unit drawn is cut so that the number of positions is exact.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        rate: float,
        unit: MaskingUnit = "token",
        drawn_from: np.ndarray | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.rate, self.unit = rate, unit
        self.mask_id, self.pad_id = vocabulary.mask_id, vocabulary.pad_id
        # [UNK] and [unusedN] are ordinary here, as in UER: they may be predicted and drawn.
        never = [vocabulary.pad_id, vocabulary.cls_id, vocabulary.sep_id, vocabulary.mask_id]
        ordinary = torch.ones(len(vocabulary), dtype=torch.bool)
        ordinary[never] = False
        self._is_ordinary = ordinary.to(device)
        if drawn_from is not None:
            ordinary = ordinary & torch.zeros_like(ordinary).index_fill_(0, torch.from_numpy(drawn_from), True)
        self._drawn_from = torch.nonzero(ordinary).flatten().to(device)

    def slots(self, sequence_length: int) -> int:
        """M: predicted positions of a full row."""
        return max(1, round(self.rate * sequence_length))

    def __call__(self, ids: Tensor, generator: torch.Generator, continues_word: Tensor | None = None) -> MaskedRows:
        """Mask rows.

        Args:
            ids: [B, T] int64.
            generator: source of all random draws, on the device of `ids`.
            continues_word: [B, T] bool, for unit ``word``.
        """
        return self.choose(ids, self.draw(ids, generator), continues_word)

    def draw(
        self, ids: Tensor, generator: torch.Generator, into: list[Tensor] | None = None, times: int = 1
    ) -> list[Tensor]:
        """All that is random: uniform numbers, [times · B, T] each, written into the tensors `into` if given."""
        shape = (times * ids.shape[0], ids.shape[1])
        places = into or [torch.empty(shape, device=ids.device) for _ in range(4)]
        return [place.uniform_(generator=generator) for place in places]

    def choose(self, ids: Tensor, draws: list[Tensor], continues_word: Tensor | None) -> MaskedRows:
        """Mask rows as the `draws` decide."""
        length = ids.shape[1]
        unit_of = self._units(draws[0], continues_word)
        candidates = self._is_ordinary[ids]
        priority = draws[1] if unit_of is None else draws[1].gather(1, unit_of)
        # Stable, so that the tokens of a unit, which share one priority, stay together.
        order = _ascending(priority.masked_fill(~candidates, 2.0))

        slots = min(self.slots(length), length)
        tokens = (ids != self.pad_id).sum(1, dtype=torch.float64)
        wanted = (tokens * self.rate).round().clamp(min=1).minimum(candidates.sum(1))
        used = torch.arange(slots, device=ids.device) < wanted[:, None]
        # Unused slots sort behind all positions, then point at position 0 with weight 0.
        positions = order[:, :slots].masked_fill(~used, length)
        positions = positions.gather(1, _ascending(positions))
        used = positions < length
        positions = positions.masked_fill(~used, 0)

        labels = ids.gather(1, positions)
        at = positions if unit_of is None or self.unit == "word" else unit_of.gather(1, positions)
        kind = draws[2].gather(1, at)
        random_ids = self._drawn_from[(draws[3].gather(1, positions) * len(self._drawn_from)).long()]
        replaced = torch.where(
            kind < MASK_SHARE, self.mask_id, torch.where(kind < MASK_SHARE + RANDOM_SHARE, random_ids, labels)
        )
        # Through an extra column that is cut off again, unused slots change nothing.
        spare = torch.cat([ids, ids[:, :1]], dim=1)
        masked = spare.scatter(1, torch.where(used, positions, length), replaced)[:, :length]
        return MaskedRows(masked, positions, labels, used.float())

    def _units(self, draw: Tensor, continues_word: Tensor | None) -> Tensor | None:
        """[B, T] number of the unit that each position belongs to; None: each its own."""
        if self.unit == "token":
            return None
        if self.unit == "word":
            if continues_word is None:
                raise ValueError("masking whole words needs word flags")
            return (~continues_word).cumsum(1) - (~continues_word[:, :1]).long()
        lengths = torch.arange(LONGEST_SPAN, dtype=torch.float64, device=draw.device)
        share = SPAN_SUCCESS * (1 - SPAN_SUCCESS) ** lengths
        span_lengths = 1 + torch.searchsorted((share / share.sum()).cumsum(0), draw.double()).clamp(
            max=LONGEST_SPAN - 1
        )
        starts = torch.zeros(*draw.shape[:1], draw.shape[1] + 1, dtype=torch.int64, device=draw.device)
        begin = (span_lengths.cumsum(1)).clamp(max=draw.shape[1])
        starts.scatter_(1, begin, 1)
        return starts[:, :-1].cumsum(1)
