"""Whole words: which tokens continue the word before them, by jieba's segmentation. Pure but for jieba's dictionary.

Found once, in `prepare`, and stored beside the rows; UER runs jieba anew for every row it trains on.
"""

from collections.abc import Sequence

import numpy as np

from weixing.errors import UserError
from weixing.text.tokenizer import Tokenizer


class WordBorders:
    """Tokenizes documents and flags the tokens that continue a word of jieba's.

    A token belongs to the word in which it starts, and continues that word unless it is the first to start there. A
    ``##`` piece always continues, also where jieba cuts the run that it is in (kana, which jieba takes one by one).

    Raises:
        UserError: jieba is not installed.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        try:
            import jieba
        except ImportError:
            raise UserError("finding whole words needs jieba", action="Run: pip install jieba") from None
        jieba.setLogLevel("ERROR")
        jieba.initialize()
        self._cut, self._tokenizer = jieba.cut, tokenizer
        tokens = tokenizer.vocabulary.tokens
        self._is_piece = np.array([token.startswith("##") and len(token) > 2 for token in tokens])

    def __call__(self, texts: Sequence[str], ids: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """[N] bool for the N `ids` of `texts` (``ids[offsets[d]:offsets[d + 1]]`` are text d's)."""
        flags = self._is_piece[ids]
        for text, start, stop in zip(texts, offsets[:-1], offsets[1:], strict=True):
            word_ends = np.cumsum([len(word) for word in self._cut(text)])
            words = np.searchsorted(word_ends, self._tokenizer.token_starts(text), side="right")
            flags[start + 1 : stop] |= words[1:] == words[:-1]
        return flags
