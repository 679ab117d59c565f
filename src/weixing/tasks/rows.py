"""The lines of a task file and the rows in them: what all its forms share. Opens files."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from weixing.errors import UserError

Kind = Literal["class", "multi-label", "number", "tags", "similarity"]
"""What a label is: one of several classes, any number of classes at once, a number, a tag for each word, or a number
that says how alike the two texts of a row are."""

UNLABELLED = 1.0  # the label of a row that needs none: what is learnt of it is that a text is like itself

Label = str | tuple[str, ...] | float
"""Of one example: its class; its classes, none twice; a number; or the tags of its words, in their order."""

ACCEPTED_TABLE = "TSV or CSV whose first line names the columns: label, text_a and, for pairs, text_b"
ACCEPTED_JSON = 'JSON lines with "sentence" (or "sentence1" and "sentence2") and "label"'
ACCEPTED_TAGS = "BIO: a word, a space or tab and its tag a line, an empty line between sentences"
ACCEPTED = f"{ACCEPTED_TABLE}; {ACCEPTED_JSON}; or {ACCEPTED_TAGS}"


class Row(NamedTuple):
    """One example as the file has it: a text or its words; a text, a number or a list as label."""

    line: int  # in the file, from 1
    text: str | list[str]
    second: str | None
    label: object


@dataclass(frozen=True)
class Layout:
    """How the rows of a task file are laid out; None: the usual columns, and the kind that the labels show.

    `text`, `text_pair` and `label` name columns (TSV, CSV) or keys (JSON lines); as numbers, from 1, they are columns
    of a table without a header. `text` may name several, split by commas, whose texts are joined by commas; then some
    of them may be empty. `separator` stands between the classes of a multi-label row that is no JSON list. Rows that
    are not `labelled` have no label that is read, and a second text or none.

    Raises:
        UserError: options that contradict each other.
    """

    text: str | None = None
    text_pair: str | None = None
    label: str | None = None
    kind: Kind | None = None
    separator: str | None = None
    labelled: bool = True

    def __post_init__(self) -> None:
        named = [*self.texts, *(name for name in (self.text_pair, self.label) if name is not None)]
        numbers = [name for name in named if re.fullmatch("[0-9]+", name)]
        if self.text_pair is not None and self.text is None:
            raise UserError("the second text has a column, the first has none", where="--text-pair", accepted="--text")
        if len(set(named)) < len(named):
            raise UserError(
                f"one column twice: {', '.join(named)}", where="--text, --text-pair, --label", accepted="different ones"
            )
        if numbers and (len(numbers) < len(named) or self.text is None or self.label is None or "0" in numbers):
            raise UserError(
                f"columns {', '.join(named)}",
                where="--text, --text-pair, --label",
                accepted="names for all of them; or numbers from 1 for all, --label included: then there is no header",
            )
        if self.separator is not None and (self.separator == "" or self.kind not in (None, "multi-label")):
            raise UserError(
                "a separator of classes" if self.separator else "nothing separates nothing",
                where="--label-separator",
                accepted="some text, such as '|', with --kind multi-label",
            )

    @property
    def texts(self) -> tuple[str, ...]:
        """The columns or keys that make the text; none where it is in the usual one."""
        return tuple(self.text.split(",")) if self.text is not None else ()

    @property
    def columns_are_numbers(self) -> bool:
        """Whether the file is a table without a header."""
        return bool(self.texts) and self.texts[0].isdecimal()


def read_text(path: Path) -> str:
    """The text of a task file, without a byte order mark; lines may still end in a carriage return.

    Raises:
        UserError: the file is missing, not UTF-8, or has a NUL (``file:line``).
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError("there is no such file", where=path, accepted=ACCEPTED) from None
    except (IsADirectoryError, NotADirectoryError, PermissionError) as error:
        raise UserError(f"cannot be read: {error.strerror}", where=path, accepted=ACCEPTED) from None
    encoding = "UTF-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "GB18030"
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"not UTF-8 (byte 0x{data[error.start]:02x})",
            where=f"{path}:{line}",
            accepted="UTF-8",
            action=f"Convert it, for instance: iconv -f {encoding} -t UTF-8 {path.name} > utf8-{path.name}",
        ) from None
    if (at := text.find("\0")) >= 0:
        line = text.count("\n", 0, at) + 1
        raise UserError("a NUL character", where=f"{path}:{line}", accepted="text", action="Remove it from the file")
    return text


def numbered_lines(text: str) -> list[tuple[int, str]]:
    """The lines that are not empty, numbered from 1, without their line ends; a lone carriage return is text."""
    lines = ((number, line.removesuffix("\r")) for number, line in enumerate(text.split("\n"), 1))
    return [(number, line) for number, line in lines if line]


def require_text(text: str, where: str, name: str) -> str:
    """`text`, if there is something in it.

    Raises:
        UserError: there is nothing but white space, or half a surrogate pair; `name` says of which column or key.
    """
    if not text.strip():
        raise UserError(f"the text is empty ({name})", where=where, accepted="a text in every row")
    if re.search("[\ud800-\udfff]", text):
        raise UserError(f"half a surrogate pair in {name}", where=where, accepted="whole Unicode characters")
    return text


def join_texts(parts: list[str]) -> str:
    """The texts of several columns as one: those that are not empty, joined by commas."""
    return ",".join(part for part in parts if part.strip())


def short(text: str, limit: int = 60) -> str:
    """`text` in quotation marks, cut to `limit` characters."""
    return repr(text if len(text) <= limit else text[:limit] + "…")


def some(values: tuple[str, ...], limit: int = 20) -> str:
    """The first of `values`, and how many there are."""
    return ", ".join(values[:limit]) + (f" … ({len(values)} in all)" if len(values) > limit else "")
