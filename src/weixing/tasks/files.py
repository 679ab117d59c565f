"""Task files: labelled texts in, checked examples out. Opens files; knows nothing of models or tokens.

The form is told by the file's suffix and its first line:

* CSV (``.csv``) and TSV, with a header that names the columns in any order, or columns by number and no header;
* JSON lines, where the first character is ``{``;
* a text a line (``.txt``), where no labels are needed and the first line has no tab;
* BIO (``.bio``, or a first line that can only be a word and its tag): words and their tags, a word a line.

Only a line feed (or carriage return + line feed) ends a row; a lone carriage return is text. Columns and keys that are
not asked for are ignored. Rows whose class is ``-`` (OCNLI: the annotators did not agree) are left out and counted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from weixing.errors import UserError
from weixing.tasks.bio import OUTSIDE, bio_rows, looks_like_bio, tag_order
from weixing.tasks.json_lines import json_rows
from weixing.tasks.labels import infer_kind, label_of, label_order, words_of
from weixing.tasks.rows import (
    ACCEPTED,
    ACCEPTED_JSON,
    UNLABELLED,
    Kind,
    Label,
    Layout,
    Row,
    numbered_lines,
    read_text,
    require_text,
    some,
)
from weixing.tasks.tables import table_rows

NO_LABEL = "-"

DataState = Literal["complete", "partial", "altered", "custom"]
"""How the data of a task relates to what its name stands for; ``custom``: the task is the user's own."""


@dataclass(frozen=True)
class Examples:
    """The labelled texts of one file, in its order.

    `second_texts` is None for single texts; `words` is None unless every word has a tag (then a text is its words,
    one behind the other). `lines` are those of the file, from 1, that an example begins at. The labels of rows that
    are not `labelled` say nothing, and some of them may have no second text.
    """

    path: Path
    texts: list[str]
    second_texts: list[str] | None
    labels: Sequence[Label]
    lines: list[int]
    left_out: int
    words: list[list[str]] | None = None
    kind: Kind = "class"
    labelled: bool = True

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class Task:
    """A training and a dev file that fit together; `labels` in the order of their ids, none for numbers.

    `data_note` says, for a person, what is not as the name of the task promises; empty where nothing is.
    """

    name: str
    train: Examples
    dev: Examples
    labels: tuple[str, ...]
    kind: Kind = "class"
    data: DataState = "custom"
    data_note: str = ""


def load_task(name: str, train_file: Path, dev_file: Path, layout: Layout | None = None) -> Task:
    """Read both files of a task of one's own and check that they fit together; dev has the kind of labels of training.

    Raises:
        UserError: as `read_examples` and `make_task`.
    """
    layout = layout or Layout()
    train = read_examples(train_file, layout)
    return make_task(name, train, read_examples(dev_file, replace(layout, kind=train.kind, labelled=True)))


def make_task(
    name: str,
    train: Examples,
    dev: Examples,
    labels: tuple[str, ...] | None = None,
    data: DataState = "custom",
    data_note: str = "",
) -> Task:
    """A task of examples that are read; `labels` are those that there are, by default those of training.

    Raises:
        UserError: single texts beside pairs; nothing to tell apart; a label of dev that is not among the labels.
    """
    if train.kind == "similarity":
        return _similarity(name, train, dev, data)
    if (train.second_texts is None) != (dev.second_texts is None):
        pairs, singles = (train, dev) if train.second_texts is not None else (dev, train)
        raise UserError(
            f"single texts, while {pairs.path} has pairs",
            where=singles.path,
            accepted="the same kind of example for training and dev",
        )
    in_training = _labels_of(train)
    labels = labels if labels is not None else in_training
    known = set(labels)
    for line, label in zip(dev.lines, dev.labels, strict=True):
        unseen = [name for name in _names(label) if name not in known]
        if unseen:
            raise UserError(
                f"the label {unseen[0]!r} never occurs in training ({train.path})",
                where=f"{dev.path}:{line}",
                accepted=some(labels),
            )
    return Task(name, train, dev, labels, train.kind, data, data_note)


