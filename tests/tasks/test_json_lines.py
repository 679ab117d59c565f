"""JSON lines: which keys are read, and what is said where one lacks."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weixing.errors import UserError
from weixing.tasks.json_lines import json_rows
from weixing.tasks.rows import Layout

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
LABELS = st.one_of(TEXTS, st.integers(), st.floats(allow_nan=False), st.lists(TEXTS))


def read(*rows: object, layout: Layout | None = None) -> list[tuple[object, ...]]:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return [tuple(row) for row in json_rows(Path("t"), text, layout or Layout())]


@given(st.lists(st.tuples(TEXTS, TEXTS, LABELS), min_size=1, max_size=5))
def test_what_the_json_module_writes_is_read_back(rows: list[tuple[str, str, object]]) -> None:
    layout = Layout("问", "答", "分")
    read_back = read(*({"问": first, "答": second, "分": label} for first, second, label in rows), layout=layout)
    assert read_back == [(number, *row) for number, row in enumerate(rows, 1)]


def test_a_named_text_alone_makes_single_texts() -> None:
    row = {"sentence1": "甲", "sentence2": "乙", "label": 1, "genre": "x"}
    assert read(row) == [(1, "甲", "乙", 1)]
    assert read(row, layout=Layout("sentence2", label="genre")) == [(1, "乙", None, "x")]


def test_texts_of_several_keys_are_joined_and_some_may_be_empty() -> None:
    rows = [{"a": "甲", "b": "乙", "label": 1}, {"a": "丙", "b": "", "label": 0}]
    assert [row[1] for row in read(*rows, layout=Layout("a,b"))] == ["甲,乙", "丙"]
    for row, message in (
        ({"a": "", "b": " "}, "the text is empty"),
        ({"a": "甲"}, 'no text "b"'),
        ({"a": ["甲"], "b": "乙"}, 'no text "a"'),
    ):
        with pytest.raises(UserError, match=f"t:1: {message}"):
            read({**row, "label": 1}, layout=Layout("a,b"))


def test_a_list_of_words_is_a_text() -> None:
    assert read({"sentence": ["甲", "乙"], "label": ["O", "O"]}) == [(1, ["甲", "乙"], None, ["O", "O"])]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"body": "甲"}, 't:2: no text "text": the keys are body. Accepted: the keys that --text, --text-pair and'),
        ({"text": None, "y": 1}, "t:2: no text \"text\": it is 'null'"),
        ({"text": ["甲", 1], "y": 1}, 't:2: no text "text": it is '),
        ({"text": ["甲", ""], "y": 1}, 't:2: the text is empty (a word of "text")'),
        ({"text": "\u3000", "y": 1}, 't:2: the text is empty ("text")'),
        ({"text": "甲", "label": 1}, 't:2: no "y": '),
        ({"text": "甲", "y": None}, 't:2: no "y": '),
        ({"text": "甲", "y": {"a": 1}}, 't:2: no "y": '),
    ],
)
def test_what_lacks_is_named_with_its_line(row: dict, message: str) -> None:
    with pytest.raises(UserError) as caught:
        read({"text": "甲", "y": 1}, row, layout=Layout("text", label="y"))
    assert str(caught.value).startswith(message)


def test_words_are_not_a_pair() -> None:
    with pytest.raises(UserError, match="t:1: a list of words in a pair of texts"):
        read({"sentence1": "甲", "sentence2": ["乙"], "label": 1})


@pytest.mark.parametrize("line", ["[" * 100_000, '{"label": ' + "9" * 5000 + "}", "{} {}", "nul"])
def test_what_is_no_json_is_named_with_its_line(line: str) -> None:
    with pytest.raises(UserError, match="t:1: not JSON"):
        list(json_rows(Path("t"), line, Layout()))
