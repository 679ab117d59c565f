"""Task files: labelled texts in, checked examples out. Opens files; knows nothing of models or tokens.

Two forms, told apart by the first character of the file:

* TSV with a header that names the columns in any order: ``label``, ``text_a`` and, for pairs, ``text_b`` (UER-py's
  form, `finetune/run_classifier.py:69-80`). Fields are split at tabs alone: a quotation mark is text.
* JSON lines as CLUE has them: ``sentence`` or ``sentence1``/``sentence2``, and ``label``.

Only a line feed (or carriage return + line feed) ends a row; a lone carriage return is text. Other columns and keys are
ignored. Rows whose label is ``-`` (OCNLI: the annotators did not agree) are left out and counted.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from weixing.errors import UserError

NO_LABEL = "-"
ACCEPTED_TSV = "TSV whose first line names the columns: label, text_a and, for pairs, text_b"
ACCEPTED_JSON = 'JSON lines with "sentence" (or "sentence1" and "sentence2") and "label"'
ACCEPTED = f"{ACCEPTED_TSV}; or {ACCEPTED_JSON}"

Kind = Literal["class", "multi-label", "number", "tags"]
"""What a label is: one of several classes, any number of classes at once, a number, or a tag for each word."""

Label = str | tuple[str, ...] | float
"""Of one example: its class; its classes, none twice; a number; or the tags of its words, in their order."""

Row = tuple[int, str, str | None, str]  # line in the file (from 1), first text, second text, label


@dataclass(frozen=True)
class Examples:
    """The labelled texts of one file, in its order.

    `second_texts` is None for single texts; `words` is None unless every word has a tag (then a text is its words,
    one behind the other). `lines` are those of the file, from 1, that an example begins at.
    """

    path: Path
    texts: list[str]
    second_texts: list[str] | None
    labels: Sequence[Label]
    lines: list[int]
    left_out: int
    words: list[list[str]] | None = None

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class Task:
    """A training and a dev file that fit together; `labels` in the order of their ids, none for numbers."""

    name: str
    train: Examples
    dev: Examples
    labels: tuple[str, ...]
    kind: Kind = "class"


def load_task(name: str, train_file: Path, dev_file: Path) -> Task:
    """Read both files of a task and check that they fit together.

    Raises:
        UserError: as `read_examples`; single texts beside pairs; one class alone; a dev label unseen in training.
    """
    train, dev = read_examples(train_file), read_examples(dev_file)
    if (train.second_texts is None) != (dev.second_texts is None):
        pairs, singles = (train, dev) if train.second_texts is not None else (dev, train)
        raise UserError(
            f"single texts, while {pairs.path} has pairs",
            where=singles.path,
            accepted="the same kind of example for training and dev",
        )
    labels = label_order(map(str, train.labels))
    if len(labels) < 2:
        raise UserError(
            f"every training row has the label {labels[0]!r}", where=train.path, accepted="two classes or more"
        )
    known = set(labels)
    for line, label in zip(dev.lines, dev.labels, strict=True):
        if label not in known:
            raise UserError(
                f"the label {label!r} never occurs in training ({train.path})",
                where=f"{dev.path}:{line}",
                accepted=_some(labels),
            )
    return Task(name, train, dev, labels)


def label_order(labels: Iterable[str]) -> tuple[str, ...]:
    """The distinct labels in the order of their ids: numeric order if all are integers, else sorted as text."""
    distinct = sorted(set(labels))
    if all(re.fullmatch(r"[+-]?[0-9]+", label) for label in distinct):
        distinct.sort(key=int)
    return tuple(distinct)


def read_examples(path: Path) -> Examples:
    """Read one task file.

    Raises:
        UserError: the file is missing, empty, not UTF-8, of no known form, or a row is malformed (``file:line``).
    """
    path = Path(path)
    lines = _numbered_lines(path)
    if not lines:
        raise UserError("the file is empty", where=path, accepted=ACCEPTED)
    first = lines[0][1].lstrip()
    if first.startswith("["):
        raise UserError("this is a JSON array", where=path, accepted=ACCEPTED_JSON, action="Write one object a line")
    rows = list(_json_rows(path, lines) if first.startswith("{") else _tsv_rows(path, lines))
    kept = [row for row in rows if row[3] != NO_LABEL]
    if not kept:
        raise UserError("no labelled row", where=path, accepted=ACCEPTED)
    numbers, texts, second_texts, labels = (list(column) for column in zip(*kept, strict=True))
    return Examples(
        path,
        texts,
        second_texts if second_texts[0] is not None else None,
        labels,
        numbers,
        left_out=len(rows) - len(kept),
    )


def _numbered_lines(path: Path) -> list[tuple[int, str]]:
    """The lines that are not empty, numbered from 1, without their line ends."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError("there is no such file", where=path, accepted=ACCEPTED) from None
    except (IsADirectoryError, NotADirectoryError, PermissionError) as error:
        raise UserError(f"cannot be read: {error.strerror}", where=path, accepted=ACCEPTED) from None
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"not UTF-8 (byte 0x{data[error.start]:02x})",
            where=f"{path}:{line}",
            accepted="UTF-8",
            action=f"Convert it, for instance: iconv -f GB18030 -t UTF-8 {path.name} > utf8-{path.name}",
        ) from None
    lines = ((number, line.removesuffix("\r")) for number, line in enumerate(text.split("\n"), 1))
    return [(number, line) for number, line in lines if line]


