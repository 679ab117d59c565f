"""Cleaning: filters, 13 characters against a plain search, duplicates, and the same bytes by any worker."""

import gzip
import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weixing.cli.main import run as weixing
from weixing.data import duplicates
from weixing.data.cleaning import Cleaning
from weixing.data.duplicates import Seen, keys_of
from weixing.data.excluding import read_excluded
from weixing.data.grams import GRAM, Grams
from weixing.data.shards import read_manifest
from weixing.errors import UserError
from weixing.text import corpus
from weixing.text.characters import chinese_share, folded

FEW = st.text("甲aB，A ", max_size=40)  # so that texts meet often


def as_string(text: str) -> str:
    return folded(text).tobytes().decode("utf-32-le")


@given(st.lists(FEW, max_size=6), FEW)
def test_shared_sequences_are_those_that_a_plain_search_finds(excluded: list[str], text: str):
    folded_text, found = as_string(text), False
    for other in map(as_string, excluded):
        starts = range(len(other) - GRAM + 1)
        grams = (other[start : start + GRAM] for start in starts)
        found = found or any("甲" in gram and gram in folded_text for gram in grams)
        found = found or (0 < len(other) < GRAM and other == folded_text)
    assert Grams(excluded).within(text) == found


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("今天天气很好，我们去北京游玩。", "今 天天气很好我们去\n北京游玩！"),
        ("甲ｂｃ１２３４５６７８９０", "甲bc 1234567890"),
        ("北京ＡＢＣＤＥＦＧＨＩＪＫ", "北京abcdefghijk"),
    ],
)
def test_punctuation_space_width_and_case_do_not_count(text: str, same: str):
    assert Grams([text]).within(f"前面的话{same}后面的话")


def test_the_share_of_chinese_counts_letters_and_digits_alone():
    assert chinese_share("北京ab，。  \n") == 0.5
    assert chinese_share("𠀀㐀，") == 1
    assert chinese_share("，。") == chinese_share("") == 0


@pytest.mark.parametrize(
    ("settings", "text", "expected"),
    [
        ({"normalize": "nfkc"}, "Ａ，", ("A,", None)),
        ({"normalize": "nfc"}, "e\u0301，", ("é，", None)),
        ({"min_chars": 3}, " ab ", (" ab ", "short")),
        ({"max_chars": 3}, "abcd", ("abcd", "long")),
        ({"chinese_share": 0.6}, "北京ab", ("北京ab", "not Chinese")),
        ({"chinese_share": 0.5}, "北京ab", ("北京ab", None)),
        ({"excluded": Grams(["甲乙" * 7])}, "丙甲乙" * 2 + "甲乙" * 6, ("丙甲乙" * 2 + "甲乙" * 6, "excluded")),
        ({"min_chars": 1}, " \u3000", (" \u3000", "blank")),
    ],
)  # fmt: skip
def test_each_filter(settings: dict, text: str, expected: tuple[str, str | None]):
    assert Cleaning(**settings).clean(text) == expected


@pytest.mark.parametrize(
    "settings", [{"min_chars": 0}, {"max_chars": -1}, {"chinese_share": 1.5}, {"min_chars": 9, "max_chars": 3}]
)
def test_settings_out_of_range_are_refused(settings: dict):
    with pytest.raises(UserError):
        Cleaning(**settings)


def test_the_first_of_several_alike_stays():
    texts = ["今天，天气很好。", "明天下雨", "今天天气很好", "明天下雨！", "后天"]
    assert Seen("exact").new(keys_of(texts, "exact")).tolist() == [True, True, False, False, True]


