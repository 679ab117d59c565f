"""Cleaning of documents while they are prepared: one form of Unicode, filters, texts that stay out. Pure.

Each document is judged by itself, so that what comes of it does not depend on what was read before; duplicates, which
do, are left out in the corpus' order (`weixing.data.duplicates`).
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from weixing.data.duplicates import Deduplicate
from weixing.data.excluding import ExcludedFile
from weixing.data.grams import Grams
from weixing.errors import UserError
from weixing.text.characters import chinese_share

Normalize = Literal["nfc", "nfkc"]
REASONS = ("blank", "short", "long", "not Chinese", "excluded", "duplicate")


@dataclass(frozen=True)
class Cleaning:
    """What is done to the documents of a corpus, in this order.

    Args:
        normalize: the form of Unicode that texts are brought into; None: they stay as they are.
        min_chars, max_chars: fewest and most characters of a document, white space at its ends not counted.
        chinese_share: least share of Chinese characters among letters, digits and Chinese characters.
        excluded: a document that shares 13 characters in a row with these texts is left out.
        exclude: the files that those are from.
        deduplicate: which documents count as seen before.
    """

    normalize: Normalize | None = None
    min_chars: int | None = None
    max_chars: int | None = None
    chinese_share: float | None = None
    excluded: Grams | None = None
    exclude: tuple[ExcludedFile, ...] = ()
    deduplicate: Deduplicate | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UserError: one of them is out of range.
        """
        for option, value in (("--min-chars", self.min_chars), ("--max-chars", self.max_chars)):
            if value is not None and value < 1:
                raise UserError(f"{option} {value}", accepted="1 or more")
        if self.min_chars and self.max_chars and self.min_chars > self.max_chars:
            raise UserError(f"--min-chars {self.min_chars} above --max-chars {self.max_chars}, which leaves nothing")
        if self.chinese_share is not None and not 0 <= self.chinese_share <= 1:
            raise UserError(f"--chinese-share {self.chinese_share:g}", accepted="0 to 1, such as 0.5")

    def __bool__(self) -> bool:
        """Whether anything is done."""
        return self != Cleaning()

    def clean(self, text: str) -> tuple[str, str | None]:
        """The text as it is to be, and one of `REASONS` if it is left out."""
        if self.normalize:
            text = unicodedata.normalize("NFC" if self.normalize == "nfc" else "NFKC", text)
        length = len(text.strip())
        if not length:
            return text, "blank"
        if self.min_chars and length < self.min_chars:
            return text, "short"
        if self.max_chars and length > self.max_chars:
            return text, "long"
        if self.chinese_share is not None and chinese_share(text) < self.chinese_share:
            return text, "not Chinese"
        if self.excluded and self.excluded.within(text):
            return text, "excluded"
        return text, None

    def kept(self, texts: Iterable[str]) -> tuple[list[str], Counter[str]]:
        """The texts that stay, and how many do not, by reason; blank lines are no documents and not counted."""
        kept: list[str] = []
        left_out: Counter[str] = Counter()
        for text in texts:
            text, reason = self.clean(text)
            if reason is None:
                kept.append(text)
            elif reason != "blank":
                left_out[reason] += 1
        return kept, left_out

    def record(self, left_out: Counter[str]) -> dict[str, Any]:
        """What the manifest says of it: the settings, the files kept out, and how many documents were left out."""
        return {
            "normalize": self.normalize,
            "min_chars": self.min_chars,
            "max_chars": self.max_chars,
            "chinese_share": self.chinese_share,
            "deduplicate": self.deduplicate,
            "exclude": [vars(file) for file in self.exclude],
            "left_out": {reason: left_out[reason] for reason in REASONS if reason != "blank"},
        }
