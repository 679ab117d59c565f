"""Both languages say the same things, with the same gaps to fill."""

from dataclasses import fields
from string import Formatter

import pytest

from weixing.reporting.wording import CHINESE, ENGLISH, Words


def gaps(text: str) -> set[str | None]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("name", [field.name for field in fields(Words)])
def test_a_phrase_has_the_same_gaps_in_both_languages(name: str) -> None:
    english, chinese = getattr(ENGLISH, name), getattr(CHINESE, name)
    assert gaps(english) == gaps(chinese)
    assert bool(english) == (bool(chinese) or name == "gap")
