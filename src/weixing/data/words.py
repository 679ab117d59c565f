"""Whole words: which tokens continue the word before them, by jieba's segmentation. Pure but for jieba's dictionary.

Found once, in `prepare`, and stored beside the rows; UER runs jieba anew for every row it trains on.
"""

from collections.abc import Sequence

import numpy as np

from weixing.errors import UserError
from weixing.text.tokenizer import Tokenizer


class WordBorders:
    """Tokenizes documents and flags the tokens that continue a word of jieba's.

    Each of jieba's words is tokenized alone. Where that gives other tokens than the whole document does (a Latin run
    that jieba cuts), the document's own tokens stand, and only its ``##`` pieces are flagged.

    Raises:
        UserError: jieba is not installed.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        try:
            import jieba
        except ImportError:
            raise UserError("finding whole words needs jieba", action="pip install 'weixing[words]'") from None
        jieba.setLogLevel("ERROR")
        jieba.initialize()
        self._cut, self._tokenizer = jieba.cut, tokenizer
        tokens = tokenizer.vocabulary.tokens
        self._is_piece = np.array([token.startswith("##") and len(token) > 2 for token in tokens])

    def __call__(self, texts: Sequence[str], ids: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """[N] bool for the N `ids` of `texts` (``ids[offsets[d]:offsets[d + 1]]`` are text d's)."""
        flags = self._is_piece[ids]
        for number, text in enumerate(texts):
            start, stop = offsets[number], offsets[number + 1]
            word_ids, word_offsets = self._tokenizer.encode_batch(list(self._cut(text)))
            if np.array_equal(word_ids, ids[start:stop]):
                flags[start:stop] = True
                begins = word_offsets[:-1][np.diff(word_offsets) > 0]
                flags[start + begins] = False
        return flags
