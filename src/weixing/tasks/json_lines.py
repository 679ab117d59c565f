"""JSON lines, as CLUE has them: text in, rows out."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from weixing.errors import UserError
from weixing.tasks.rows import ACCEPTED_JSON, Layout, Row, numbered_lines, require_text, short, some

SINGLE, PAIR = "sentence", ("sentence1", "sentence2")


def json_rows(path: Path, text: str, layout: Layout) -> Iterator[Row]:
    """One row an object; keys that `layout` does not name are ignored.

    Raises:
        UserError: a line that is no object, or lacks a text or a label (``file:line``).
    """
    keys: tuple[str, ...] = ()
    label_key = layout.label or "label"
    usual = layout.text is None and layout.label is None
    accepted = ACCEPTED_JSON if usual else "the keys that --text, --text-pair and --label name, in every object"
    for number, line in numbered_lines(text):
        where = f"{path}:{number}"
        row = _object(line, where)
        keys = keys or _text_keys(row, layout)
        texts = [_text(row, key, where, accepted) for key in keys]
        label = row.get(label_key)
        if isinstance(label, bool) or not isinstance(label, str | int | float | list) or label == "":
            raise UserError(f'no "{label_key}": {short(line)}', where=where, accepted=accepted)
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


def _text(row: dict[str, Any], key: str, where: str, accepted: str) -> str | list[str]:
    """A text, or its words."""
    value = row.get(key)
    if isinstance(value, str):
        return require_text(value, where, f'"{key}"')
    if isinstance(value, list) and value and all(isinstance(word, str) for word in value):
        return [require_text(word, where, f'a word of "{key}"') for word in value]
    found = f"the keys are {some(tuple(row))}" if key not in row else f"it is {short(json.dumps(value))}"
    raise UserError(f'no text "{key}": {found}', where=where, accepted=accepted)
