"""JSON lines, as CLUE has them: text in, rows out."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from weixing.errors import UserError
from weixing.tasks.rows import ACCEPTED_JSON, Layout, Row, numbered_lines, require_text, short

SINGLE, PAIR = "sentence", ("sentence1", "sentence2")


def json_rows(path: Path, text: str, layout: Layout) -> Iterator[Row]:
    """One row an object; keys that `layout` does not name are ignored.

    Raises:
        UserError: a line that is no object, or lacks a text or a label (``file:line``).
    """
    keys: tuple[str, ...] = ()
    label_key = layout.label or "label"
    for number, line in numbered_lines(text):
        where = f"{path}:{number}"
        row = _object(line, where)
        keys = keys or _text_keys(row, layout)
        texts = [_text(row.get(key), where, key, line) for key in keys]
        label = row.get(label_key)
        if isinstance(label, bool) or not isinstance(label, str | int | float | list) or label == "":
            raise UserError(f'no "{label_key}": {short(line)}', where=where, accepted=_accepted(layout))
        if len(texts) == 2 and not all(isinstance(text, str) for text in texts):
            raise UserError("a list of words in a pair of texts", where=where, accepted="two texts")
        yield Row(number, texts[0], texts[1] if len(texts) == 2 else None, label)  # type: ignore[arg-type]


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"not JSON: {error}", where=where, accepted=ACCEPTED_JSON) from None
    if not isinstance(row, dict):
        raise UserError(f"not a JSON object: {short(line)}", where=where, accepted=ACCEPTED_JSON)
    return row


def _text_keys(first: dict[str, Any], layout: Layout) -> tuple[str, ...]:
    if layout.text is not None:
        return (layout.text,) if layout.text_pair is None else (layout.text, layout.text_pair)
    return PAIR if PAIR[0] in first else (SINGLE,)


def _text(value: object, where: str, key: str, line: str) -> str | list[str]:
    """A text, or its words."""
    if isinstance(value, str):
        return require_text(value, where, f'"{key}"')
    if isinstance(value, list) and value and all(isinstance(word, str) for word in value):
        return [require_text(word, where, f'a word of "{key}"') for word in value]
    raise UserError(f'no text "{key}": {short(line)}', where=where, accepted=ACCEPTED_JSON)


def _accepted(layout: Layout) -> str:
    return ACCEPTED_JSON if layout.label is None else "the key that --label names, in every object"
