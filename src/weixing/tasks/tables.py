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
from weixing.tasks.rows import ACCEPTED, Layout, Row, numbered_lines, require_text, short, some

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
    text_column, pair_column, label_column = columns
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
        first = require_text(fields[text_column], where, names[text_column])
        second = require_text(fields[pair_column], where, names[pair_column]) if pair_column is not None else None
        yield Row(number, first, second, fields[label_column])


def _by_name(header: list[str], layout: Layout, where: str) -> tuple[int, int | None, int]:
    """Where, from 0, text, second text and label are."""
    text, label, pair = layout.text or TEXT, layout.label or LABEL, layout.text_pair
    if layout.text is None and TEXT_PAIR in header:
        pair = TEXT_PAIR
    for name in (label, text) if pair is None else (label, text, pair):
        if header.count(name) != 1:
            raise UserError(
                f"the header has {'no' if name not in header else 'more than one'} {name} column: "
                f"{short(some(tuple(header)))}",
                where=where,
                accepted=ACCEPTED if layout.text is None else "--text, --text-pair and --label as the header has them",
            )
    return header.index(text), header.index(pair) if pair is not None else None, header.index(label)


def _by_number(first: list[str], layout: Layout, where: str) -> tuple[int, int | None, int]:
    assert layout.text is not None
    assert layout.label is not None
    numbers = [int(number) for number in (layout.text, layout.label, layout.text_pair) if number is not None]
    if max(numbers) > len(first):
        raise UserError(f"there is no column {max(numbers)}", where=where, accepted=f"1 to {len(first)}")
    return numbers[0] - 1, numbers[2] - 1 if len(numbers) == 3 else None, numbers[1] - 1


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