def read_examples(path: Path, layout: Layout | None = None) -> Examples:
    """Read one task file.

    Raises:
        UserError: the file is missing, empty, not UTF-8, of no known form, or a row is malformed (``file:line``).
    """
    path, layout = Path(path), layout or Layout()
    rows = list(_rows(path, read_text(path), layout))
    kind = layout.kind or ("multi-label" if layout.separator is not None else infer_kind(rows))
    labels = [label_of(row, kind, layout.separator, f"{path}:{row.line}") for row in rows]
    kept = [number for number, label in enumerate(labels) if kind != "class" or label != NO_LABEL]
    if not kept:
        raise UserError("no labelled row", where=path, accepted=ACCEPTED)
    left_out = len(rows) - len(kept)
    rows, labels = [rows[number] for number in kept], [labels[number] for number in kept]
    words = [words_of(row) for row in rows] if kind == "tags" else None
    pairs = [row.second for row in rows if row.second is not None]
    return Examples(
        path,
        texts=["".join(some_words) for some_words in words] if words else [str(row.text) for row in rows],
        second_texts=pairs or None,
        labels=labels,
        lines=[row.line for row in rows],
        left_out=left_out,
        words=words,
        kind=kind,
        labelled=layout.labelled,
    )


def _rows(path: Path, text: str, layout: Layout) -> Iterator[Row]:
    first = next((line for line in text.split("\n") if line.strip("\r")), None)
    if first is None:
        raise UserError("the file is empty", where=path, accepted=ACCEPTED)
    suffix = path.suffix.lower()
    if suffix == ".txt" and not layout.labelled and "\t" not in first:
        lines = numbered_lines(text)
        return (
            Row(number, require_text(line, f"{path}:{number}", "a line"), None, UNLABELLED) for number, line in lines
        )
    if suffix == ".csv" or layout.columns_are_numbers:
        return table_rows(path, text, layout, commas=suffix == ".csv")
    if first.lstrip().startswith("["):
        raise UserError("this is a JSON array", where=path, accepted=ACCEPTED_JSON, action="Write one object a line")
    if first.lstrip().startswith("{"):
        return json_rows(path, text, layout)
    if suffix == ".bio" or (layout.text is None and looks_like_bio(first)):
        return bio_rows(path, text)
    return table_rows(path, text, layout, commas=False)


def _similarity(name: str, train: Examples, dev: Examples, data: DataState) -> Task:
    """A task of texts that are alike or not; what training needs of labels depends on the loss."""
    for examples in (train, dev) if train.labelled else (dev,):
        if examples.second_texts is None:
            raise UserError(
                "single texts for a similarity", where=examples.path, accepted="pairs: text_a and text_b in every row"
            )
    if len(set(dev.labels)) < 2:
        raise UserError(
            f"every dev row has the label {dev.labels[0]:g}", where=dev.path, accepted="0 and 1, or different scores"
        )
    return Task(name, train, dev, (), train.kind, data)


def _labels_of(train: Examples) -> tuple[str, ...]:
    """The labels of a training file, in the order of their ids.

    Raises:
        UserError: there is nothing to tell apart.
    """
    if train.kind == "number":
        if len(set(train.labels)) < 2:
            raise UserError(
                f"every training row has the number {train.labels[0]}", where=train.path, accepted="different numbers"
            )
        return ()
    names = {name for label in train.labels for name in _names(label)}
    if train.kind == "tags":
        if names == {OUTSIDE}:
            raise UserError("no word of training has a tag but O", where=train.path, accepted="words with B-TYPE")
        return tag_order(names)
    labels = label_order(names)
    if train.kind == "multi-label" and labels:
        return labels
    if len(labels) < 2:
        left_out = f" (rows with {NO_LABEL!r}, left out: {train.left_out})" if train.left_out else ""
        raise UserError(
            f"every training row has the label {labels[0]!r}{left_out}" if labels else "no training row has a class",
            where=train.path,
            accepted="two classes or more",
        )
    return labels


def _names(label: Label) -> tuple[str, ...]:
    """The classes or tags in one label."""
    return label if isinstance(label, tuple) else (label,) if isinstance(label, str) else ()
