"""Documents that were seen before: the same text, or nearly. Pure.

Workers make a key of each document; the keys are looked up in the corpus' order in one place, so that the first of
several alike stays, whatever the number of workers. Near: MinHash with locality-sensitive hashing (Broder 1997; Lee et
al. 2021, "Deduplicating Training Data Makes Language Models Better", arXiv 2107.06499), by `datasketch`.
"""

from hashlib import blake2b
from typing import Any, Literal

import numpy as np

from weixing.data.grams import gram_hashes
from weixing.errors import UserError
from weixing.text.characters import code_points, folded

Deduplicate = Literal["exact", "near"]
NEAR = 0.8  # estimated share of common sequences (Jaccard) from which two texts count as near
PERMUTATIONS = 128  # numbers of a MinHash: the estimate's standard deviation is 0.035 there
BANDS = (16, 8)  # of so many numbers, one of which must agree before the estimate is made: at 0.8 it does in 95 of 100
HASHES_AT_ONCE = 1 << 14
SHINGLE = 8  # characters in a row that are one element of a text's set
SEED = 1


def keys_of(texts: list[str], deduplicate: Deduplicate) -> np.ndarray:
    """A key of each text, punctuation, white space, width and case not counted.

    Returns:
        uint64 [texts, 2], a hash of the whole text, if `deduplicate` is exact; else the MinHashes, uint32 [texts, 128].
    """
    if deduplicate == "exact":
        digests = (blake2b(_essence(text).tobytes(), digest_size=16).digest() for text in texts)
        return np.frombuffer(b"".join(digests), np.uint64).reshape(len(texts), 2)
    keys = np.empty((len(texts), PERMUTATIONS), np.uint32)
    for row, text in enumerate(texts):
        points = _essence(text)
        hashes = np.unique(gram_hashes(points, min(SHINGLE, len(points))) >> np.uint64(32))
        minhash = _minhash()
        for start in range(0, len(hashes), HASHES_AT_ONCE):  # each takes 128 numbers for a moment
            minhash.update_batch(hashes[start : start + HASHES_AT_ONCE].tolist())
        keys[row] = minhash.hashvalues
    return keys


def _essence(text: str) -> np.ndarray:
    """What is compared of a text: letters, digits and Chinese characters; all of one that has none of them."""
    points = folded(text)
    return points if len(points) else code_points(text)


class Seen:
    """The documents so far, by their keys.

    Attributes:
        key: what a key is.
    """

    def __init__(self, deduplicate: Deduplicate) -> None:
        self.key = np.dtype((np.uint64, 2) if deduplicate == "exact" else (np.uint32, PERMUTATIONS))
        self._exact: set[bytes] | None = set() if deduplicate == "exact" else None
        if deduplicate == "near":
            self._near = _datasketch().MinHashLSH(num_perm=PERMUTATIONS, params=BANDS)
            self._rows: list[np.ndarray] = []

    def new(self, keys: np.ndarray) -> np.ndarray:
        """Which of these documents were not seen before, those before it in `keys` included: bool [documents]."""
        return np.array([self._add(key) for key in keys], np.bool_)

    def go_on(self, keys: np.ndarray) -> None:
        """Be as one that found these documents new, and no others."""
        for key in keys:
            if self._exact is not None:
                self._exact.add(key.tobytes())
            else:
                self._remember(key, _minhash(key))

    def _add(self, key: np.ndarray) -> bool:
        if self._exact is not None:
            known = len(self._exact)
            self._exact.add(key.tobytes())
            return len(self._exact) > known
        minhash = _minhash(key)
        if any((self._rows[other] == key).mean() >= NEAR for other in self._near.query(minhash)):
            return False
        self._remember(key, minhash)
        return True

    def _remember(self, key: np.ndarray, minhash: Any) -> None:
        self._near.insert(len(self._rows), minhash)
        self._rows.append(key)


def _minhash(values: np.ndarray | None = None) -> Any:
    """Of `values`, or empty; it takes hashes of 32 bits for elements."""
    return _datasketch().MinHash(
        num_perm=PERMUTATIONS, seed=SEED, hashvalues=values, scheme="affine32", hashfunc=_as_it_is
    )


def _as_it_is(element: int) -> int:
    return element


def _datasketch() -> Any:
    try:
        import datasketch
    except ImportError:
        raise UserError(
            "near duplicates need the extra `clean`", where="--deduplicate near",
            action="pip install 'weixing[clean]', or --deduplicate exact",
        ) from None  # fmt: skip
    return datasketch
