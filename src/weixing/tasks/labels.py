"""What a file has as label, made into one of its kind. Pure."""

import math
import re
from collections.abc import Iterable, Sequence

from weixing.errors import UserError
from weixing.tasks.bio import ACCEPTED_TAG, first_wrong_tag
from weixing.tasks.rows import Kind, Label, Row, short

NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
HINTS = {
    "multi-label": "--kind multi-label takes several classes a row",
    "number": "--kind number takes numbers",
    "tags": "--kind tags takes words and their tags",
}


def infer_kind(rows: Sequence[Row]) -> Kind:
    """The kind that the labels of a file cannot but be; ``class`` where they could be several.

    Words are tags; lists are several classes; numbers of JSON, one of them at least with a fraction, are numbers.
    """
    labels = [row.label for row in rows]
    if any(isinstance(row.text, list) for row in rows):
        return "tags"
    if any(isinstance(label, list) for label in labels):
        return "multi-label"
    if any(isinstance(label, float) for label in labels) and not any(isinstance(label, str) for label in labels):
        return "number"
    return "class"


def label_of(row: Row, kind: Kind, separator: str | None, where: str) -> Label:
    """The label of `row`, which must be of `kind`.

    Raises:
        UserError: it is empty, or of another kind.
    """
    if kind == "tags":
        return _tags(row, where)
    if isinstance(row.text, list):
        raise UserError("words with tags", where=where, accepted=f"a text ({kind})", action=HINTS["tags"])
    if kind in ("number", "similarity"):
        return _number(row.label, where)
    if kind == "multi-label":
        return _classes(row.label, separator, where)
    return _class(row.label, where)


def words_of(row: Row) -> list[str]:
    """The words that tags belong to: as listed, or as white space splits the text."""
    return row.text if isinstance(row.text, list) else row.text.split()


def label_order(labels: Iterable[str]) -> tuple[str, ...]:
    """The distinct labels in the order of their ids: numeric order if all are integers, else sorted as text."""
    distinct = sorted(set(labels))
    if all(re.fullmatch(r"[+-]?[0-9]+", label) for label in distinct):
        distinct.sort(key=int)
    return tuple(distinct)


def _class(label: object, where: str) -> str:
    if isinstance(label, list):
        raise UserError("the label is a list", where=where, accepted="one class", action=HINTS["multi-label"])
    if isinstance(label, float):
        raise UserError(
            f"the label is the number {label}",
            where=where,
            accepted="a class: text or a whole number",
            action=HINTS["number"],
        )
    if isinstance(label, bool) or not isinstance(label, str | int):
        raise UserError(f"no class: {short(str(label))}", where=where, accepted="text or a whole number")
    name = str(label).strip()
    if not name:
        raise UserError("the label is empty", where=where, accepted="a label in every row")
    if re.search("[\ud800-\udfff]", name):
        raise UserError("half a surrogate pair in the label", where=where, accepted="whole Unicode characters")
    return name


def _classes(label: object, separator: str | None, where: str) -> tuple[str, ...]:
    if isinstance(label, str) and separator is not None:
        names: list[object] = list(label.split(separator)) if label.strip() else []
    elif isinstance(label, list):
        names = label
    else:
        raise UserError(
            f"one label, not several: {short(str(label))}",
            where=where,
            accepted="a JSON list of classes, or text and what splits it",
            action="Say what stands between the classes: --label-separator '|'",
        )
    classes = tuple(_class(name, where) for name in names)
    if len(set(classes)) < len(classes):
        raise UserError(f"a class twice: {', '.join(classes)}", where=where, accepted="each class once")
    return classes


def _number(label: object, where: str) -> float:
    if isinstance(label, str) and NUMBER.fullmatch(label.strip()):
        label = float(label)
    try:
        number = float(label) if isinstance(label, int | float) else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise UserError(f"the label is no number: {short(str(label))}", where=where, accepted="a finite number")
    return number


def _tags(row: Row, where: str) -> tuple[str, ...]:
    words, tags = words_of(row), row.label
    if isinstance(tags, str):
        tags = tags.split()
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise UserError(f"no tags: {short(str(tags))}", where=where, accepted="a tag for each word")
    if row.second is not None:
        raise UserError("tags for a pair of texts", where=where, accepted="tags for the words of one text")
    if len(tags) != len(words):
        raise UserError(f"{len(words)} words, but {len(tags)} tags", where=where, accepted="a tag for each word")
    if wrong := first_wrong_tag(tags):
        index, message = wrong
        raise UserError(f"{message} (word {index + 1}, {words[index]!r})", where=where, accepted=ACCEPTED_TAG)
    return tuple(tags)
