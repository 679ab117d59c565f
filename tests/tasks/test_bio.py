"""BIO files: any sentences come back, and a tag that may not stand where it stands is found at its line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weixing.errors import UserError
from weixing.tasks.bio import bio_rows, first_wrong_tag, looks_like_bio, tag_order


@st.composite
def sentences(draw: st.DrawFn) -> list[tuple[str, str]]:
    """Words and the tags of entities among them, of one to three words each."""
    words = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=3)
    spans = draw(st.lists(st.tuples(st.sampled_from(["", "PER", "I-LOC"]), st.integers(1, 3)), min_size=1, max_size=4))
    tags = [f"{'B' if at == 0 else 'I'}-{name}" if name else "O" for name, size in spans for at in range(size)]
    return [(draw(words), tag) for tag in tags]


@given(st.lists(sentences(), min_size=1, max_size=4), st.sampled_from("\t "), st.sampled_from(["\n", "\r\n"]))
def test_sentences_are_read_back_with_their_lines(many: list[list[tuple[str, str]]], between: str, end: str) -> None:
    text = end.join(end.join(f"{word}{between}{tag}" for word, tag in sentence) + end for sentence in many)
    rows = list(bio_rows(Path("t"), text))
    assert [list(zip(row.text, row.label, strict=True)) for row in rows] == many
    starts = [1 + sum(len(sentence) + 1 for sentence in many[:number]) for number in range(len(many))]
    assert [row.line for row in rows] == starts
    assert looks_like_bio(text.split("\n")[0])


@given(st.lists(sentences(), min_size=1, max_size=3), st.data())
def test_an_entity_that_goes_on_without_a_beginning_is_found(many: list[list[tuple[str, str]]], data) -> None:
    lines = [line for sentence in many for line in [*sentence, None]]
    at = data.draw(st.sampled_from([number for number, line in enumerate(lines) if line]))
    lines[at] = (lines[at][0], "I-OTHER")
    text = "\n".join(f"{line[0]} {line[1]}" if line else "" for line in lines)
    with pytest.raises(UserError, match=rf"^t:{at + 1}: the tag 'I-OTHER' "):
        list(bio_rows(Path("t"), text))


def test_several_empty_lines_and_none_at_the_end_are_the_same() -> None:
    rows = list(bio_rows(Path("t"), "\n\n甲 O\n \n\n乙 B-X\n丙 I-X"))
    assert [(row.line, row.text, row.label) for row in rows] == [(3, ["甲"], ["O"]), (6, ["乙", "丙"], ["B-X", "I-X"])]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("丙", "no word and tag: '丙'"),
        ("丙 ", "no word and tag: '丙 '"),
        (" O", "no word and tag: ' O'"),
        ("丙 NN O", "no word and tag: '丙 NN O'"),
        ("丙  O", "no word and tag: '丙  O'"),
        ("丙 X", "the tag 'X'"),
        ("丙 B-", "the tag 'B-'"),
        ("丙 S-PER", "the tag 'S-PER'"),
        ("丙 I-LOC", "the tag 'I-LOC' after 'B-PER'"),
    ],
)
def test_what_is_no_word_and_tag_is_named_with_its_line(line: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        list(bio_rows(Path("t"), f"甲 O\n\n乙 B-PER\n{line}\n"))
    assert str(caught.value).startswith(f"t:4: {message}")
    assert "Accepted: " in str(caught.value)


def test_a_sentence_may_not_begin_inside_an_entity() -> None:
    assert first_wrong_tag(["I-X"]) == (0, "the tag 'I-X' at the beginning")
    assert first_wrong_tag(["O", "B-X", "B-X", "I-X", "I-X", "O"]) is None


@pytest.mark.parametrize("line", ["text_a\tlabel", "label\ttext_a", "甲 乙", "O", "甲\tO\t1", "B-X"])
def test_headers_and_plain_text_do_not_look_like_it(line: str) -> None:
    assert not looks_like_bio(line)


def test_every_type_has_both_tags() -> None:
    assert tag_order({"O", "I-PER", "B-PER", "B-LOC"}) == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert tag_order({"B-X"}) == ("O", "B-X", "I-X")