def test_near_duplicates_are_found_by_their_common_sequences():
    random.seed(1)
    characters = [chr(point) for point in range(0x4E00, 0x5200)]
    texts = ["".join(random.choices(characters, k=400)) for _ in range(30)]
    # Of 393 sequences 8 differ (0.96 in common); then 23 at the end (0.89), 91 (0.62), and 193 (0.34).
    near = [text[:200] + "改" + text[201:] for text in texts]
    nearer, further, far = (
        [text[:-count] + "".join(random.choices(characters, k=count)) for text in texts] for count in (23, 91, 193)
    )
    seen = Seen("near")
    assert seen.new(keys_of(texts, "near")).all()
    assert not seen.new(keys_of(near, "near")).any()
    assert seen.new(keys_of(nearer, "near")).sum() <= 2
    assert Seen("near").new(keys_of([*texts, *further, *far], "near")).all()


def test_texts_without_letters_are_not_all_the_same():
    for deduplicate in ("exact", "near"):
        assert Seen(deduplicate).new(keys_of(["！！", "→→", "！！"], deduplicate)).tolist() == [True, True, False]


def test_a_long_text_has_the_key_of_all_its_sequences(monkeypatch):
    text = "".join(chr(point) for point in range(0x4E00, 0x5000))
    whole = keys_of([text], "near")
    monkeypatch.setattr(duplicates, "HASHES_AT_ONCE", 100)
    assert np.array_equal(keys_of([text], "near"), whole)


def written(folder: Path) -> Path:
    file = folder / "corpus.jsonl"
    random.seed(2)
    texts = [f"第{n}篇：" + "".join(random.choices("天地玄黄宇宙洪荒日月盈昃", k=30)) for n in range(60)]
    texts[40] = texts[3]
    texts[50] = "评测集里的句子就是这一句没有别的，" + texts[50]
    texts[55] = "entirely english words without any chinese"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    (folder / "dev.tsv").write_text("label\ttext_a\n1\t评测集里的句子就是这一句没有别的\n", encoding="utf-8")
    return file


