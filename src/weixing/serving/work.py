"""What a worker is asked to compute: tasks, whose texts may be computed together with those of other requests.

Two requests are computed together if their tasks are equal. Shapes: T tokens of a text, H hidden units.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from weixing.errors import UserError
from weixing.formats.huggingface import no_masked_lm
from weixing.inference.backends import Pooling
from weixing.inference.model import Model


class Answer(NamedTuple):
    """Of one item: what was computed, and how many tokens the model read for it."""

    value: Any
    tokens: int


class Task(Protocol):
    """What is to be done with items. Hashable; equal tasks are done together."""

    name: ClassVar[str]

    def compute(self, model: Model, items: Sequence[Any], batch_tokens: int) -> list[Answer | UserError]:
        """Of each item its answer, or what is wrong with this item alone."""


@dataclass(frozen=True)
class Features:
    """Vectors of items: texts, or token ids int32 [T] without [CLS] and [SEP].

    An answer's value is float32 [H], with ``tokens`` [T, H].
    """

    pooling: Pooling
    name: ClassVar[str] = "features"

    def compute(self, model: Model, items: Sequence[str | np.ndarray], batch_tokens: int) -> list[Answer | UserError]:
        """As in `Task`."""
        encoded = iter(model.encode([item for item in items if isinstance(item, str)]))
        rows = [next(encoded) if isinstance(item, str) else _framed(model, item) for item in items]
        good = [row for row in rows if not isinstance(row, UserError)]
        vectors = iter(model.pool(good, self.pooling, batch_tokens=batch_tokens))
        return [row if isinstance(row, UserError) else Answer(next(vectors), len(row)) for row in rows]


@dataclass(frozen=True)
class FillMask:
    """Candidates for every [MASK] of texts. An answer's value is a list for each [MASK], however many there are."""

    top_k: int
    name: ClassVar[str] = "fill-mask"

    def compute(self, model: Model, items: Sequence[str], batch_tokens: int) -> list[Answer | UserError]:
        """As in `Task`."""
        if model.bert.head is None:
            raise no_masked_lm()
        rows = model.encode(items)
        filled = model.fill_rows(rows, self.top_k, batch_tokens=batch_tokens)
        return [
            Answer(lists, len(row)) if lists else model.no_mask(text, row)
            for text, row, lists in zip(items, rows, filled, strict=True)
        ]


@dataclass(frozen=True)
class Classify:
    """Labels of texts, or of pairs, which are computed apart from texts. An answer's value is a list of labels."""

    top_k: int | None
    pairs: bool
    name: ClassVar[str] = "classify"

    def compute(self, model: Model, items: Sequence[tuple[str, str]], batch_tokens: int) -> list[Answer | UserError]:
        """As in `Task`; without pairs the second texts are not looked at."""
        labels = model.require_labels()
        texts, seconds = ([*column] for column in zip(*items, strict=True))
        rows = model.encode_pairs(texts, seconds)[0] if self.pairs else model.encode(texts)
        scores = model.scores(texts, seconds if self.pairs else None, batch_tokens=batch_tokens)
        named = [labels.named(row, self.top_k) for row in scores.tolist()]
        return [Answer(entries, len(row)) for entries, row in zip(named, rows, strict=True)]


def _framed(model: Model, ids: np.ndarray) -> np.ndarray | UserError:
    """Token ids as `Model.encode` gives a text's: [CLS] and [SEP] around them, cut to the model's positions."""
    vocabulary = model.vocabulary
    if ids.max() >= len(vocabulary):
        return UserError(f"token {ids.max()}", accepted=f"0 to {len(vocabulary) - 1}, ids of this model's vocabulary")
    return np.array([vocabulary.cls_id, *ids[: model.shape.positions - 2], vocabulary.sep_id], np.int32)
