"""Tables, TSV and CSV: text in, rows out.

* TSV: fields are split at tabs alone; a quotation mark is text (UER-py's form, `finetune/run_classifier.py:69-80`).
* CSV: fields are split at commas; one in quotation marks may hold commas, line ends and doubled quotation marks.
"""

import csv
import io
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from weixing.errors import UserError
from weixing.tasks.rows import ACCEPTED, UNLABELLED, Layout, Row, join_texts, numbered_lines, require_text, short, some

TEXT, TEXT_PAIR, LABEL = "text_a", "text_b", "label"


def table_rows(path: Path, text: str, layout: Layout, *, commas: bool) -> Iterator[Row]:
    """The rows under the header, or all of them where columns are numbers.

    Raises:
        UserError: a column that is missing or there twice; a row of another width; an empty text (``file:line``).
    """
    lines = _csv_lines(path, text) if commas else ((n, line.split("\t")) for n, line in numbered_lines(text))
    first_line, header = next(lines)
    if layout.columns_are_numbers:
        lines = chain([(first_line, header)], lines)
        columns = _by_number(header, layout, f"{path}:{first_line}")
        shape = f"line {first_line} has {len(header)}"
    else:
        columns = _by_name(header, layout, f"{path}:{first_line}")
        shape = f"the header names {len(header)}"
    text_columns, pair_column, label_column = columns
    names = header if not layout.columns_are_numbers else [f"column {n}" for n in range(1, len(header) + 1)]
    for number, fields in lines:
        where = f"{path}:{number}"
        if len(fields) != len(header):
            raise UserError(
                f"{len(fields)} fields, but {shape}",
                where=where,
                accepted=f"one field a column, split by single {'commas' if commas else 'tabs'}",
            )
        if fields == header and not layout.columns_are_numbers:
            raise UserError("the header once more", where=where, accepted="one header, in the first line")
        text_names = ", ".join(names[column] for column in text_columns)
        first = require_text(join_texts([fields[column] for column in text_columns]), where, text_names)
        second = require_text(fields[pair_column], where, names[pair_column]) if pair_column is not None else None
        yield Row(number, first, second, UNLABELLED if label_column is None else fields[label_column])


def _by_name(header: list[str], layout: Layout, where: str) -> tuple[list[int], int | None, int | None]:
    """Where, from 0, the texts to join, the second text and the label are."""
    texts, pair = layout.texts or (TEXT,), layout.text_pair
    label = (layout.label or LABEL) if layout.labelled else None
    if not layout.texts and TEXT_PAIR in header:
        pair = TEXT_PAIR
    if not layout.labelled and pair not in header:
        pair = None
    for name in (name for name in (label, *texts, pair) if name is not None):
        if header.count(name) != 1:
            raise UserError(
                f"the header has {'no' if name not in header else 'more than one'} {name} column: "
                f"{short(some(tuple(header)))}",
                where=where,
                accepted=ACCEPTED if not layout.texts else "--text, --text-pair and --label as the header has them",
            )
    return (
        [header.index(name) for name in texts],
        header.index(pair) if pair is not None else None,
        header.index(label) if label is not None else None,
    )


def _by_number(first: list[str], layout: Layout, where: str) -> tuple[list[int], int | None, int | None]:
    """The same for columns whose numbers, from 1, are given."""
    texts, label = [int(number) for number in layout.texts], int(layout.label or 0) if layout.labelled else None
    pair = int(layout.text_pair) if layout.text_pair is not None else None
    if not layout.labelled and pair is not None and pair > len(first):
        pair = None
    largest = max(*texts, label or 0, pair or 0)
    if largest > len(first):
        raise UserError(f"there is no column {largest}", where=where, accepted=f"1 to {len(first)}")
    return (
        [number - 1 for number in texts],
        pair - 1 if pair is not None else None,
        label - 1 if label is not None else None,
    )


def _csv_lines(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """The records that are not empty, with the line that each begins at."""
    reader = csv.reader(io.StringIO(text, newline="\n"), strict=True)
    line = 1
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UserError(
                f"no CSV: {str(error).partition(' - ')[0]}",
                where=f"{path}:{line}",
                accepted='fields in "…" where they hold a comma, a " or a line end',
            ) from None
        if fields:
            yield line, fields
        line = reader.line_num + 1
