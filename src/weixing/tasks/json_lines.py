"""JSON lines, as CLUE has them: text in, rows out."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from weixing.errors import UserError
from weixing.tasks.rows import (
    ACCEPTED_JSON,
    UNLABELLED,
    Layout,
    Row,
    join_texts,
    numbered_lines,
    require_text,
    short,
    some,
)

SINGLE, PAIR = "sentence", ("sentence1", "sentence2")


def json_rows(path: Path, text: str, layout: Layout) -> Iterator[Row]:
    """One row an object; keys that `layout` does not name are ignored.

    Raises:
        UserError: a line that is no object, or lacks a text or a label (``file:line``).
    """
    keys, pair = layout.texts, layout.text_pair
    label_key = layout.label or "label"
    usual = layout.text is None and layout.label is None
    accepted = ACCEPTED_JSON if usual else "the keys that --text, --text-pair and --label name, in every object"
    for number, line in numbered_lines(text):
        where = f"{path}:{number}"
        row = _object(line, where)
        if not keys:
            keys, pair = ((PAIR[0],), PAIR[1]) if PAIR[0] in row else ((SINGLE,), None)
        first = _text(row, keys, where, accepted)
        paired = pair is not None and (layout.labelled or pair in row)
        second = _text(row, (str(pair),), where, accepted) if paired else None
        label = row.get(label_key) if layout.labelled else UNLABELLED
        if isinstance(label, bool) or not isinstance(label, str | int | float | list):
            raise UserError(f'no "{label_key}": {short(line)}', where=where, accepted=accepted)
        if isinstance(second, list) or (second is not None and isinstance(first, list)):
            raise UserError("a list of words in a pair of texts", where=where, accepted="two texts")
        yield Row(number, first, second, label)


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"not JSON: {error}", where=where, accepted=ACCEPTED_JSON) from None
    if not isinstance(row, dict):
        raise UserError(f"not a JSON object: {short(line)}", where=where, accepted=ACCEPTED_JSON)
    return row


def _text(row: dict[str, Any], keys: tuple[str, ...], where: str, accepted: str) -> str | list[str]:
    """The text at a key, or its words; the texts at several, joined."""
    words = row.get(keys[0])
    if len(keys) == 1 and isinstance(words, list) and words and all(isinstance(word, str) for word in words):
        return [require_text(word, where, f'a word of "{keys[0]}"') for word in words]
    for key in keys:
        if not isinstance(row.get(key), str):
            found = f"the keys are {some(tuple(row))}" if key not in row else f"it is {short(json.dumps(row[key]))}"
            raise UserError(f'no text "{key}": {found}', where=where, accepted=accepted)
    return require_text(join_texts([row[key] for key in keys]), where, ", ".join(f'"{key}"' for key in keys))
