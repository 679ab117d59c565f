"""The sample corpus: documents without end, from hand-written sentences and hand-written tables; and its two tasks.

Reads package data only. Everything was written for this project; nothing was taken from elsewhere.
"""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from weixing.text.sample.paraphrases import paraphrase_document
from weixing.text.sample.reviews import review_document
from weixing.text.sample.tables import HERE, Dice

SHORTEST, LONGEST = 50, 500
FEWEST_SENTENCES, MOST_SENTENCES = 2, 12


def sample_task(name: Literal["sentiment", "pairs"]) -> Path:
    """The folder of a task: ``train.tsv`` and ``dev.tsv``. How they were made, and what for, is said in `make_tasks`."""
    return HERE / "tasks" / name


def held_out_texts() -> frozenset[str]:
    """The texts of both tasks' dev rows, which no document contains."""
    texts: set[str] = set()
    for name in ("sentiment", "pairs"):
        path = sample_task(name) / "dev.tsv"
        if path.exists():
            for row in path.read_text(encoding="utf-8").splitlines()[1:]:
                texts.update(row.split("\t")[1:])
    return frozenset(texts)


@functools.cache
def handwritten_sentences(topic: str) -> tuple[str, ...]:
    """The sentences of ``sentences/<topic>.txt``."""
    return tuple((HERE / "sentences" / f"{topic}.txt").read_text(encoding="utf-8").splitlines())


def sample_documents(size_bytes: int = 4_000_000, seed: int = 7) -> Iterator[str]:
    """Documents of 2 to 12 sentences, one line each, until the next would exceed `size_bytes` of UTF-8 with line ends."""
    dice = Dice(seed)
    held_out = held_out_texts()
    while True:
        kind = dice.between(1, 10)
        source = review_document(dice, held_out) if kind <= 5 else paraphrase_document(dice, held_out)
        document = _document(source, dice.between(50, 110))
        size_bytes -= len(document.encode()) + 1
        if size_bytes < 0:
            return
        yield document


def _document(sentences: Iterator[str], wanted: int) -> str:
    """Sentences until there are `wanted` characters."""
    chosen: list[str] = []
    for sentence in sentences:
        if sentence in chosen:
            continue
        chosen.append(sentence)
        if len(chosen) == MOST_SENTENCES or (len(chosen) >= FEWEST_SENTENCES and sum(map(len, chosen)) >= wanted):
            break
    return "".join(chosen)
