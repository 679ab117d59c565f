"""Rows as the model gets them."""

from pathlib import Path

import torch
from hypothesis import given
from hypothesis import strategies as st

from weixing.tasks.encoding import encode_examples, truncate_pair
from weixing.tasks.files import Examples
from weixing.tasks.objectives import OneClass
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


@given(st.integers(0, 80), st.integers(0, 80), st.integers(2, 60))
def test_a_pair_is_truncated_as_bert_does_it_one_token_at_a_time(first: int, second: int, budget: int) -> None:
    expected_first, expected_second = first, second
    while expected_first + expected_second > budget:
        if expected_first > expected_second:
            expected_first -= 1
        else:
            expected_second -= 1
    assert truncate_pair(first, second, budget) == (expected_first, expected_second)
