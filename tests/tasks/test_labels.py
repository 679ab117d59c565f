"""Labels of every kind: what is one, what is none, and which kind a file cannot but have."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weixing.errors import UserError
from weixing.tasks.labels import infer_kind, label_of, label_order
from weixing.tasks.rows import Kind, Row


def label(value: object, kind: Kind, separator: str | None = None, text: str | list[str] = "甲 乙") -> object:
    return label_of(Row(1, text, None, value), kind, separator, "f:1")


def kind_of(*labels: object) -> Kind:
    return infer_kind([Row(1, "甲", None, value) for value in labels])


def test_the_kind_is_that_which_labels_cannot_but_be() -> None:
    assert infer_kind([Row(1, ["甲"], None, ["O"])]) == "tags"
    assert kind_of(["a"], ["b", "c"]) == "multi-label"
    assert kind_of(["a"], "b") == "multi-label"
    assert kind_of(1, 2.5) == "number"
    assert kind_of(1, 2) == "class"
    assert kind_of("1.5", "2.5") == "class"
    assert kind_of(1.5, "b") == "class"


@pytest.mark.parametrize(
    ("value", "kind", "separator", "expected"),
    [
        (101, "class", None, "101"),
        (" 好 ", "class", None, "好"),
        (["a", 2], "multi-label", None, ("a", "2")),
        ([], "multi-label", "|", ()),
        ("a| b", "multi-label", "|", ("a", "b")),
        ("", "multi-label", ",", ()),
        ("a", "multi-label", ",", ("a",)),
        (" 1.5e-3 ", "number", None, 0.0015),
        (3, "number", None, 3.0),
        ("-.5", "number", None, -0.5),
        ("O B-X", "tags", None, ("O", "B-X")),
        (["O", "B-X"], "tags", None, ("O", "B-X")),
    ],
)
def test_labels_of_each_kind(value: object, kind: Kind, separator: str | None, expected: object) -> None:
    found = label(value, kind, separator)
    assert found == expected
    assert type(found) is type(expected)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_number_is_the_same_as_text(number: float) -> None:
    assert label(repr(number), "number") == number
    assert label(number, "number") == number


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        ("", "class", "the label is empty"),
        (" ", "class", "the label is empty"),
        (["a"], "class", "the label is a list. Accepted: one class. --kind multi-label"),
        (1.5, "class", "the label is the number 1.5. Accepted: a class: text or a whole number. --kind number"),
        ("\ud800", "class", "half a surrogate pair in the label"),
        ("a", "multi-label", "one label, not several: 'a'"),
        (3, "multi-label", "one label, not several: '3'"),
        (["a", "a"], "multi-label", "a class twice: a, a"),
        (["a", ""], "multi-label", "the label is empty"),
        (["a", None], "multi-label", "no class: 'None'"),
        (["a", True], "multi-label", "no class: 'True'"),
        ([["a"]], "multi-label", "the label is a list"),
        ("好", "number", "the label is no number: '好'"),
        ("", "number", "the label is no number: ''"),
        ("nan", "number", "the label is no number: 'nan'"),
        ("1_000", "number", "the label is no number: '1_000'"),
        ("1e999", "number", "the label is no number: 'inf'"),
        (math.inf, "number", "the label is no number"),
        (10**400, "number", "the label is no number"),
        ([1.5], "number", "the label is no number"),
        ("O", "tags", "2 words, but 1 tags"),
        ("O I-X", "tags", "the tag 'I-X' after 'O' (word 2, '乙')"),
        (1, "tags", "no tags: '1'"),
        (["O", 1], "tags", "no tags: "),
    ],
)
def test_what_is_no_label_of_the_kind(value: object, kind: Kind, message: str) -> None:
    with pytest.raises(UserError) as caught:
        label(value, kind)
    assert str(caught.value).startswith(f"f:1: {message}")
    assert "Accepted: " in str(caught.value)


def test_words_have_no_class_and_pairs_no_tags() -> None:
    with pytest.raises(UserError, match="f:1: words with tags"):
        label("a", "class", text=["甲"])
    with pytest.raises(UserError, match="f:1: tags for a pair of texts"):
        label_of(Row(1, "甲", "乙", "O"), "tags", None, "f:1")


def test_integer_labels_are_in_numeric_order_and_others_in_the_order_of_text() -> None:
    assert label_order(["10", "9", "-1", "9"]) == ("-1", "9", "10")
    assert label_order(["10", "9", "b"]) == ("10", "9", "b")
