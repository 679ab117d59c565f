"""Which texts share 13 characters in a row with texts that are kept apart. Pure.

Sequences of 13 as a sign of a test set in a corpus: Brown et al. 2020, "Language Models are Few-Shot Learners"
(arXiv 2005.14165), appendix C; there of words, here of characters, without punctuation, white space, width and case.
"""

from collections.abc import Iterable

import numpy as np

from weixing.text.characters import folded, han

GRAM = 13  # characters
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplying loses nothing
_SHIFT = np.uint64(29)


class Grams:
    """The sequences of 13 characters of some texts, and whole those that are shorter.

    Sequences without a Chinese character are passed over: addresses and numbers are no sign of a text.

    Hashes of 64 bits stand for them: with a million of them, one text of a thousand characters in 2·10¹⁰ is taken for
    another.

    Args:
        texts: whose they are.

    Attributes:
        texts: how many there were, blank ones left out.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        long: list[np.ndarray] = []
        short: set[int] = set()
        self.texts = 0
        for text in texts:
            points = folded(text)
            self.texts += bool(len(points))
            if len(points) >= GRAM:
                chinese = np.lib.stride_tricks.sliding_window_view(han()[points], GRAM).any(1)
                long.append(gram_hashes(points, GRAM)[chinese])
            elif len(points):
                short.add(int(gram_hashes(points, len(points))[0]))
        self._long = np.unique(np.concatenate(long)) if long else np.empty(0, np.uint64)
        self._short = short

    def __len__(self) -> int:
        """How many sequences."""
        return len(self._long) + len(self._short)

    def within(self, text: str) -> bool:
        """Whether one of the sequences is in `text`, or `text` is one of the shorter texts."""
        points = folded(text)
        if len(points) < GRAM:
            return bool(len(points)) and int(gram_hashes(points, len(points))[0]) in self._short
        if not len(self._long):
            return False
        hashes = gram_hashes(points, GRAM)
        places = np.searchsorted(self._long, hashes)
        places[places == len(self._long)] = 0
        return bool((self._long[places] == hashes).any())


def gram_hashes(points: np.ndarray, length: int) -> np.ndarray:
    """A hash of each `length` points in a row: uint64 [points - length + 1]; the high bits are the better mixed."""
    count = len(points) - length + 1
    hashes = np.full(count, length, np.uint64)
    for place in range(length):
        hashes = (hashes ^ points[place : place + count]) * _FACTOR
        hashes ^= hashes >> _SHIFT
    return hashes
