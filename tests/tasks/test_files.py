"""Task files: what is read from them, and what is said about those that are wrong."""

import json
from pathlib import Path

import pytest

from weixing.errors import UserError
from weixing.tasks.files import label_order, load_task, read_examples

TSV = "label\ttext_a\n1\t好\n0\t坏\n"


@pytest.fixture
def write(tmp_path: Path):
    def write(content: str | bytes, name: str = "train.tsv") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def json_lines(*rows: object) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def test_columns_of_a_tsv_come_in_any_order_and_others_are_ignored(write) -> None:
    examples = read_examples(write("text_b\tlogits\tlabel\ttext_a\n乙\t0.5\tyes\t甲\n"))
    assert (examples.texts, examples.second_texts, examples.labels) == (["甲"], ["乙"], ["yes"])


def test_quotation_marks_and_lone_carriage_returns_are_text(write) -> None:
    examples = read_examples(write('label\ttext_a\r\n1\t"他说\r\n0\t第一\r第二\u2028第三\x85"\r\n'))
    assert examples.texts == ['"他说', '第一\r第二\u2028第三\x85"']
    assert examples.lines == [2, 3]


def test_a_byte_order_mark_and_empty_lines_are_no_rows(write) -> None:
    examples = read_examples(write(b"\xef\xbb\xbf" + TSV.encode() + b"\n\n"))
    assert examples.texts == ["好", "坏"]


def test_the_last_row_needs_no_line_feed(write) -> None:
    assert read_examples(write(TSV.rstrip("\n"))).labels == ["1", "0"]


def test_json_lines_of_single_texts(write) -> None:
    row = {"label": 101, "label_desc": "news", "sentence": "文\n本", "keywords": ""}
    examples = read_examples(write(json_lines(row), "train.json"))
    assert (examples.texts, examples.second_texts, examples.labels) == (["文\n本"], None, ["101"])


def test_json_lines_of_pairs_whose_label_is_a_hyphen_are_left_out_and_counted(write) -> None:
    rows = [{"sentence1": "甲", "sentence2": "乙", "label": label} for label in ("neutral", "-", "entailment")]
    examples = read_examples(write(json_lines(*rows), "train.json"))
    assert examples.labels == ["neutral", "entailment"]
    assert examples.second_texts == ["乙", "乙"]
    assert examples.lines == [1, 3]
    assert examples.left_out == 1


def test_integer_labels_are_in_numeric_order_and_others_in_the_order_of_text() -> None:
    assert label_order(["10", "9", "-1", "9"]) == ("-1", "9", "10")
    assert label_order(["10", "9", "b"]) == ("10", "9", "b")


@pytest.mark.parametrize(
    ("content", "place", "message"),
    [
        ("", "", "the file is empty"),
        ("\n\n", "", "the file is empty"),
        ("label\ttext_a\n", "", "no labelled row"),
        ("label\ttext_a\n-\t甲\n", "", "no labelled row"),
        ("text_a\tother\n甲\t1\n", ":1", "no label column"),
        ("label\ttext\n1\t甲\n", ":1", "no text_a column"),
        ("label\ttext_a\tlabel\n1\t甲\t1\n", ":1", "more than one label column"),
        ("甲\t乙\t1\n", ":1", "no label column"),
        (TSV + "1\t甲\t乙\n", ":4", "3 fields, but the header names 2"),
        (TSV + "1\n", ":4", "1 fields, but the header names 2"),
        (TSV + "\t甲\n", ":4", "the label is empty"),
        (TSV.encode() + b"1\t\xb0\xa1\n", ":4", "not UTF-8 (byte 0xb0)"),
        (json_lines({"sentence": "甲", "label": "1"}) + "{\n", ":2", "not JSON"),
        (json_lines({"sentence": "甲", "label": "1"}) + "3\n", ":2", "not a JSON object"),
        (json_lines({"label": "1"}), ":1", 'no text "sentence"'),
        (json_lines({"sentence": 3, "label": "1"}), ":1", 'no text "sentence"'),
        (json_lines({"sentence": [], "label": "1"}), ":1", 'no text "sentence"'),
        (json_lines({"sentence1": "甲", "label": "1"}), ":1", 'no text "sentence2"'),
        (json_lines({"sentence": "甲"}), ":1", 'no "label"'),
        (json_lines({"sentence": "甲", "label": True}), ":1", 'no "label"'),
        (json_lines({"sentence": "甲", "label": ""}), ":1", 'no "label"'),
        ('{"sentence": "\\ud83d", "label": "1"}', ":1", 'half a surrogate pair in "sentence"'),
        ('[{"sentence": "甲", "label": "1"}]', "", "this is a JSON array"),
    ],
)
def test_a_malformed_file_is_named_with_its_line(write, content: str | bytes, place: str, message: str) -> None:
    path = write(content)
    with pytest.raises(UserError) as caught:
        read_examples(path)
    assert str(caught.value).startswith(f"{path}{place}: ")
    assert message in str(caught.value)
    assert "Accepted: " in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path, message in ((tmp_path / "none.tsv", "there is no such file"), (tmp_path, "cannot be read")):
        with pytest.raises(UserError, match=message):
            read_examples(path)


def test_a_task_has_the_labels_of_its_training_file(write) -> None:
    task = load_task("t", write(TSV), write("text_a\tlabel\n一般\t1\n", "dev.tsv"))
    assert task.labels == ("0", "1")
    assert task.dev.labels == ["1"]


@pytest.mark.parametrize(
    ("train", "dev", "message"),
    [
        ("label\ttext_a\n1\t甲\n1\t乙\n", TSV, "every training row has the label '1'"),
        (TSV, TSV + "2\t中\n", "dev.tsv:4: the label '2' never occurs in training"),
        (TSV, "label\ttext_a\ttext_b\n1\t甲\t乙\n", "single texts, while"),
    ],
)
def test_files_that_do_not_fit_together_are_refused(write, train: str, dev: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_task("t", write(train), write(dev, "dev.tsv"))