@pytest.mark.parametrize("more", [[], ["--whole-words"]])
def test_any_number_of_workers_gives_the_same_bytes_and_counts(tmp_path: Path, monkeypatch, capsys, more: list[str]):
    source = written(tmp_path)
    monkeypatch.setattr(corpus, "BLOCK_BYTES", 700)
    options = ["--exclude", str(tmp_path / "dev.tsv"), "--chinese-share", "0.5", "--deduplicate", "near", *more]
    rows = []
    for workers in ("1", "2"):
        out = tmp_path / f"out{workers}"
        assert weixing(["prepare", str(source), "--out", str(out), "--workers", workers, "--json", *options]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["documents"] == 57
        assert told["left_out"] == {"short": 0, "long": 0, "not Chinese": 1, "excluded": 1, "duplicate": 1}
        cleaning = read_manifest(out).cleaning
        assert cleaning is not None
        assert cleaning["left_out"] == told["left_out"]
        assert [(file["file"], file["texts"]) for file in cleaning["exclude"]] == [("dev.tsv", 4)]
        assert str(tmp_path) not in json.dumps(cleaning)
        rows.append([(out / shard.file).read_bytes() for shard in read_manifest(out).shards])
    assert rows[0] == rows[1]


def test_the_card_names_the_files_that_were_kept_out(tmp_path: Path):
    options = ["--exclude", str(tmp_path / "dev.tsv"), "--out", str(tmp_path / "shards")]
    assert weixing(["prepare", str(written(tmp_path)), *options]) == 0
    run = tmp_path / "run"
    options = ["--model", "1/64", "--steps", "2", "--batch-size", "2", "--out", str(run)]
    assert weixing(["pretrain", "--data", str(tmp_path / "shards"), *options]) == 0
    assert weixing(["card", "--model", str(run)]) == 0
    card = (run / "model" / "README.md").read_text(encoding="utf-8")
    assert "1 document that shared 13 characters in a row with `dev.tsv` left out" in card
    assert "与 `dev.tsv` 有连续 13 个字符相同的 1 篇文档没有用于训练" in card


def test_what_cleaning_leaves_alone_has_the_rows_of_before(tmp_path: Path, capsys):
    source = written(tmp_path)
    for out, options in (("plain", []), ("cleaned", ["--min-chars", "1"])):
        assert weixing(["prepare", str(source), "--out", str(tmp_path / out), *options]) == 0
    one, other = (np.fromfile(tmp_path / out / "rows-00000.bin", "<u2") for out in ("plain", "cleaned"))
    assert np.array_equal(one, other)
    assert read_manifest(tmp_path / "plain").sha256 == read_manifest(tmp_path / "cleaned").sha256


def test_shards_of_before_there_was_cleaning_are_read(tmp_path: Path):
    assert weixing(["prepare", str(written(tmp_path)), "--out", str(tmp_path / "out")]) == 0
    identity = read_manifest(tmp_path / "out").sha256
    file = tmp_path / "out" / "manifest.json"
    value = json.loads(file.read_text())
    del value["cleaning"]
    file.write_text(json.dumps(value))
    assert read_manifest(tmp_path / "out").sha256 == identity


def test_a_corpus_of_which_nothing_is_left_is_an_error_that_counts(tmp_path: Path, capsys):
    assert weixing(["prepare", str(written(tmp_path)), "--out", str(tmp_path / "out"), "--min-chars", "1000"]) == 2
    assert "60 short" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_excluded_files_are_read_in_every_form(tmp_path: Path):
    (tmp_path / "a.json").write_text(
        '{"sentence": "甲", "label": {"name": ["乙"]}, "id": 3}\n[坏的一行\n', encoding="utf-8"
    )
    (tmp_path / "b.tsv.gz").write_bytes(gzip.compress("丙\t丁\n\n".encode()))
    grams, files = read_excluded([tmp_path / "a.json", tmp_path / "b.tsv.gz"])
    assert [file.texts for file in files] == [3, 2]
    assert all(grams.within(text) for text in ("甲", "乙", "[坏的一行", "丙", "丁。"))
    assert not grams.within("甲乙")


LONG = "这一句评测集里的话一共超过了十三个字"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("dev.bio", "".join(f"{char} O\n" for char in LONG) + "\n好 O\n"),
        ("dev.txt", "".join(f"{char}\tB-LOC\n" for char in LONG) + "\n好\tO\n"),
        ("dev.csv", f'id,text\n1,"好"\n2,"{LONG}"\n'),
        ("words.json", json.dumps({"sentence": list(LONG), "label": ["O"]}) + "\n" + json.dumps({"sentence": ["好"]})),
        ("pretty.json", json.dumps({"data": [{"text": "好"}, {"text": LONG}]}, indent=2, ensure_ascii=False)),
        ("raw.json", json.dumps({"text": f"好\u2028{LONG}"}, ensure_ascii=False) + "\n" + json.dumps({"text": "好"})),
        ("dev.tsv", f"label\ttext_a\r\n1\t{LONG}\r\n0\t好\r\n"),
    ],
)
def test_the_texts_of_task_files_of_every_form_are_found_again(tmp_path: Path, name: str, content: str):
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    grams, _ = read_excluded([tmp_path / name])
    assert grams.within(f"前面的话{LONG}后面的话")
    assert grams.within("好")
    assert not grams.within("别的文章里没有这样的一句话，只有另外一句")


def test_addresses_are_no_texts(tmp_path: Path):
    (tmp_path / "dev.tsv").write_text("https://www.example.com/1\t好\n", encoding="utf-8")
    grams, _ = read_excluded([tmp_path / "dev.tsv"])
    assert not grams.within("见 https://www.example.com/about 的说明")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "no text"), (b"\n \t\n", "no text"), (b"\xff\xfe", "not UTF-8"), (None, "No such file")],
)
def test_wrong_excluded_files_are_named(tmp_path: Path, content: bytes | None, message: str, capsys):
    source, file = written(tmp_path), tmp_path / "wrong.tsv"
    if content is not None:
        file.write_bytes(content)
    assert weixing(["prepare", str(source), "--out", str(tmp_path / "out"), "--exclude", str(file)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "wrong.tsv" in error


def test_a_folder_is_no_excluded_file(tmp_path: Path):
    with pytest.raises(UserError, match="a folder"):
        read_excluded([tmp_path])
