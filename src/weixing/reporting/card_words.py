"""The two languages of a model card, and how numbers are written in both. Pure."""

from weixing.reporting.wording import Language

LANGUAGES: tuple[Language, ...] = ("zh", "en")  # in their order in a card
MISSING = "–"


def one_of(language: Language, *, zh: str, en: str) -> str:
    """`zh` or `en`, as `language` says: both stand in one place, so that they go on saying the same."""
    return zh if language == "zh" else en


def counted(number: int, noun: str) -> str:
    """``1 layer``, ``1,200 layers``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def megabytes(size: int) -> str:
    """``12.9 MB``: 10⁶ bytes."""
    return f"{size / 1e6:.1f} MB"


def percent(share: float) -> str:
    """``15 %``; ``0.045 %``: three significant digits."""
    return f"{100 * share:.3g} %"
