"""The model card: README.md of a model folder, in Chinese and English. Writes one file.

A card ends with a marker that holds the SHA-256 of its own text and of the weights that it describes. So a card that
somebody has changed by hand is told from one that may be written anew, and one of other weights is found out.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from weixing.errors import UserError
from weixing.files import atomic_file, require_new
from weixing.reporting import card_sections as sections
from weixing.reporting.card_facts import Facts
from weixing.reporting.card_metadata import metadata, read_metadata
from weixing.reporting.card_procedure import procedure
from weixing.reporting.card_usage import usage
from weixing.reporting.wording import Language

README = "README.md"
_MARKER = re.compile(r"\n<!-- weixing card: text ([0-9a-f]{64}), weights ([0-9a-f]{64}) -->\n\Z")

Section = Callable[[Facts, Language], str | None]
SECTIONS: tuple[tuple[str, str, Section], ...] = (
    ("模型说明", "Model description", sections.description),
    ("24 个小模型", "The 24 miniatures", sections.matrix),
    ("评测结果", "Results", sections.results),
    ("使用方法", "How to use", usage),
    ("训练数据与过程", "Training data and procedure", lambda facts, language: procedure(facts.training, language)),
    ("局限", "Limits", sections.limits),
    ("许可证", "Licence", sections.license_of),
    ("引用", "Citation", sections.citation),
)


@dataclass(frozen=True)
class Marker:
    """What the end of a card says: whether its text is still as it was written, and which weights it describes."""

    untouched: bool
    weights_sha256: str


def card(facts: Facts, languages: Sequence[Language]) -> str:
    """The text of README.md: metadata, then each of `languages`.

    Raises:
        UserError: what `facts` states is not of the hub's form.
    """
    parts = [f"---\n{metadata(facts).to_yaml()}\n---", f"# {facts.name}"]
    if len(languages) > 1:
        parts.append("[English](#english)")
    for number, language in enumerate(languages):
        if number:
            parts += ["---", "# English"]
        for zh, en, write in SECTIONS:
            text = write(facts, language)
            if text is not None:
                parts.append(f"## {zh if language == 'zh' else en}\n\n{text}")
    text = "\n\n".join(parts) + "\n"
    read_metadata(text, facts.folder / README)
    return f"{text}\n<!-- weixing card: text {_sha256(text)}, weights {facts.weights_file_sha256} -->\n"


def marker_of(text: str) -> Marker | None:
    """The marker at the end of a README.md; None where it is no card of `card`."""
    text = text.replace("\r\n", "\n")
    match = _MARKER.search(text)
    return None if match is None else Marker(_sha256(text[: match.start()]) == match[1], match[2])


def write_card(text: str, file: Path, facts: Facts, overwrite: bool = False) -> None:
    """Write a card; one that was written here before, or by export, is replaced, any other only with `overwrite`.

    Raises:
        UserError: there is another README.md.
    """
    replaceable = file.is_file() and _may_be_replaced(file.read_bytes().decode(errors="replace"), facts)
    if not replaceable and file.is_file() and not overwrite:
        raise UserError(
            "this text was written, or changed, by hand",
            where=file,
            action="Write the card elsewhere (--out FILE), or pass --overwrite to replace it",
        )
    require_new(file, overwrite or replaceable, folder=False)
    with atomic_file(file) as beside:
        beside.write_text(text, encoding="utf-8", newline="\n")


def _may_be_replaced(text: str, facts: Facts) -> bool:
    marker = marker_of(text)
    return text == facts.short_card or (marker is not None and marker.untouched)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
