"""Pairs of sentences that say the same, or not the same although they look alike; documents that tell which.

Reads package data only (``tables/synonyms.txt``, ``tables/rewordings.txt``).

Two kinds. *By words*: one sentence frame, in two wordings, with two words that mean the same (高兴, 开心) or do not (高兴,
难过). *By construction*: whole wordings of one event (甲把书借给了乙, 乙从甲那里借来了书) against others made of the same
characters (乙把书借给了甲). How many characters two sentences share therefore says little.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from weixing.text.sample.tables import Dice, Row, Slots, Table, read_tables


@dataclass(frozen=True)
class Pair:
    """Two sentences, without the full stop at their ends, and whether they say the same."""

    text_a: str
    text_b: str
    same: bool


def shared_rows(table: Table) -> list[Row]:
    """The rows of a synonym table that both halves of the pairs task use."""
    return table.rows[::2]


def dev_rows(table: Table) -> list[Row]:
    """The rows of a synonym table that the dev half and the corpus use, and the train half does not."""
    return table.rows[1::2]


def pair_by_words(dice: Dice, table: Table, row: Row, same: bool) -> Pair:
    """A pair in one of the frames of `table` with two words of `row`."""
    wordings = dice.pick(table.patterns).split("|")
    sides = ("词", "异") if dice.chance(0.5) else ("异", "词")
    word_a = dice.pick(row[sides[0]])
    word_b = dice.pick([word for word in row[sides[0] if same else sides[1]] if word != word_a] or [word_a])
    wording_a = dice.pick(wordings)
    wording_b = dice.pick([wording for wording in wordings if word_a != word_b or wording != wording_a])
    slots = Slots(dice)
    slots["词"] = word_a
    text_a = wording_a.format_map(slots)
    slots["词"] = word_b
    return Pair(text_a.rstrip("。"), wording_b.format_map(slots).rstrip("。"), same)


def pair_by_construction(dice: Dice, table: Table, same: bool) -> Pair:
    """A pair of wordings from one line of `table`."""
    things = [wordings.split("|") for wordings in dice.pick(table.patterns).split("≠")]
    wordings_a = dice.pick(things)
    wording_a = dice.pick(wordings_a)
    if same:
        wordings_b = [wording for wording in wordings_a if wording != wording_a]
    else:
        wordings_b = dice.pick([wordings for wordings in things if wordings is not wordings_a])
    slots = Slots(dice)
    return Pair(wording_a.format_map(slots).rstrip("。"), dice.pick(wordings_b).format_map(slots).rstrip("。"), same)


def synonym_tables() -> tuple[Table, ...]:
    """The blocks of words that fit one frame."""
    return read_tables("synonyms")


def rewording_tables() -> list[Table]:
    """The blocks of wordings: events, then questions."""
    return [table for table in read_tables("rewordings") if "≠" in table.patterns[0]]


def paraphrase_document(dice: Dice, held_out: frozenset[str]) -> Iterator[str]:
    """Sentences of one document without end: words and sentences that mean the same or not, said to do so.

    None of its sentences is in `held_out`.
    """
    forms = {table.columns[0]: table.patterns for table in read_tables("rewordings") if table not in rewording_tables()}
    by_words = dice.chance(0.7)
    table = dice.pick(synonym_tables() if by_words else rewording_tables())
    row = dice.pick(table.rows) if by_words else None
    while True:
        same = dice.chance(0.5)
        if row and dice.chance(0.4):
            yield _about_words(dice, table, row, same, forms)
            continue
        pair = pair_by_words(dice, table, row, same) if row else pair_by_construction(dice, table, same)
        if held_out.isdisjoint((pair.text_a, pair.text_b)):
            form = dice.pick([form for form in forms["同" if same else "异"] if "“" in form or "？" not in pair.text_a])
            yield form.format(甲=pair.text_a, 乙=pair.text_b)


def _about_words(dice: Dice, table: Table, row: Row, same: bool, forms: dict[str, list[str]]) -> str:
    sides = ("词", "异") if dice.chance(0.5) else ("异", "词")
    word_a = dice.pick(row[sides[0]])
    others = [word for word in row[sides[0] if same else sides[1]] if word != word_a]
    if not others:
        same, others = False, list(row[sides[1]])
    return dice.pick(forms["近" if same else table.options[0]]).format(甲=word_a, 乙=dice.pick(others))
