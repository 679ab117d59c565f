"""A table of entries laid out for people: rounded texts, a line a model, marks and footnotes. Pure; one layout for
Markdown and HTML."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from weixing.reporting.published import MEANS, OTHER_TEXTS, PUBLISHED_RUNS, SCORE
from weixing.reporting.table import ALTERED, CUSTOM, OTHER_DEV, PARTIAL, PARTS, Entry
from weixing.reporting.wording import WORDS, Language, Words

NONE = "–"


@dataclass(frozen=True)
class Cell:
    """One number: as `text`, with what stands in brackets behind it, and the numbers of its footnotes from 1."""

    text: str
    detail: str = ""
    marks: tuple[int, ...] = ()
    value: float | None = None


@dataclass(frozen=True)
class Row:
    """A line of the table: a model, the published scores of its shape, or the difference between the two."""

    kind: Literal["model", "published", "difference"]
    head: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Sheet:
    """The table: titles of its columns, its lines, its footnotes in the order of their numbers, what its signs mean."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    legend: tuple[str, ...]


def sheet(entries: Sequence[Entry], language: Language = "en") -> Sheet:
    """Lay out what `weixing.reporting.table.table` made: a line a model, then published scores and differences where
    its shape has them. Equal footnotes are one."""
    words, notes = WORDS[language], _Notes()
    columns = list(dict.fromkeys(entry.column for entry in entries))
    rows: list[Row] = []
    for start in range(0, len(entries), len(columns)):
        own = entries[start : start + len(columns)]
        rows.append(Row("model", own[0].model, tuple(_score(entry, words, notes) for entry in own)))
        if any(entry.published is not None for entry in own):
            head = words.published.format(shape=own[0].shape)
            rows.append(Row("published", head, tuple(_published(entry, words, notes) for entry in own)))
            rows.append(Row("difference", words.difference, tuple(_difference(e, words, notes) for e in own)))
    legend = [words.legend]
    if any(row.kind == "published" for row in rows):
        legend.append(words.legend_published.format(runs=PUBLISHED_RUNS))
    if any(cell.value is None for row in rows for cell in row.cells):
        legend.append(words.legend_missing)
    titles = tuple(column.replace(SCORE, words.score, 1) if column in MEANS else column for column in columns)
    return Sheet(titles, tuple(rows), tuple(notes.texts), tuple(legend))


@dataclass
class _Notes:
    texts: list[str] = field(default_factory=list)

    def mark(self, *texts: str) -> tuple[int, ...]:
        """The numbers of these footnotes; new ones are added."""
        self.texts += [text for text in dict.fromkeys(texts) if text not in self.texts]
        return tuple(sorted(self.texts.index(text) + 1 for text in set(texts)))


def _score(entry: Entry, words: Words, notes: _Notes) -> Cell:
    """``83.4 (best of 54; 83.1 ± 0.2, 3 seeds)``."""
    if entry.best is None:
        return Cell(NONE)
    if entry.column in MEANS:
        details = [words.mean_of_seeds.format(mean=_number(entry.mean))] if entry.seeds > 1 else []
    else:
        details = [words.best_of.format(runs=entry.runs)] if entry.runs > 1 else []
        spread = {"mean": _number(entry.mean), "spread": _number(entry.spread), "seeds": entry.seeds}
        details.append(words.seeds.format(**spread) if entry.seeds > 1 else words.one_seed)
    return Cell(_number(entry.best), words.comma.join(details), notes.mark(*_data_notes(entry, words)), entry.best)


def _data_notes(entry: Entry, words: Words) -> list[str]:
    """What is to be said of the data behind a score, if anything."""
    note = words.note.format(note=entry.data_note) if entry.data_note else ""
    templates = {
        PARTIAL: words.partial,
        ALTERED: words.altered,
        CUSTOM: words.custom,
        OTHER_DEV: words.other_dev,
        PARTS: words.mean_parts,
    }
    values = {"task": entry.task, "note": note, "rows": f"{entry.rows or 0:,}", "parts": entry.data_note}
    return [templates[remark].format(**values) for remark in entry.remarks]


def _published(entry: Entry, words: Words, notes: _Notes) -> Cell:
    if entry.published is None:
        return Cell(NONE)
    return Cell(_number(entry.published), "", notes.mark(*_other_texts(entry, words)), entry.published)


def _difference(entry: Entry, words: Words, notes: _Notes) -> Cell:
    """The difference, or a dash with the reason why there is none beside two scores."""
    if entry.best is None or entry.published is None:
        return Cell(NONE)
    over = [words.difference_over.format(tasks=entry.difference_over)] if entry.difference_over else []
    said = [*(over or _other_texts(entry, words)), *_data_notes(entry, words)]
    return Cell(_number(entry.difference, sign="+"), "", notes.mark(*said), entry.difference)


def _other_texts(entry: Entry, words: Words) -> list[str]:
    """What is to be said where the published score, or a part of it, is of other texts."""
    tasks = set(MEANS.get(entry.column, (entry.column,)))
    return [words.other_texts.format(task=task, other=other) for task, other in OTHER_TEXTS.items() if task in tasks]


def _number(value: float | None, sign: str = "") -> str:
    return NONE if value is None else f"{value:{sign}.1f}"
