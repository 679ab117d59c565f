"""Pairs of sentences that say the same, or not the same although they look alike; documents that set them side by side.

Reads package data only (``tables/rewordings.txt``): situations (a person came late or did not; how to mend a thing, or
where to buy it), each with two or three things to say and several wordings of each. Two wordings of one thing often
share fewer characters than wordings of two things (没有人不喜欢他 and 他人见人爱; 没有人不喜欢他 and 没有人喜欢他).
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

from weixing.text.sample.tables import Dice, Slots, read_tables

Wordings = tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True)
class Pair:
    """Two sentences, without the full stop at their ends, and whether they say the same."""

    text_a: str
    text_b: str
    same: bool


@functools.cache
def situations() -> tuple[tuple[Wordings, ...], ...]:
    """Each situation's things to say; of each, its wordings in two parts: for everyone, and not for the train half."""
    return tuple(
        tuple(_parts(thing) for thing in line.split("≠"))
        for table in read_tables("rewordings")
        if "≠" in table.patterns[0]
        for line in table.patterns
    )


def _parts(thing: str) -> Wordings:
    everyone, _, held_back = thing.partition("‖")
    return tuple(everyone.split("|")), tuple(held_back.split("|"))


def draw_pair(dice: Dice, same: bool, held_back: float) -> Pair:
    """A pair from any situation; each of its wordings is one of those held back with probability `held_back`."""
    return _pair(dice, dice.pick(situations()), Slots(dice), same, held_back)


def _pair(dice: Dice, situation: tuple[Wordings, ...], slots: Slots, same: bool, held_back: float) -> Pair:
    thing_a = dice.pick(situation)
    thing_b = thing_a if same else dice.pick([thing for thing in situation if thing is not thing_a])
    wording_a = dice.pick(thing_a[dice.chance(held_back)])
    wording_b = dice.pick([wording for wording in thing_b[dice.chance(held_back)] if wording != wording_a])
    return Pair(wording_a.format_map(slots).rstrip("。"), wording_b.format_map(slots).rstrip("。"), same)


def paraphrase_document(dice: Dice, held_out: frozenset[str]) -> Iterator[str]:
    """Sentences without end on one situation after another; none of the sentences in them is in `held_out`."""
    forms = {table.columns[0]: table.patterns for table in read_tables("rewordings") if "≠" not in table.patterns[0]}
    while True:
        situation, slots = dice.pick(situations()), Slots(dice)
        for _ in range(3):
            pair = _pair(dice, situation, slots, same=dice.chance(0.7), held_back=0.4)
            if not held_out.isdisjoint((pair.text_a, pair.text_b)):
                continue
            retold = pair.same and "？" not in pair.text_a and dice.chance(0.5)
            form = dice.pick(forms["词" if retold else "同" if pair.same else "异"])
            yield form.format(甲=pair.text_a, 乙=pair.text_b)
