"""Rows as the model gets them."""

from pathlib import Path

import torch
from hypothesis import given
from hypothesis import strategies as st

from weixing.tasks.encoding import encode_examples, truncate_pair
from weixing.tasks.files import Examples
from weixing.tasks.objectives import IGNORED, OneClass, Tags
from weixing.text.tokenizer import Tokenizer


def examples(texts: list[str], second_texts: list[str] | None = None) -> Examples:
    return Examples(Path("t.tsv"), texts, second_texts, ["1"] * len(texts), list(range(len(texts))), 0)


def rows_as_text(tokenizer: Tokenizer, given_examples: Examples, max_length: int) -> list[str]:
    encoded = encode_examples(given_examples, OneClass(("0", "1")), tokenizer, max_length)
    batch = encoded.batch(torch.arange(len(encoded)), int(encoded.lengths.max()))
    return [
        "".join(f"{token}{kind if real else '.'}" for token, kind, real in zip(tokens, kinds, attention, strict=True))
        for tokens, kinds, attention in zip(
            map(tokenizer.convert_ids_to_tokens, batch.ids.tolist()),
            batch.token_types.tolist(),
            batch.attention.tolist(),
            strict=True,
        )
    ]


def test_single_texts_are_framed_and_padded(tokenizer: Tokenizer) -> None:
    assert rows_as_text(tokenizer, examples(["天地", "人", ""]), 128) == [
        "[CLS]0天0地0[SEP]0",
        "[CLS]0人0[SEP]0[PAD].",
        "[CLS]0[SEP]0[PAD].[PAD].",
    ]


def test_the_second_text_and_its_end_have_token_type_1(tokenizer: Tokenizer) -> None:
    assert rows_as_text(tokenizer, examples(["天", "人山"], ["地火", ""]), 128) == [
        "[CLS]0天0[SEP]0地1火1[SEP]1",
        "[CLS]0人0山0[SEP]0[SEP]1[PAD].",
    ]


def test_truncation_keeps_every_separator(tokenizer: Tokenizer) -> None:
    assert rows_as_text(tokenizer, examples(["天" * 50]), 8) == ["[CLS]0" + "天0" * 6 + "[SEP]0"]
    assert rows_as_text(tokenizer, examples(["天" * 50], ["地" * 2]), 8) == ["[CLS]0天0天0天0[SEP]0地1地1[SEP]1"]


def test_special_tokens_spelt_out_in_a_text_are_text(tokenizer: Tokenizer) -> None:
    assert "[SEP]" not in rows_as_text(tokenizer, examples(["天[SEP]地"]), 128)[0].removesuffix("[SEP]0")


def tagged(words: list[list[str]], labels: list[tuple[str, ...]]) -> Examples:
    texts = ["".join(row) for row in words]
    return Examples(Path("t.bio"), texts, None, labels, list(range(len(words))), 0, words=words, kind="tags")


def test_the_first_token_of_a_word_has_its_tag_and_no_other_position_has_one(tokenizer: Tokenizer) -> None:
    words = [["天", "地人", "山"], ["火", "\u200b", "水", "好好"], []]
    labels = [("O", "B", "I"), ("B", "O", "O", "I"), ()]
    encoded = encode_examples(tagged(words, labels), Tags(("O", "B", "I")), tokenizer, 128)
    batch = encoded.batch(torch.arange(3), 8)
    assert [
        "".join(tokenizer.convert_ids_to_tokens(ids[real]))
        for ids, real in zip(batch.ids, batch.attention, strict=True)
    ] == ["[CLS]天地人山[SEP]", "[CLS]火水好好[SEP]", "[CLS][SEP]"]
    x = IGNORED
    assert batch.targets.tolist() == [[x, 0, 1, x, 2, x, x, x], [x, 1, 0, 2, x, x, x, x], [x] * 8]
    # A zero-width space has no token.
    places = [[1, 2, 4], [1, -1, 2, 3], []]
    assert encoded.words_of_rows is not None
    assert [row.tolist() for row in encoded.words_of_rows] == [
        [place + start if place >= 0 else -1 for place in row]
        for row, start in zip(places, encoded.starts.tolist(), strict=True)
    ]


def test_words_behind_the_longest_row_have_no_place(tokenizer: Tokenizer) -> None:
    words = [["天", "地", "人山"], ["火"] * 3]
    encoded = encode_examples(tagged(words, [("B", "I", "O"), ("O",) * 3]), Tags(("O", "B", "I")), tokenizer, 4)
    assert encoded.lengths.tolist() == [4, 4]
    assert encoded.words is not None
    assert encoded.words.tolist() == [1, 2, -1, 5, 6, -1]
    assert encoded.batch(torch.arange(2), 4).targets[:, 1:3].tolist() == [[1, 2], [0, 0]]
    # A word of which only the beginning is left keeps its place and its tag.
    encoded = encode_examples(tagged([["天", "地人"]], [("O", "B")]), Tags(("O", "B")), tokenizer, 4)
    assert encoded.words is not None
    assert encoded.words.tolist() == [1, 2]
    assert encoded.batch(torch.arange(1), 4).targets.tolist() == [[IGNORED, 0, 1, IGNORED]]


@given(st.integers(0, 80), st.integers(0, 80), st.integers(2, 60))
def test_a_pair_is_truncated_as_bert_does_it_one_token_at_a_time(first: int, second: int, budget: int) -> None:
    expected_first, expected_second = first, second
    while expected_first + expected_second > budget:
        if expected_first > expected_second:
            expected_first -= 1
        else:
            expected_second -= 1
    assert truncate_pair(first, second, budget) == (expected_first, expected_second)
