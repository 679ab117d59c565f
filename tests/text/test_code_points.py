"""The shipped table of code points is what the installed tokenizers library does with each of them."""

import numpy as np
import pytest

from weixing.text.code_points import (
    DROPPED,
    IRREGULAR,
    PART,
    SINGLE,
    SPACE,
    CodePoints,
    code_points,
    read_off_tokenizers,
)


def test_the_shipped_table_is_what_the_installed_tokenizers_library_says():
    shipped, installed = code_points(), read_off_tokenizers()
    assert np.array_equal(shipped.kind, installed.kind)
    assert np.array_equal(shipped.normalised, installed.normalised)
    assert np.array_equal(shipped.expansions, installed.expansions)


@pytest.mark.parametrize(
    ("character", "kind", "becomes"),
    [
        ("A", PART, "a"),
        ("É", PART, "e"),
        ("İ", PART, "i"),
        ("ガ", PART, "カ"),
        ("Ａ", PART, "ａ"),
        ("中", SINGLE, "中"),
        ("\uf900", SINGLE, "豈"),
        ("，", SINGLE, "，"),
        ("$", SINGLE, "$"),
        ("〇", PART, "〇"),
        ("\u3000", SPACE, None),
        ("\r", SPACE, None),
        ("\u200b", DROPPED, None),
        ("\u0301", DROPPED, None),
        ("\ufffd", DROPPED, None),
        ("\u302e", IRREGULAR, "\u302e"),
    ],
)
def test_code_points_known_from_bert_have_their_kind(character, kind, becomes):
    points = code_points()
    assert points.kind[ord(character)] == kind
    assert points.normalised[ord(character)] == (ord(becomes) if becomes else 0)


def test_hangul_syllables_expand_to_their_letters():
    expansions = {row[0]: row[1:] for row in code_points().expansions.tolist()}
    assert expansions[ord("한")] == [0x1112, 0x1161, 0x11AB]
    assert expansions[ord("가")] == [0x1100, 0x1161, 0]


def test_no_character_becomes_more_tokens_than_it_has_bytes():
    for code_point, *becomes in code_points().expansions.tolist():
        assert len([code for code in becomes if code]) <= len(chr(code_point).encode())


def test_a_saved_table_is_read_back(tmp_path):
    code_points().save(tmp_path / "table.npz")
    again = CodePoints.load(tmp_path / "table.npz")
    assert np.array_equal(again.normalised, code_points().normalised)
    assert (tmp_path / "table.npz").stat().st_size < 100_000
