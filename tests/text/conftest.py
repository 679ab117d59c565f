"""Fixtures of the room `text`: vocabularies, and the Rust library as the judge of ids."""

import pytest

from weixing.text.builtin_vocabulary import builtin_tokens
from weixing.text.code_points import PART, code_points
from weixing.text.tokenizer import Tokenizer
from weixing.text.vocabulary import Vocabulary

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture(scope="session")
def builtin() -> Tokenizer:
    return Tokenizer(Vocabulary(builtin_tokens()))


@pytest.fixture(scope="session")
def wide() -> Tokenizer:
    """Knows every letter below U+3200 (the jamo of Hangul, Indic vowels …), so that few words come to [UNK]."""
    points = code_points()
    letters = sorted({chr(code) for code in points.normalised[points.kind == PART] if code < 0x3200})
    more = [form for letter in letters for form in (letter, f"##{letter}")]
    return Tokenizer(Vocabulary(dict.fromkeys([*builtin_tokens(), *more])))
