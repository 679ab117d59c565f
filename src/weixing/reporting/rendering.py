"""A table of entries as Markdown, CSV, JSON or HTML text. Numbers are rounded for people (Markdown, HTML). Pure."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields

from weixing.reporting.markdown import markdown_table
from weixing.reporting.page import page
from weixing.reporting.provenance import Provenance
from weixing.reporting.sheet import Cell, sheet
from weixing.reporting.table import Entry
from weixing.reporting.wording import WORDS, Language

FORMATS = ("markdown", "csv", "json", "html")
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def render(
    entries: Sequence[Entry],
    form: str,
    language: Language = "en",
    *,
    provenance: Provenance | None = None,
    speeds: Mapping[str, float] | None = None,
) -> str:
    """The table as text in one of `FORMATS`, ended by a line feed.

    Args:
        language: of headings and notes in Markdown and HTML; CSV and JSON have the same keys in any language.
        provenance: of an HTML page, as it says at its end.
        speeds: texts per second by shape, for the heat maps of an HTML page.
    """
    if form == "csv":
        return as_csv(entries)
    if form == "json":
        return as_json(entries)
    if form == "html":
        return page(entries, language, provenance=provenance, speeds=speeds)
    return as_markdown(entries, language)


def as_csv(entries: Sequence[Entry]) -> str:
    """One line for each model and column, every number in full; empty where there is none."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [field.name for field in fields(Entry)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(entry) for entry in entries)
    return stream.getvalue()


def as_json(entries: Sequence[Entry]) -> str:
    """A list with one object for each model and column, every number in full; null where there is none."""
    return json.dumps([asdict(entry) for entry in entries], ensure_ascii=False, indent=2) + "\n"


def as_markdown(entries: Sequence[Entry], language: Language = "en") -> str:
    """A Markdown table, models down and tasks across, then what its signs mean and its footnotes."""
    laid_out = sheet(entries, language)
    words = WORDS[language]
    rows = [[words.model, *laid_out.columns]]
    for row in laid_out.rows:
        rows.append([row.head, *(_markdown_cell(cell, words.brackets) for cell in row.cells)])
    notes = [f"{str(number).translate(SUPERSCRIPTS)} {note}" for number, note in enumerate(laid_out.notes, 1)]
    return "\n\n".join([markdown_table(rows, "---:"), words.gap.join(laid_out.legend), *notes]) + "\n"


def _markdown_cell(cell: Cell, brackets: str) -> str:
    marked = cell.text + " ".join(str(mark) for mark in cell.marks).translate(SUPERSCRIPTS)
    return brackets.format(text=marked, detail=cell.detail) if cell.detail else marked
