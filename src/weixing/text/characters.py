"""What a text is made of: which characters count, how many are Chinese, and the same text in one form. Pure."""

import unicodedata
from functools import cache

import numpy as np

CODE_POINTS = 0x110000
HAN = (
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2A6DF), (0x2A700, 0x2EBEF), (0x2F800, 0x2FA1F),
    (0x30000, 0x323AF),
)  # fmt: skip
"""First and last code points of the blocks of Chinese characters: extensions and compatibility characters too."""


def code_points(text: str) -> np.ndarray:
    """The characters of `text` as numbers: uint32 [characters]. Half a surrogate pair is a number as well."""
    return np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), np.uint32)


@cache
def counted() -> np.ndarray:
    """Whether a code point is a letter, a digit or a Chinese character: bool [0x110000]. 0.2 s, once a process."""
    table = np.zeros(CODE_POINTS, np.bool_)
    table[[point for point in range(CODE_POINTS) if chr(point).isalnum()]] = True
    return table


@cache
def han() -> np.ndarray:
    """Whether a code point is a Chinese character: bool [0x110000]."""
    table = np.zeros(CODE_POINTS, np.bool_)
    for first, last in HAN:
        table[first : last + 1] = True
    return table


def chinese_share(text: str) -> float:
    """Which part of the letters, digits and Chinese characters of `text` are Chinese; 0 if it has none of them."""
    points = code_points(text)
    points = points[counted()[points]]
    return float(han()[points].mean()) if len(points) else 0.0


def folded(text: str) -> np.ndarray:
    """What is left of `text` when punctuation, white space, width and case do not matter: uint32 [characters]."""
    points = code_points(unicodedata.normalize("NFKC", text).casefold())
    return points[counted()[points]]
