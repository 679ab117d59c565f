"""The hand-written tables of the sample corpus: their file form, and sentences made from a row and a pattern.

Reads package data only (``tables/*.txt``). Which tables make which documents is not said here.

A file holds blocks of this form::

    [国家 首都 洲] geography 3      columns; then words for whoever uses the block
    中国 北京 亚洲                  a row, one cell a column; "鱼/肉" in a cell means either
    {国家}的首都是{首都}。          a pattern: a line that ends like a sentence

In a pattern ``{首都}`` is a cell of the row, ``{首都'}`` the same column of another row, and ``{人}`` a word of the
lists in ``words.txt``, where ``{人'}`` is another word than ``{人}``. A slot says the same wherever it stands in a
sentence. Lines that begin with ``#`` are comments.
"""

import functools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
Row = dict[str, tuple[str, ...]]

HERE = Path(__file__).parent
FACT_TABLES = ("geography", "calendar", "language", "nature", "people", "daily")
SENTENCE_ENDS = ("。", "！", "？", "”")


class Dice:
    """Seeded choices that come out the same everywhere: of `random.Random`, only `random()` is promised to do so."""

    def __init__(self, seed: int) -> None:
        self._uniform = random.Random(seed).random

    def chance(self, probability: float) -> bool:
        """True with `probability`."""
        return self._uniform() < probability

    def between(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + int(self._uniform() * (high - low + 1))

    def pick(self, items: Sequence[T]) -> T:
        """One of `items`."""
        return items[int(self._uniform() * len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """`items` in a random order."""
        return sorted(items, key=lambda _: self._uniform())


class Slots(dict[str, str]):
    """What the slots of one sentence say. A slot is decided when it is first read, and stays."""

    def __init__(self, dice: Dice, row: Row | None = None, rows: Sequence[Row] = ()) -> None:
        super().__init__()
        self._dice, self._rows, self._chosen = dice, rows, [row or {}]

    def __missing__(self, slot: str) -> str:
        column = slot.rstrip("'")
        others = len(slot) - len(column)
        if column in self._chosen[0]:
            while len(self._chosen) <= others:
                self._chosen.append(self._dice.pick([row for row in self._rows if row not in self._chosen]))
            choices: Sequence[str] = self._chosen[others][column]
        else:
            taken = set(self.values())
            choices = [word for word in words()[column] if word not in taken]
        self[slot] = self._dice.pick(choices)
        return self[slot]


@dataclass(frozen=True)
class Table:
    """One block of a table file.

    Args:
        columns: names of the columns.
        options: the words behind the columns in the block's first line.
        rows: the cells of each row by column; a cell is the tuple of its alternatives.
        patterns: sentences with slots.
    """

    columns: tuple[str, ...]
    options: tuple[str, ...]
    rows: list[Row]
    patterns: list[str]

    def sentence(self, pattern: str, dice: Dice, row: Row | None = None) -> str:
        """`pattern` filled from `row`, or from any row."""
        return pattern.format_map(Slots(dice, row or dice.pick(self.rows), self.rows))


@functools.cache
def read_tables(name: str) -> tuple[Table, ...]:
    """The blocks of ``tables/<name>.txt``. ValueError if a row has not one cell for each column."""
    tables: list[Table] = []
    for line in (HERE / "tables" / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            columns, _, options = line[1:].partition("]")
            tables.append(Table(tuple(columns.split()), tuple(options.split()), [], []))
        elif line.endswith(SENTENCE_ENDS):
            tables[-1].patterns.append(line)
        elif line and not line.startswith("#"):
            cells = [tuple(cell.split("/")) for cell in line.split()]
            try:
                tables[-1].rows.append(dict(zip(tables[-1].columns, cells, strict=True)))
            except ValueError:
                raise ValueError(f"{name}.txt: columns {tables[-1].columns}, but the row: {line}") from None
    return tuple(tables)


@functools.cache
def words() -> dict[str, tuple[str, ...]]:
    """The lists of words that patterns of every table may name."""
    return {table.columns[0]: table.options for table in read_tables("words")}
