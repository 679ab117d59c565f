"""TSV and CSV: the same rows come back from either, and what is wrong is found at its line."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weixing.errors import UserError
from weixing.tasks.rows import Layout
from weixing.tasks.tables import table_rows

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(str.strip)
FIELDS = TEXTS.map(lambda text: text.replace("\t", " ").replace("\n", " ").rstrip("\r")).filter(str.strip)
NAMED = Layout("评论", "回复", "类别")


def read(text: str, layout: Layout = NAMED, commas: bool = False) -> list[tuple[object, ...]]:
    return [tuple(row) for row in table_rows(Path("t"), text, layout, commas=commas)]


@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=5), st.sampled_from(["\n", "\r\n"]))
def test_what_the_csv_module_writes_is_read_back(rows: list[tuple[str, str, str]], end: str) -> None:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator=end, quoting=csv.QUOTE_ALL)  # else a lone carriage return has none
    writer.writerows([("回复", "类别", "评论"), *rows])
    assert [row[1:] for row in read(stream.getvalue(), commas=True)] == [(c, a, b) for a, b, c in rows]


@given(st.lists(st.tuples(FIELDS, FIELDS), min_size=1, max_size=5), st.sampled_from(["\n", "\r\n"]))
def test_any_text_without_tabs_and_line_feeds_is_read_back_from_tsv(rows: list[tuple[str, str]], end: str) -> None:
    text = "".join(f"{first}\t{label}{end}" for first, label in rows)
    assert [(row[1], row[3]) for row in read(text, Layout("1", label="2"))] == rows
    with_header = f"评论\t类别{end}" + text
    header = ("评论", "类别")
    expected = [(number, first, None, label) for number, (first, label) in enumerate(rows, 2)]
    if header not in rows:
        assert read(with_header, Layout("评论", label="类别")) == expected


def test_a_record_of_csv_is_named_by_the_line_it_begins_at() -> None:
    text = '评论,回复,类别\r\n"甲\n""乙"",",丙,1\r\n\r\n丁,戊,0\r\n'
    assert read(text, commas=True) == [(2, '甲\n"乙",', "丙", "1"), (5, "丁", "戊", "0")]


def test_columns_by_number_need_no_header_and_others_are_ignored() -> None:
    assert read("甲\tx\t乙\t1\n", Layout("1", "3", "4")) == [(1, "甲", "乙", "1")]
    assert read("甲,x,乙,1\n", Layout("3", label="4"), commas=True) == [(1, "乙", None, "1")]


def test_texts_of_several_columns_are_joined_and_some_may_be_empty() -> None:
    text = "label\t题\t文\n1\t甲\t乙\n0\t\t丙\n"
    assert read(text, Layout("题,文")) == [(2, "甲,乙", None, "1"), (3, "丙", None, "0")]
    assert read("甲\t乙\t丙\t1\n", Layout("3,1", "2", "4")) == [(1, "丙,甲", "乙", "1")]
    with pytest.raises(UserError, match=r"t:2: the text is empty \(题, 文\)"):
        read("label\t题\t文\n1\t\t \n", Layout("题,文"))


def test_a_named_text_alone_makes_single_texts() -> None:
    text = "label\ttext_a\ttext_b\n1\t甲\t乙\n"
    assert read(text, Layout()) == [(2, "甲", "乙", "1")]
    assert read(text, Layout("text_b")) == [(2, "乙", None, "1")]
    assert read(text, Layout(label="text_b")) == [(2, "甲", "乙", "乙")]


@pytest.mark.parametrize(
    ("text", "layout", "commas", "message"),
    [
        ("评论\t类别\n甲\t1\n", NAMED, False, "t:1: the header has no 回复 column: '评论, 类别'"),
        ("题\tlabel\n", Layout("题,文"), False, "t:1: the header has no 文 column: '题, label'"),
        ("甲\t1\n", Layout("1,3", label="2"), False, "t:1: there is no column 3. Accepted: 1 to 2"),
        ("评论\t回复\t评论\t类别\n", NAMED, False, "t:1: the header has more than one 评论 column"),
        ("评论\t回复\t类别\t类别\n", NAMED, False, "t:1: the header has more than one 类别 column"),
        ("text\tlabel\n", Layout(), False, "t:1: the header has no text_a column"),
        ("评论\t回复\t类别\n甲\t乙\t1\n评论\t回复\t类别\n", NAMED, False, "t:3: the header once more"),
        ("评论\t回复\t类别\n甲\t\t1\n", NAMED, False, "t:2: the text is empty (回复)"),
        ("甲\t1\n \t1\n", Layout("1", label="2"), False, "t:2: the text is empty (column 1)"),
        ("甲\t1\n甲\n", Layout("1", label="2"), False, "t:2: 1 fields, but line 1 has 2. Accepted: one field a column"),
        ("甲\t1\n", Layout("1", "2", "3"), False, "t:1: there is no column 3. Accepted: 1 to 2"),
        ("评论,回复,类别\n甲,乙,丙,1\n", NAMED, True, "t:2: 4 fields, but the header names 3"),
        ('评论,回复,类别\n"甲"x,乙,1\n', NAMED, True, "t:2: no CSV: "),
        ('评论,回复,类别\n甲,乙,1\n"甲,乙,1\n', NAMED, True, "t:3: no CSV: unexpected end of data"),
        ("评论,回复,类别\n甲\r丙,乙,1\n", NAMED, True, "t:2: no CSV: new-line character seen in unquoted field"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(text: str, layout: Layout, commas: bool, message: str) -> None:
    with pytest.raises(UserError) as caught:
        read(text, layout, commas)
    assert str(caught.value).startswith(message)
    assert "Accepted: " in str(caught.value)
