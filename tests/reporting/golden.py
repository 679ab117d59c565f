"""Texts that are kept as files; `UPDATE_GOLDEN=1 pytest tests/reporting` rewrites them."""

import os
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "golden" / "reporting"


def assert_is_golden(text: str, name: str) -> None:
    """`text` is what the file `name` holds."""
    file = FOLDER / name
    if os.environ.get("UPDATE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="\n")
    assert text == file.read_text(encoding="utf-8")
