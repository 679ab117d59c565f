"""Words and their tags, BIO: text in, rows out. An entity begins with ``B-TYPE`` and goes on with ``I-TYPE``;
``O`` is no entity."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from weixing.errors import UserError
from weixing.tasks.rows import ACCEPTED_TAGS, Row, require_text, short

OUTSIDE = "O"
ACCEPTED_TAG = "O, B-TYPE, or I-TYPE after B-TYPE or I-TYPE"


def looks_like_bio(line: str) -> bool:
    """Whether `line` can only be a word and its tag."""
    return re.fullmatch(r"\S+[ \t](O|[BI]-\S+)", line.rstrip()) is not None


def bio_rows(path: Path, text: str) -> Iterator[Row]:
    """One row a sentence: its words, and the list of their tags; its line is that of its first word.

    Raises:
        UserError: a line without a tag, or tags in an order that BIO has not (``file:line``).
    """
    words: list[str] = []
    tags: list[str] = []
    start = 1
    for number, line in enumerate([*text.split("\n"), ""], 1):
        if fields := re.split("[ \t]", line.rstrip()) if line.strip() else []:
            if len(fields) != 2 or not fields[0]:
                raise UserError(f"no word and tag: {short(line)}", where=f"{path}:{number}", accepted=ACCEPTED_TAGS)
            words.append(require_text(fields[0], f"{path}:{number}", "the word"))
            tags.append(fields[1])
            start = number if len(words) == 1 else start
        elif words:
            if wrong := first_wrong_tag(tags):
                index, message = wrong
                raise UserError(message, where=f"{path}:{start + index}", accepted=ACCEPTED_TAG)
            yield Row(start, words, None, tags)
            words, tags = [], []


def first_wrong_tag(tags: Sequence[str]) -> tuple[int, str] | None:
    """The place, from 0, of the first tag that BIO does not allow there, and what is wrong with it."""
    before = OUTSIDE
    for index, tag in enumerate(tags):
        if tag != OUTSIDE and not re.fullmatch(r"[BI]-\S+", tag):
            return index, f"the tag {tag!r}"
        if tag.startswith("I-") and before[2:] != tag[2:]:
            return index, f"the tag {tag!r} after {before!r}" if index else f"the tag {tag!r} at the beginning"
        before = tag
    return None


def tag_order(tags: set[str]) -> tuple[str, ...]:
    """Every tag of the types in `tags`, in the order of their ids: ``O``, then ``B-`` and ``I-`` type after type."""
    types = sorted({tag[2:] for tag in tags if tag != OUTSIDE})
    return (OUTSIDE, *(f"{place}-{name}" for name in types for place in "BI"))
