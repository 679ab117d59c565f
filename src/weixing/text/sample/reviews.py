"""Short reviews of books, films, hotels, meals, telephones and the like, favourable or not, from hand-written verdicts.

Reads package data only (``tables/reviews.txt``). The corpus and the sentiment task both draw on it; which words the
task keeps from its train half is said in `make_tasks`.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence

from weixing.text.sample.tables import Dice, Slots, Table, read_tables

DEGREES = ("很{}", "很{}", "非常{}", "特别{}", "十分{}", "相当{}", "真{}", "太{}了", "确实{}")
CLAUSE_BY_ITSELF = "－"

SHARED_WORDS = {True: ("好",), False: ("坏",)}
DEV_WORDS = {True: ("新好",), False: ("新坏",)}
ALL_WORDS = {True: ("好", "新好"), False: ("坏", "新坏")}
"""Columns of verdicts by whether they are favourable; verdicts of DEV_WORDS are in no row of the task's train half."""


@functools.cache
def _blocks(column: str) -> tuple[Table, ...]:
    return tuple(table for table in read_tables("reviews") if table.columns[0] == column)


def review(
    dice: Dice, kind: Table, thing: str, pattern: str, favourable: bool, columns: Mapping[bool, Sequence[str]]
) -> str:
    """`pattern` filled with verdicts on `thing`, from these columns of the block `kind`."""
    aspects = dice.shuffled([row for row in kind.rows if row["方面"] != (CLAUSE_BY_ITSELF,)])

    def verdict(row: dict[str, tuple[str, ...]], favourable: bool) -> str:
        word = dice.pick(row[dice.pick(columns[favourable])])
        aspect = dice.pick(row["方面"]).replace(CLAUSE_BY_ITSELF, "")
        return aspect + (dice.pick(DEGREES).format(word[1:]) if word.startswith("~") else word)

    slots = Slots(dice)
    slots["物"] = thing
    slots |= {"句": verdict(aspects[0], favourable), "句'": verdict(aspects[1], favourable)}
    slots |= {"句''": verdict(aspects[2], favourable), "反": verdict(aspects[3], not favourable)}
    slots["整"] = verdict(kind.rows[-1], favourable)
    slots["感"] = dice.pick(_blocks("感好" if favourable else "感坏")[0].options)
    return pattern.format_map(slots)


def task_review(dice: Dice, favourable: bool, columns: Mapping[bool, Sequence[str]]) -> str:
    """One text of the sentiment task."""
    kind = dice.pick(_blocks("方面"))
    return review(dice, kind, dice.pick(kind.options), dice.pick(_blocks("句式")[1].patterns), favourable, columns)


def review_document(dice: Dice) -> Iterator[str]:
    """Sentences without end about one thing by one reviewer, all favourable or all not."""
    favourable = dice.chance(0.5)
    kind = dice.pick(_blocks("方面"))
    thing = dice.pick(kind.options)
    while True:
        if dice.chance(0.15):
            yield dice.pick(_blocks("总评")[0 if favourable else 1].patterns)
            continue
        yield review(dice, kind, thing, dice.pick(_blocks("句式")[0].patterns), favourable, ALL_WORDS)
