"""Tiny tasks of every kind of label, made of the tiny vocabulary's characters, that a tiny model learns in a second."""

import random
from collections.abc import Callable
from pathlib import Path

from tests.tasks.conftest import BAD, FILLER, GOOD
from weixing.tasks.files import Examples, Task
from weixing.tasks.rows import Kind, Label

Row = tuple[list[str], Label]


def _class(chance: random.Random) -> Row:
    """Good or bad: one character tells."""
    good = chance.random() < 0.5
    words = chance.choices(FILLER, k=chance.randint(2, 9))
    words.insert(chance.randint(0, len(words)), chance.choice(GOOD if good else BAD))
    return words, "good" if good else "bad"


def _several(chance: random.Random) -> Row:
    """Which of two characters are there, twice."""
    present = [name for name in GOOD[:2] if chance.random() < 0.5]
    words = [*chance.choices(FILLER, k=chance.randint(1, 4)), *present, *present]
    chance.shuffle(words)
    return words, tuple(present)


def _number(chance: random.Random) -> Row:
    """Ten plus four for each good character and less four for each bad one, of five in all."""
    good = chance.randint(0, 5)
    words = [*chance.choices(GOOD, k=good), *chance.choices(BAD, k=5 - good)]
    chance.shuffle(words)
    return words, 10.0 + 4 * (2 * good - 5)


def _tags(chance: random.Random) -> Row:
    """The first good character and the others behind it are an entity; each bad one is an entity of another type."""
    words: list[str] = []
    tags: list[str] = []
    for _ in range(chance.randint(2, 5)):
        length = chance.randint(0, 2)
        words += [GOOD[0], *chance.choices(GOOD[1:], k=length), chance.choice(FILLER + BAD)]
        tags += ["B-GOOD", *["I-GOOD"] * length, "B-BAD" if words[-1] in BAD else "O"]
    return words, tuple(tags)


MAKERS: dict[Kind, Callable[[random.Random], Row]] = {
    "class": _class,
    "multi-label": _several,
    "number": _number,
    "tags": _tags,
}
LABELS: dict[Kind, tuple[str, ...]] = {
    "class": ("bad", "good"),
    "multi-label": tuple(GOOD[:2]),
    "number": (),
    "tags": ("O", "B-BAD", "I-BAD", "B-GOOD", "I-GOOD"),
}


def task_of(kind: Kind, train: int = 300, dev: int = 60) -> Task:
    """A task of `kind` with so many rows, the same each time."""

    def examples(rows: int, seed: int) -> Examples:
        chance = random.Random(seed)
        words, labels = zip(*(MAKERS[kind](chance) for _ in range(rows)), strict=True)
        return Examples(
            Path(f"{kind}.jsonl"), ["".join(some) for some in words], None, list(labels), list(range(1, rows + 1)), 0,
            words=list(words) if kind == "tags" else None, kind=kind,
        )  # fmt: skip

    return Task(kind, examples(train, 1), examples(dev, 2), LABELS[kind], kind)
