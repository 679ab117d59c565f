"""`weixing tasks` from its command line, and every bad task file of `finetune`: exit code 2, file and line."""

import json
from pathlib import Path

import pytest

from weixing.cli.main import run

TSV = "label\ttext_a\n1\t好\n0\t坏\n"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a part of ``book_review`` in it."""
    folder = tmp_path / "data" / "book_review"
    folder.mkdir(parents=True)
    for split in ("train", "dev"):
        (folder / f"{split}.tsv").write_text(TSV, encoding="utf-8")
    return folder.parent


def test_the_list_has_a_line_for_each(capsys) -> None:
    assert run(["tasks"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [
        "book_review", "chnsenticorp", "lcqmc", "tnews", "iflytek", "ocnli", "tnews_keywords",
    ]  # fmt: skip
    assert lines[4].split()[:5] == ["tnews", "single", "15", "53,360", "10,000"]


def test_a_named_task_is_told_in_full(capsys) -> None:
    assert run(["tasks", "ocnli"]) == 0
    text = capsys.readouterr().out
    for fact in ("contradiction 矛盾", "50,437 rows", "CC BY-NC 2.0", "accuracy", "49 of 50,486"):
        assert fact in text


def test_json_is_one_document(capsys, data: Path) -> None:
    assert run(["tasks", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["labels"]["116"] for row in rows if row["name"] == "tnews"] == ["游戏"]
    assert "check" not in rows[0]
    assert run(["tasks", "book_review", "--data", str(data), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["check"]["state"] == "partial"
    assert row["check"]["rows"] == {"train": 2, "dev": 2}


def test_partial_data_pass_and_missing_ones_if_they_are_not_asked_for(capsys, data: Path) -> None:
    assert run(["tasks", "--data", str(data)]) == 0
    streams = capsys.readouterr()
    lines = streams.out.splitlines()
    assert lines[0].split() == ["book_review", "partial", "train", "2,", "dev", "2"]
    assert lines[1].strip() == "train has 2 of 20,000 rows (train.tsv)"
    assert lines[3] == "chnsenticorp    missing"
    assert streams.err == ""


def test_a_missing_task_that_is_asked_for_and_altered_data_are_refused(capsys, data: Path) -> None:
    assert run(["tasks", "tnews", "--data", str(data)]) == 2
    streams = capsys.readouterr()
    assert streams.out.startswith("tnews           missing\n")
    assert streams.err.startswith(f"weixing: {data}: tnews is missing. ")
    (data / "book_review" / "train.tsv").write_text(TSV + "2\t中\n", encoding="utf-8")
    assert run(["tasks", "--data", str(data)]) == 2
    streams = capsys.readouterr()
    assert "train.tsv:4 has the label '2', which book_review has not: another edition?" in streams.out
    assert streams.err.startswith(f"weixing: {data}: book_review is altered. ")


def test_unknown_names_and_folders_are_refused(capsys, tmp_path: Path) -> None:
    assert run(["tasks", "tnews2"]) == 2
    assert "there is no named task 'tnews2'. Accepted: book_review, " in capsys.readouterr().err
    assert run(["tasks", "--data", str(tmp_path / "none")]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert "none: there is no such folder" in streams.err


@pytest.mark.parametrize(
    ("content", "options", "place", "message"),
    [
        (TSV, ["--text", "body"], ":1", "the header has no body column"),
        (TSV, ["--text", "text_a", "--text-pair", "text_b"], ":1", "the header has no text_b column"),
        (TSV, ["--label", "class"], ":1", "the header has no class column"),
        (TSV + "1\t \n", [], ":4", "the text is empty"),
        (TSV + "\t中\n", [], ":4", "the label is empty"),
        ("label\ttext_a\n1\t好\n1\t妙\n", [], "", "every training row has the label '1'"),
        (TSV + "好\t中\n", ["--kind", "number"], ":4", "the label is no number: '好'"),
        (TSV + "1|1\t中\n", ["--label-separator", "|"], ":4", "a class twice: 1, 1"),
        (TSV, ["--kind", "multi-label"], ":2", "one label, not several: '1'"),
        (TSV, ["--kind", "tags"], ":2", "the tag '1'"),
        ("好\t1\n坏\n", ["--text", "1", "--label", "2"], ":2", "1 fields, but line 1 has 2"),
        ("甲 O\n乙 I-PER\n", [], ":2", "the tag 'I-PER' after 'O'"),
        ("甲 O\n乙\n", [], ":2", "no word and tag: '乙'"),
        (TSV.replace("label", "text_a"), [], ":1", "the header has no label column"),
        (TSV + "1\t中\0\n", [], ":4", "a NUL character"),
    ],
)
def test_finetune_names_the_file_and_the_line(
    capsys, tmp_path: Path, content: str, options: list[str], place: str, message: str
) -> None:
    train = tmp_path / "train.tsv"
    train.write_text(content, encoding="utf-8")
    files = ["--train", str(train), "--dev", str(train)]
    assert run(["finetune", "--model", "1/64", *files, "--out", str(tmp_path / "out"), *options]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.startswith(f"weixing: {train}{place}: {message}")
    assert streams.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_finetune_says_what_the_data_lack(capsys, data: Path, tmp_path: Path) -> None:
    """The message comes before training, which the length of the rows prevents here."""
    options = ["--task", "book_review", "--data", str(data), "--max-length", "1"]
    assert run(["finetune", "--model", "1/64", "--out", str(tmp_path / "out"), *options]) == 2
    expected = "book_review: partial data: train has 2 of 20,000 rows (train.tsv); dev has 2 of 8,000 rows (dev.tsv)\n"
    assert capsys.readouterr().err.startswith(expected)
