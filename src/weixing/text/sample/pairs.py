"""Pairs of sentences on the same matter or on two matters: a matter is one of the tables that the corpus is made from.

Reads package data only. Every table's patterns fall into two halves, so that the task's train and dev rows never have a
wording in common; the corpus has both, but neither half's rows of the dev file (see `make_tasks`).
"""

import functools

from weixing.text.sample.tables import FACT_TABLES, Dice, Table, read_tables

FEWEST_PATTERNS = 4  # two for each half


@functools.cache
def matters() -> tuple[Table, ...]:
    """The tables with enough patterns to be divided."""
    tables = [table for name in FACT_TABLES for table in read_tables(name)]
    return tuple(table for table in tables if len(table.patterns) >= FEWEST_PATTERNS)


def pair(dice: Dice, same: bool, half: int) -> tuple[str, str]:
    """Two sentences from the patterns of `half` (0 or 1): of one table in two wordings, or of two tables."""
    first = dice.pick(matters())
    second = first if same else dice.pick([table for table in matters() if table is not first])
    wording = dice.pick(first.patterns[half::2])
    others = [pattern for pattern in second.patterns[half::2] if pattern != wording]
    return first.sentence(wording, dice), second.sentence(dice.pick(others), dice)
