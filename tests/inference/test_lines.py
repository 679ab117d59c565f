"""Every line of a file is a text, in order and by number, whatever the chunks; and what cannot be read is said."""

import gzip
import json
import lzma
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from weixing.errors import UserError
from weixing.inference import lines
from weixing.inference.lines import Form, chunks, form_of


def read(path: Path, **limits: int) -> list[tuple[int, str]]:
    found = []
    for chunk in chunks(path, form_of(path), **limits):
        found += list(enumerate(chunk.texts, chunk.first_line))
    return found


@pytest.mark.parametrize("piece", [1, 2, 7, 1 << 20])
@settings(max_examples=30, deadline=None)
@given(texts=st.lists(st.text(st.characters(exclude_characters="\n", codec="utf-8"), max_size=6), min_size=1))
def test_lines_come_back_numbered_however_they_are_cut(
    tmp_path_factory: pytest.TempPathFactory, piece: int, texts: list[str]
) -> None:
    path = tmp_path_factory.mktemp("lines") / "texts.txt"
    path.write_bytes("\n".join([*texts, "end"]).encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "PIECE_BYTES", piece)
        expected = [(number, text.removesuffix("\r")) for number, text in enumerate([*texts, "end"], 1)]
        if expected[0][1].startswith("\ufeff"):
            expected[0] = 1, expected[0][1].removeprefix("\ufeff")
        for most, most_bytes in ((1, 100), (3, 100), (100, 4), (100, 1000)):
            assert read(path, most=most, most_bytes=most_bytes) == expected


def test_from_any_chunk_on_the_rest_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt.gz"
    path.write_bytes(gzip.compress("".join(f"第{number}行\n" for number in range(50)).encode()))
    whole = list(chunks(path, Form("line"), most=7))
    assert [len(chunk.texts) for chunk in whole] == [7] * 7 + [1]
    for number, chunk in enumerate(whole[:-1], 1):
        rest = list(chunks(path, Form("line"), end=chunk.end, line=chunk.first_line + 7, most=7))
        assert rest == whole[number:]
    assert whole[-1].disk_bytes == path.stat().st_size


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst", ".xz"])
@pytest.mark.parametrize("name", ["texts.txt", "texts.jsonl", "texts.tsv", "texts"])
def test_every_form_and_compression_gives_the_same_texts(name: str, suffix: str, tmp_path: Path) -> None:
    texts = ["你好", "", "a\tb" if name.endswith((".txt", ".jsonl")) else "a b", "世界"]
    if name.endswith(".jsonl"):
        content = "".join(json.dumps({"text": text, "id": 3}, ensure_ascii=False) + "\r\n" for text in texts)
    elif name.endswith(".tsv"):
        content = "label\ttext_a\n" + "".join(f"1\t{text}\n" for text in texts)
    else:
        content = "".join(f"{text}\n" for text in texts)
    compress = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".zst": zstandard.ZstdCompressor().compress}
    path = tmp_path / (name + (suffix if name != "texts" else ""))
    path.write_bytes((compress[suffix] if name != "texts" else bytes)(b"\xef\xbb\xbf" + content.encode()))
    first = 2 if name.endswith(".tsv") else 1
    assert read(path) == list(enumerate(texts, first))


@pytest.mark.parametrize(
    ("name", "first", "options", "form"),
    [
        ("a.jsonl", '{"text": "x", "text_pair": "y"}', {}, Form("record", "text", "text_pair")),
        ("a.jsonl", '{"sentence1": "x", "sentence2": "y"}', {}, Form("record", "sentence1", "sentence2")),
        ("a.jsonl", '{"sentence": "x", "label": "y"}', {}, Form("record", "sentence")),
        ("a.jsonl.gz", '{"q": "x", "a": "y"}', {"text": "q", "pair": "a"}, Form("record", "q", "a")),
        ("a.tsv", "label\ttext_a\ttext_b", {}, Form("table", 1, 2, 3)),
        ("a.TSV", "text_a\tlabel", {}, Form("table", 0, None, 2)),
        ("a.tsv", "q\ta", {"text": "a", "pair": "q"}, Form("table", 1, 0, 2)),
        ("a.csv", "q,a", {}, Form("line")),
    ],
)
def test_the_form_is_told_by_name_and_first_line(
    name: str, first: str, options: dict[str, str], form: Form, tmp_path: Path
) -> None:
    content = f"{first}\n".encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert form_of(tmp_path / name, **options) == form


@pytest.mark.parametrize(
    ("name", "first", "options", "message"),
    [
        ("a.jsonl", '{"body": "x"}', {}, "a.jsonl:1: no text or sentence or sentence1 among its keys: body"),
        ("a.jsonl", '{"text": "x"}', {"pair": "y"}, "no y among its keys: text"),
        ("a.jsonl", "[3", {}, "a.jsonl:1: no text or"),
        ("a.tsv", "label\tbody", {}, "a.tsv:1: no text_a among the header: label, body"),
        ("a.txt", "x", {"text": "y"}, "a text a line has no columns"),
    ],
)
def test_a_first_line_without_texts_is_refused(
    name: str, first: str, options: dict[str, str], message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(first + "\n", encoding="utf-8")
    with pytest.raises(UserError) as error:
        form_of(tmp_path / name, **options)
    assert message in str(error.value)


def test_no_file_no_text_and_a_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    for name, message in (("nowhere.txt", "no such file"), ("empty.txt", "no text in this file"), ("", "not a file")):
        with pytest.raises(UserError, match=message):
            form_of(tmp_path / name)


def test_what_is_wrong_with_a_line_is_said_in_its_place(tmp_path: Path) -> None:
    table, records, plain = tmp_path / "a.tsv", tmp_path / "a.jsonl", tmp_path / "a.txt"
    table.write_bytes("text_a\ttext_b\n甲\t乙\n丙\n\n丁\t戊\t己\n".encode())
    records.write_bytes(b'{"text": "a"}\nno\n[]\n{"text": 3}\n{"text": "\\ud800"}\n\n{"text": "b"}\n')
    plain.write_bytes(b"a\n\xff\nb\xe4\n\nc")

    def bad(path: Path) -> tuple[list[str], dict[int, str]]:
        (chunk,) = chunks(path, form_of(path))
        return chunk.texts, chunk.bad

    assert bad(table) == (
        ["甲", "", "", ""],
        {1: "1 fields, but the header names 2", 3: "3 fields, but the header names 2"},
    )
    texts, wrong = bad(records)
    assert texts == ["a", "", "", "", "", "", "b"]
    assert list(wrong) == [1, 2, 3, 4]
    for message, part in zip(
        wrong.values(), ("not JSON", "not a JSON object", 'no text "text"', "surrogate"), strict=True
    ):
        assert part in message
    assert bad(plain) == (
        ["a", "", "", "", "c"], {1: "byte 1 of this line is not UTF-8", 2: "byte 2 of this line is not UTF-8"}
    )  # fmt: skip
