"""Task files: what is read from them, and what is said about those that are wrong."""

import json
from pathlib import Path

import pytest

from weixing.errors import UserError
from weixing.tasks.files import load_task, read_examples
from weixing.tasks.rows import Kind, Layout

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
        (TSV + "1\t\n", ":4", "the text is empty (text_a)"),
        (TSV + "label\ttext_a\n", ":4", "the header once more"),
        (TSV + "1\t甲\0\n", ":4", "a NUL character"),
        (TSV.encode() + b"1\t\xb0\xa1\n", ":4", "not UTF-8 (byte 0xb0)"),
        (json_lines({"sentence": "甲", "label": "1"}) + "{\n", ":2", "not JSON"),
        (json_lines({"sentence": "甲", "label": "1"}) + "3\n", ":2", "not a JSON object"),
        (json_lines({"label": "1"}), ":1", 'no text "sentence"'),
        (json_lines({"sentence": 3, "label": "1"}), ":1", 'no text "sentence"'),
        (json_lines({"sentence": [], "label": "1"}), ":1", 'no text "sentence"'),
        (json_lines({"sentence1": "甲", "label": "1"}), ":1", 'no text "sentence2"'),
        (json_lines({"sentence1": "甲", "sentence2": "", "label": "1"}), ":1", 'the text is empty ("sentence2")'),
        (json_lines({"sentence": "甲"}), ":1", 'no "label"'),
        (
            json_lines({"sentence": "甲", "label": "1"}, {"sentence": "乙", "label": 2.5}),
            ":2",
            "the label is the number",
        ),
        (
            json_lines({"sentence": "甲", "label": ["a"]}, {"sentence": "乙", "label": "a"}),
            ":2",
            "one label, not several",
        ),
        ("甲 O\n乙 I-X\n", ":2", "the tag 'I-X' after 'O'"),
        ("甲 O\n乙\n", ":2", "no word and tag"),
        (json_lines({"sentence": "甲", "label": True}), ":1", 'no "label"'),
        (json_lines({"sentence": "甲", "label": ""}), ":1", "label is empty"),
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


BIO = "王 B-PER\n来 O\n\n北 B-LOC\n京 I-LOC\n"
NUMBERS = json_lines({"sentence": "甲", "label": 0.5}, {"sentence": "乙", "label": 1})
PIPES = Layout("文", label="标", separator="|")
BARS = Layout(separator="|")


@pytest.mark.parametrize(
    ("name", "content", "layout", "expected"),
    [
        ("t.csv", 'text_a,label\n"好,好",1\n坏,0\n', None, (["好,好", "坏"], None, ["1", "0"], "class")),
        ("t.txt", "甲\t乙\t1\n[\t{\t0\n", Layout("1", "2", "3"), (["甲", "["], ["乙", "{"], ["1", "0"], "class")),
        ("t.csv", "好,4.5\n", Layout("1", label="2", kind="number"), (["好"], None, [4.5], "number")),
        ("t.tsv", "文\t标\n好\t甲|乙\n", PIPES, (["好"], None, [("甲", "乙")], "multi-label")),
        ("t.json", json_lines({"sentence": "好", "label": 0.5}), None, (["好"], None, [0.5], "number")),
        ("t.json", json_lines({"sentence": "好", "label": ""}), BARS, (["好"], None, [()], "multi-label")),
        ("t.json", json_lines({"sentence": "好", "label": ["a"]}), None, (["好"], None, [("a",)], "multi-label")),
        ("t.tsv", "text_a\tlabel\n王 来\tB-PER O\n", Layout(kind="tags"), (["王来"], None, [("B-PER", "O")], "tags")),
    ],
)  # fmt: skip
def test_files_of_ones_own(write, name: str, content: str, layout: Layout | None, expected: tuple) -> None:
    examples = read_examples(write(content, name), layout)
    assert (examples.texts, examples.second_texts, examples.labels, examples.kind) == expected


@pytest.mark.parametrize("name", ["t.bio", "t.txt"])
def test_a_bio_file_is_known_by_its_suffix_or_its_form(write, name: str) -> None:
    examples = read_examples(write(BIO, name))
    assert (examples.kind, examples.words) == ("tags", [["王", "来"], ["北", "京"]])
    assert (examples.texts, examples.labels) == (["王来", "北京"], [("B-PER", "O"), ("B-LOC", "I-LOC")])
    assert examples.lines == [1, 4]


def test_a_hyphen_is_a_label_where_there_are_no_classes(write) -> None:
    examples = read_examples(write(json_lines({"sentence": "甲", "label": ["-"]}), "t.json"))
    assert (examples.labels, examples.left_out) == ([("-",)], 0)


@pytest.mark.parametrize(
    ("train", "layout", "kind", "labels"),
    [
        (BIO, None, "tags", ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")),
        ("label\ttext_a\n1.5\t甲\n2\t乙\n", Layout(kind="number"), "number", ()),
        ("label\ttext_a\n10|9\t甲\n\t乙\n", Layout(separator="|"), "multi-label", ("9", "10")),
        ("label\ttext_a\n好评\t甲\n差评\t乙\n", None, "class", ("好评", "差评")),
    ],
)
def test_a_task_of_each_kind_has_its_labels(write, train: str, layout: Layout, kind: Kind, labels: tuple) -> None:
    path = write(train)
    task = load_task("t", path, path, layout)
    assert (task.kind, task.labels, task.data) == (kind, labels, "custom")


@pytest.mark.parametrize(
    ("train", "dev", "layout", "message"),
    [
        (BIO, BIO + "\n上 B-ORG\n", None, "dev.tsv:7: the label 'B-ORG' never occurs in training"),
        ("甲 O\n", "甲 O\n", None, "no word of training has a tag but O"),
        (BIO, TSV, None, "dev.tsv:2: the tag '1' (word 1, '好')"),
        (TSV, BIO, None, "dev.tsv:1: words with tags. Accepted: a text (class). --kind tags"),
        (TSV, json_lines({"sentence": "甲", "label": ["1"]}), None, "dev.tsv:1: the label is a list"),
        (TSV, json_lines({"sentence": "甲", "label": 0.5}), None, "dev.tsv:1: the label is the number 0.5"),
        (NUMBERS, "label\ttext_a\n好\t甲\n", None, "dev.tsv:2: the label is no number: '好'"),
        ("label\ttext_a\n1\t甲\n1.0\t乙\n", TSV, Layout(kind="number"), "every training row has the number 1.0"),
        ("label\ttext_a\n\t甲\n", TSV, Layout(separator="|"), "no training row has a class"),
        ("label\ttext_a\na|b\t甲\n", "label\ttext_a\nc\t甲\n", Layout(separator="|"), "dev.tsv:2: the label 'c' never"),
        ("label\ttext_a\n+\t甲\n-\t乙\n", TSV, None, "the label '+' (rows with '-', left out: 1)"),
        (TSV, TSV, Layout("text_a", "text_b"), "train.tsv:1: the header has no text_b column"),
        (TSV, TSV, Layout("body"), "train.tsv:1: the header has no body column"),
        (TSV, TSV, Layout(label="class"), "train.tsv:1: the header has no class column"),
    ],
)  # fmt: skip
def test_kinds_that_do_not_fit_together_are_refused(write, train: str, dev: str, layout: Layout, message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_task("t", write(train), write(dev, "dev.tsv"), layout)
    assert message in str(caught.value)
