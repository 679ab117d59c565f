"""The sample corpus: documents from hand-written sentences and hand-written tables; and where its two tasks lie.

Reads package data only. Every sentence and every table was written for this project; nothing was taken from elsewhere.

The corpus is small, and made so that a small model learns something from it within minutes: facts come back in many
wordings, documents are short, and each keeps to one matter. It is no sample of Chinese as it is written: nearly half of
the documents are reviews, which are there for one of the two tasks (see `make_tasks`), and the hand-written sentences,
which teach little since each comes but once or twice, are few.
"""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from weixing.text.sample.reviews import review_document
from weixing.text.sample.tables import FACT_TABLES, HERE, Dice, Table, read_tables

TASKS = ("sentiment", "pairs")

FEWEST_SENTENCES, MOST_SENTENCES = 2, 12
REVIEW_SHARE = 0.47
HANDWRITTEN_DOCUMENTS = 0.12  # of the other documents
HANDWRITTEN_SHARE = 0.08  # of the sentences of a document on facts
SHORTEST, LONGEST = 50, 75  # characters; a document ends with the sentence that reaches a length drawn between them


def sample_documents(size_bytes: int = 4_000_000, seed: int = 7) -> Iterator[str]:
    """Documents of 2 to 12 sentences, each one line, until the next would exceed `size_bytes` of UTF-8 with line ends.

    The same for a seed on every machine. At the default size every hand-written sentence appears; no document of any
    size or seed contains a text of the tasks' dev halves.
    """
    dice = Dice(seed)
    held_out = held_out_texts()
    tables = [table for name in FACT_TABLES for table in read_tables(name) for _ in range(_weight(table))]
    decks = {topic: _deck(dice, handwritten_sentences(topic)) for topic in handwritten_topics()}
    while True:
        if dice.chance(REVIEW_SHARE):
            sentences = review_document(dice)
        elif dice.chance(HANDWRITTEN_DOCUMENTS):
            sentences = decks[dice.pick(handwritten_topics())]
        else:
            table = dice.pick(tables)
            sentences = _fact_document(dice, table, decks[table.options[0]])
        document = _document(sentences, dice.between(SHORTEST, LONGEST), held_out)
        size_bytes -= len(document.encode()) + 1
        if size_bytes < 0:
            return
        yield document


def sample_task(name: Literal["sentiment", "pairs"]) -> Path:
    """The folder of a task, with ``train.tsv`` and ``dev.tsv``; `make_tasks` says what they hold and what for."""
    return HERE / "tasks" / name


def held_out_texts() -> frozenset[str]:
    """The texts of the tasks' dev halves."""
    texts: set[str] = set()
    for task in TASKS:
        for row in (HERE / "tasks" / task / "dev.tsv").read_text(encoding="utf-8").splitlines()[1:]:
            texts.update(row.split("\t")[1:])
    return frozenset(texts)


@functools.cache
def handwritten_topics() -> tuple[str, ...]:
    """The names of the files of hand-written sentences."""
    return tuple(sorted(path.stem for path in (HERE / "sentences").glob("*.txt")))


@functools.cache
def handwritten_sentences(topic: str) -> tuple[str, ...]:
    """The sentences of ``sentences/<topic>.txt``, one a line."""
    return tuple((HERE / "sentences" / f"{topic}.txt").read_text(encoding="utf-8").splitlines())


def _document(sentences: Iterator[str], length: int, held_out: frozenset[str]) -> str:
    chosen: list[str] = []
    for sentence in sentences:
        if sentence in chosen or sentence in held_out:
            continue
        chosen.append(sentence)
        if len(chosen) == MOST_SENTENCES or (len(chosen) >= FEWEST_SENTENCES and sum(map(len, chosen)) >= length):
            break
    return "".join(chosen)


def _deck(dice: Dice, sentences: Sequence[str]) -> Iterator[str]:
    """`sentences` in a random order, again and again, so that none is left out."""
    while True:
        yield from dice.shuffled(sentences)


def _fact_document(dice: Dice, table: Table, handwritten: Iterator[str]) -> Iterator[str]:
    """Sentences without end on one row of `table` or on several, and sometimes a hand-written one on the same topic."""
    on_one_row = dice.chance(0.5)
    while True:
        row = dice.pick(table.rows) if on_one_row else None
        for pattern in dice.shuffled(table.patterns):
            yield next(handwritten) if dice.chance(HANDWRITTEN_SHARE) else table.sentence(pattern, dice, row)


def _weight(table: Table) -> int:
    return int(table.options[1]) if len(table.options) > 1 else 1
