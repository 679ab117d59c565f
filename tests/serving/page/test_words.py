"""Both languages of the page say everything, in the same places."""

import re

from weixing.serving.pages import PAGE

WORDS = (PAGE / "words.js").read_text(encoding="utf-8")
ENTRY = re.compile(r"^  (\w+):\s*(\(([^)]*)\) =>)?", re.MULTILINE)


def entries(language: str) -> dict[str, str | None]:
    """Keys of a language, with the names of the values that they are filled with, or None."""
    block = re.search(rf"^const {language} = {{\n(.*?)^}};", WORDS, re.MULTILINE | re.DOTALL)
    assert block
    return {key: values if filled else None for key, filled, values in ENTRY.findall(block[1])}


def test_both_languages_have_the_same_words_with_the_same_values() -> None:
    english = entries("ENGLISH")
    assert len(english) > 80
    assert entries("CHINESE") == english


def test_every_word_that_is_used_is_there_and_every_word_there_is_used() -> None:
    files = [file for file in PAGE.iterdir() if file.suffix in (".js", ".html") and file.name != "words.js"]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files) + WORDS.partition("export const WORDS")[2]
    asked = set(re.findall(r"""(?:\bw\(|data-word=|data-label=|\.say\()\s*["'](\w+)["']""", text))
    english = entries("ENGLISH")
    assert asked <= set(english)
    quoted = set(re.findall(r"""["'](\w+)["']""", text))
    assert set(english) <= quoted