def _tsv_rows(path: Path, lines: list[tuple[int, str]]) -> Iterator[Row]:
    header_line, header = lines[0]
    columns = header.split("\t")
    for name in ("label", "text_a"):
        if columns.count(name) != 1:
            raise UserError(
                f"the header has {'no' if name not in columns else 'more than one'} {name} column: {_short(header)}",
                where=f"{path}:{header_line}",
                accepted=ACCEPTED,
            )
    label, first = columns.index("label"), columns.index("text_a")
    second = columns.index("text_b") if "text_b" in columns else None
    for number, line in lines[1:]:
        fields = line.split("\t")
        where = f"{path}:{number}"
        if len(fields) != len(columns):
            raise UserError(
                f"{len(fields)} fields, but the header names {len(columns)}",
                where=where,
                accepted="one field a column, split by single tabs",
            )
        if not fields[label]:
            raise UserError("the label is empty", where=where, accepted="a label in every row")
        yield number, fields[first], fields[second] if second is not None else None, fields[label]


def _json_rows(path: Path, lines: list[tuple[int, str]]) -> Iterator[Row]:
    keys: tuple[str, ...] = ()
    for number, line in lines:
        where = f"{path}:{number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"not JSON: {error}", where=where, accepted=ACCEPTED_JSON) from None
        if not isinstance(row, dict):
            raise UserError(f"not a JSON object: {_short(line)}", where=where, accepted=ACCEPTED_JSON)
        keys = keys or (("sentence1", "sentence2") if "sentence1" in row else ("sentence",))
        for key in keys:
            if not isinstance(row.get(key), str):
                raise UserError(f'no text "{key}": {_short(line)}', where=where, accepted=ACCEPTED_JSON)
            if re.search("[\ud800-\udfff]", row[key]):
                raise UserError(f'half a surrogate pair in "{key}"', where=where, accepted="whole Unicode characters")
        label = row.get("label")
        if isinstance(label, bool) or not isinstance(label, str | int) or label == "":
            raise UserError(f'no "label": {_short(line)}', where=where, accepted=ACCEPTED_JSON)
        yield number, row[keys[0]], row[keys[1]] if len(keys) == 2 else None, str(label)


def _short(text: str, limit: int = 60) -> str:
    return repr(text if len(text) <= limit else text[:limit] + "…")


def _some(values: tuple[str, ...], limit: int = 20) -> str:
    return ", ".join(values[:limit]) + (f" … ({len(values)} in all)" if len(values) > limit else "")
