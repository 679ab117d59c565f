"""What BERT's normalisation and pre-tokenization do with each Unicode code point, as a table.

BERT-Chinese tokenization (drop control characters, set Chinese characters apart, decompose, strip accents, lower-case,
split at white space and punctuation) treats each code point by itself, but for one thing: combining marks that survive
it may change places with their neighbours (canonical reordering). So a table of all code points that knows these marks
is the whole of it. The table is read off the `tokenizers` library, not computed here:

    python -m weixing.text.code_points        regenerates code_points.npz beside this file

Opens code_points.npz, nothing else. Knows no vocabulary.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

CODE_POINTS = 0x110000
SURROGATES = range(0xD800, 0xE000)  # no characters: UTF-8 cannot hold them
TABLE_FILE = Path(__file__).with_name("code_points.npz")

DROPPED, SPACE, SINGLE, PART, IRREGULAR = range(5)
"""Kinds: vanishes; ends a word; is a word by itself; is part of a word; needs the whole text to be known."""

# Two surviving marks of different combining class. What changes places with neither, changes places with no mark.
_MARKS = "\u1b44\U0001d165"
_LONGEST_EXPANSION = 3


@dataclass(frozen=True, eq=False)
class CodePoints:
    """What becomes of each code point.

    Args:
        kind: uint8 [0x110000], DROPPED, SPACE, SINGLE, PART or IRREGULAR.
        normalised: int32 [0x110000], the (first) code point it becomes; 0 where it becomes none.
        expansions: int32 [n, 4], for those that become two or three: the code point, then what it becomes, 0-padded.
    """

    kind: np.ndarray
    normalised: np.ndarray
    expansions: np.ndarray

    def save(self, path: Path) -> None:
        """Write the table as a small .npz: runs of one kind, and the few code points that do not become themselves."""
        starts = np.flatnonzero(np.diff(self.kind, prepend=255))
        changed = np.flatnonzero((self.normalised > 0) & (self.normalised != np.arange(CODE_POINTS)))
        np.savez_compressed(
            path, starts=starts.astype(np.int32), kinds=self.kind[starts], changed=changed.astype(np.int32),
            becomes=self.normalised[changed], expansions=self.expansions,
        )  # fmt: skip

    @classmethod
    def load(cls, path: Path) -> "CodePoints":
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            kind = np.repeat(arrays["kinds"], np.diff(arrays["starts"], append=CODE_POINTS))
            normalised = np.arange(CODE_POINTS, dtype=np.int32)
            normalised[arrays["changed"]] = arrays["becomes"]
            expansions = arrays["expansions"]
        normalised[kind <= SPACE] = 0
        return cls(kind, normalised, expansions)


@cache
def code_points() -> CodePoints:
    """The table that ships with the package, read once."""
    return CodePoints.load(TABLE_FILE)


def read_off_tokenizers() -> CodePoints:
    """The table as the installed `tokenizers` library has it (takes some seconds).

    Each code point c is put between a and b. What comes out tells its kind: "ab" dropped, "a b" a space, "a c' b" a
    word by itself, "ac'b" part of a word, where c' is what c was normalised to.

    Raises:
        ValueError: a code point that behaves in none of these ways; the table could not hold it.
    """
    normalizer, pre_tokenizer = BertNormalizer(), BertPreTokenizer()
    kind = np.zeros(CODE_POINTS, np.uint8)
    normalised = np.zeros(CODE_POINTS, np.int32)
    expansions = []
    for code_point in range(CODE_POINTS):
        if code_point in SURROGATES:
            continue
        character = chr(code_point)
        between = normalizer.normalize_str(f"a{character}b")
        words = [word for word, _ in pre_tokenizer.pre_tokenize_str(between)]
        match words:
            case ["ab"]:
                continue
            case ["a", "b"]:
                kind[code_point] = SPACE
                continue
            case ["a", word, "b"] if len(word) == 1:
                kind[code_point] = SINGLE
            case [whole] if whole[0] == "a" and whole[-1] == "b":
                word = whole[1:-1]
                kind[code_point] = PART
            case _:
                raise ValueError(f"U+{code_point:04X} between a and b becomes {words}")
        if len(word) > min(_LONGEST_EXPANSION, len(character.encode())):
            raise ValueError(f"U+{code_point:04X} becomes {len(word)} characters")
        normalised[code_point] = ord(word[0])
        if len(word) > 1:
            expansions.append([code_point, *map(ord, word), *[0] * (_LONGEST_EXPANSION - len(word))])
        alone = between[1:-1]
        among_marks = " ".join(f"{mark}{character}{mark}" for mark in _MARKS)
        if normalizer.normalize_str(among_marks) != among_marks.replace(character, alone):
            kind[code_point] = IRREGULAR
    return CodePoints(kind, normalised, np.array(expansions, np.int32))


if __name__ == "__main__":
    read_off_tokenizers().save(TABLE_FILE)
