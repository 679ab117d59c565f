"""A table of entries as Markdown, CSV, JSON or HTML text. Numbers are rounded for people (Markdown, HTML). Pure."""

import csv
import html
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, fields

from weixing.reporting.table import SCORE, Entry

MISSING = "–"
FORMATS = ("markdown", "csv", "json", "html")


def render(entries: Sequence[Entry], form: str) -> str:
    """The table as text in one of `FORMATS`, ended by a line feed."""
    return {"markdown": as_markdown, "csv": as_csv, "json": as_json, "html": as_html}[form](entries)


def as_markdown(entries: Sequence[Entry]) -> str:
    """A Markdown table, models down and tasks across, each model followed by the published scores of its shape."""
    rows = [[cell.replace("|", "\\|") for cell in row] for row in _grid(entries)]
    rows.insert(1, ["---"] + ["---:"] * (len(rows[0]) - 1))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def as_html(entries: Sequence[Entry]) -> str:
    """The same as an HTML table element."""
    header, *body = _grid(entries)
    lines = ["<table>", _html_row(header, "th")] + [_html_row(row, "td") for row in body] + ["</table>"]
    return "\n".join(lines) + "\n"


def as_csv(entries: Sequence[Entry]) -> str:
    """One line for each model and task, every number in full; empty where there is none."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [field.name for field in fields(Entry)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(entry) for entry in entries)
    return stream.getvalue()


def as_json(entries: Sequence[Entry]) -> str:
    """A list with one object for each model and task, every number in full; null where there is none."""
    return json.dumps([asdict(entry) for entry in entries], ensure_ascii=False, indent=2) + "\n"


def _grid(entries: Sequence[Entry]) -> list[list[str]]:
    """Header and body cells: a line a model, then published scores and differences where its shape has them."""
    tasks = list(dict.fromkeys(entry.task for entry in entries))
    rows = [["model", *tasks]]
    for start in range(0, len(entries), len(tasks)):
        own = entries[start : start + len(tasks)]
        rows.append([own[0].model, *map(_score, own)])
        if any(entry.published is not None for entry in own):
            rows.append([f"published {own[0].shape}", *(_number(entry.published) for entry in own)])
            rows.append(["difference", *(_number(entry.difference, sign="+") for entry in own)])
    return rows


def _score(entry: Entry) -> str:
    """``83.4 (83.1 ± 0.2 of 3 seeds; best of 54 runs)``: what is one run needs no more than its score."""
    if entry.best is None:
        return MISSING
    notes = []
    if entry.seeds > 1:
        notes.append(f"{_number(entry.mean)} ± {_number(entry.spread)} of {entry.seeds} seeds")
    if entry.runs > 1 and entry.task != SCORE:
        notes.append(f"best of {entry.runs} runs")
    return _number(entry.best) + (f" ({'; '.join(notes)})" if notes else "")


def _number(value: float | None, sign: str = "") -> str:
    return MISSING if value is None else f"{value:{sign}.1f}"


def _html_row(cells: list[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"
