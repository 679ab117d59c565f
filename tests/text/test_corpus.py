"""Corpora are read as the same documents in every form, compression and block size, in constant memory.

What cannot be read is refused with its file and line or byte.
"""

import gzip
import json
import lzma
import tracemalloc

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from weixing.errors import UserError
from weixing.text import corpus, decompression
from weixing.text.corpus import CorpusReader

COMPRESS = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".zst": zstandard.compress}
DOCUMENTS = ["第一篇。", "second one\twith a tab", "第三篇 " * 50]


def written(path, content: bytes | str):
    path.parent.mkdir(parents=True, exist_ok=True)
    content = content.encode() if isinstance(content, str) else content
    path.write_bytes(COMPRESS[path.suffix if path.suffix in COMPRESS else ""](content))
    return path


def as_text(documents) -> str:
    return "".join(f"{document}\n" for document in documents)


def as_json(documents) -> str:
    return "".join(json.dumps({"id": 1, "text": document}) + "\n" for document in documents)


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize(("form", "write"), [(".txt", as_text), (".jsonl", as_json)])
def test_every_form_gives_its_documents(tmp_path, form, write, compression):
    content = write(DOCUMENTS)
    reader = CorpusReader([written(tmp_path / f"c{form}{compression}", content)])
    assert list(reader) == DOCUMENTS
    assert reader.bytes_read == len(content.encode())
    assert reader.disk_bytes_read == reader.total_bytes == (tmp_path / f"c{form}{compression}").stat().st_size
    assert (reader.documents_read, reader.blank) == (3, 0)


@pytest.mark.parametrize("compression", COMPRESS)
def test_files_of_several_compressed_parts_are_read_whole(tmp_path, compression):
    parts = [COMPRESS[compression](as_text([document]).encode()) for document in DOCUMENTS]
    (tmp_path / f"c.txt{compression}").write_bytes(b"".join(parts))
    assert list(CorpusReader([tmp_path / f"c.txt{compression}"])) == DOCUMENTS


@pytest.mark.parametrize(
    ("content", "documents"),
    [
        ("甲\n乙", ["甲", "乙"]),
        ("甲\r\n乙\r\n", ["甲", "乙"]),
        ("甲\r乙\n", ["甲\r乙"]),
        ("甲\r\r\n", ["甲\r"]),
        ("\ufeff甲\n\ufeff乙\n", ["甲", "\ufeff乙"]),
        ("甲\u2028乙\x0b\x0c\x1c\x85\n", ["甲\u2028乙\x0b\x0c\x1c\x85"]),
        ("\n\n甲\n \t\u3000\n\r\n乙\n\n", ["甲", "乙"]),
        ("  甲 ", ["  甲 "]),
    ],
    ids=["no last newline", "CRLF", "lone CR", "CR before CRLF", "byte order mark", "other breaks", "blank", "spaces"],
)
def test_only_a_newline_ends_a_line(tmp_path, content, documents):
    assert list(CorpusReader([written(tmp_path / "c.txt", content)])) == documents


def test_blank_documents_are_counted(tmp_path):
    reader = CorpusReader(
        [written(tmp_path / "c.txt", "甲\n\n \n乙\n"), written(tmp_path / "d.jsonl", as_json(["", "a"]))]
    )
    assert list(reader) == ["甲", "乙", "a"]
    assert reader.blank == 3


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_blank_lines_can_separate_documents(tmp_path, ending):
    content = f"{ending}甲一{ending}甲二{ending}{ending} {ending}乙一{ending}{ending}{ending}丙一{ending}丙二"
    assert list(CorpusReader([written(tmp_path / "c.txt", content)], "blank-line")) == [
        "甲一\n甲二",
        "乙一",
        "丙一\n丙二",
    ]


def test_a_document_does_not_reach_into_the_next_file(tmp_path):
    written(tmp_path / "a.txt", "甲\n")
    written(tmp_path / "b.txt", "乙\n")
    assert list(CorpusReader([tmp_path], "blank-line")) == ["甲", "乙"]


def test_records_are_documents_also_where_blank_lines_separate(tmp_path):
    path = written(tmp_path / "c.jsonl", as_json(["甲\n\n乙", "丙"]))
    assert list(CorpusReader([path], "blank-line")) == ["甲\n\n乙", "丙"]


@settings(max_examples=100, deadline=None)
@given(
    lines=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=20)),
    block=st.integers(1, 40),
    compression=st.sampled_from(sorted(COMPRESS)),
    documents=st.sampled_from(["line", "blank-line"]),
)
def test_block_borders_change_nothing(tmp_path_factory, lines, block, compression, documents):
    content = "x\n" + "\n".join(lines)
    path = written(tmp_path_factory.mktemp("c") / f"c.txt{compression}", content)
    plain = [line.removesuffix("\r") for line in content.split("\n")]
    expected, paragraph = [], []
    for line in [*plain, ""]:
        if line.strip():
            paragraph.append(line)
        if paragraph and (documents == "line" or not line.strip()):
            expected.append("\n".join(paragraph))
            paragraph = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "BLOCK_BYTES", block)
        patch.setattr(decompression, "_ZSTANDARD_BYTES", block)
        assert list(CorpusReader([path], documents)) == expected


@pytest.mark.parametrize("files_ahead", [1, 3, 20])
def test_files_that_are_read_side_by_side_come_in_their_order(tmp_path, monkeypatch, files_ahead):
    monkeypatch.setattr(corpus, "BLOCK_BYTES", 1_000)
    for number in range(12):
        ending = list(COMPRESS)[number % 4]
        written(tmp_path / f"{number:02}.txt{ending}", "".join(f"{number} {line}\n" for line in range(number * 100)))
    reader = CorpusReader([tmp_path])
    blocks = list(reader.blocks(files_ahead))
    documents = [document for block in blocks for document in block.documents()]
    assert documents == [f"{number} {line}" for number in range(12) for line in range(number * 100)]
    assert reader.bytes_read == sum(len(block.data) for block in blocks)
    assert max(len(block.data) for block in blocks if block.file.suffix != ".zst") < 3_000
    for block in blocks:
        assert block.data.startswith(f"{int(block.file.name[:2])} ".encode())


@pytest.mark.parametrize("block_bytes", [1_000, 100_000])
def test_a_document_of_many_lines_is_never_cut(tmp_path, monkeypatch, block_bytes):
    monkeypatch.setattr(corpus, "BLOCK_BYTES", block_bytes)
    long = [f"第{line}句。" for line in range(1_000)]
    content = "".join(f"{line}\n" for line in [*long, " \u3000", "短", "", *long])
    reader = CorpusReader([written(tmp_path / "c.txt", content)], "blank-line")
    assert list(reader) == ["\n".join(long), "短", "\n".join(long)]
    if block_bytes == 1_000:
        assert len(list(reader.blocks())) > 1


def test_folders_are_read_recursively_in_order_and_other_files_passed_over(tmp_path):
    for name in ["b.txt", "a/z.jsonl", "a/b.TXT", "c.md", ".hidden.txt", ".git/x.txt", "a/notes", "vocab.txt.bak"]:
        written(tmp_path / name, as_json([name]) if "json" in name else f"{name}\n")
    reader = CorpusReader([tmp_path])
    assert [str(file.relative_to(tmp_path)) for file in reader.files] == ["a/b.TXT", "a/z.jsonl", "b.txt"]
    assert list(reader) == ["a/b.TXT", "a/z.jsonl", "b.txt"]


def test_globs_and_files_are_read_in_the_order_they_are_named(tmp_path):
    for name in ["x/2.txt", "x/1.txt", "y/deep/3.txt", "x/other.csv", "we[i]rd.txt"]:
        written(tmp_path / name, f"{name}\n")
    sources = [f"{tmp_path}/we[i]rd.txt", f"{tmp_path}/x/*", f"{tmp_path}/**/3.*", f"{tmp_path}/[y]"]
    assert list(CorpusReader(sources)) == ["we[i]rd.txt", "x/1.txt", "x/2.txt", "y/deep/3.txt", "y/deep/3.txt"]


def test_reading_again_starts_again(tmp_path):
    reader = CorpusReader([written(tmp_path / "c.txt", "甲\n\n乙\n")])
    next(iter(reader))
    assert list(reader) == list(reader) == ["甲", "乙"]
    assert (reader.bytes_read, reader.documents_read, reader.blank) == (9, 2, 1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.txt", "absent.txt: there is no such corpus file or folder. Accepted: UTF-8 text"),
        ("*.jsonl", "no corpus file has such a name"),
        ("empty", "the folder holds no corpus file"),
        ("c.csv", "a corpus file cannot end in '.csv'"),
        ("c.txt.bz2", "a corpus file cannot end in '.bz2'"),
    ],
)
def test_sources_that_hold_nothing_are_refused(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    written(tmp_path / "c.csv", "甲\n")
    written(tmp_path / "c.txt.bz2", "甲\n")
    with pytest.raises(UserError, match=message):
        CorpusReader([f"{tmp_path}/{name}"])


def test_another_separator_is_refused(tmp_path):
    with pytest.raises(UserError, match="Accepted: line, blank-line"):
        CorpusReader([written(tmp_path / "c.txt", "甲\n")], "paragraph")


@pytest.mark.parametrize("content", ["", "\n \n\r\n", "\ufeff", "\u3000"])
@pytest.mark.parametrize("documents", ["line", "blank-line"])
def test_an_empty_corpus_is_refused_at_its_end(tmp_path, content, documents):
    reader = CorpusReader([written(tmp_path / "c.txt", content)], documents)
    with pytest.raises(UserError, match=r"c\.txt: the corpus is empty"):
        list(reader)


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize(
    "before", ["", "\ufeff", "甲\n" * 500_000], ids=["first", "after the mark", "in a later block"]
)
def test_bytes_that_are_not_utf8_are_refused_with_their_place(tmp_path, before, compression):
    content = before.encode() + b"ok \xff\n"
    path = written(tmp_path / f"c.txt{compression}", content)
    with pytest.raises(UserError, match=rf"c\.txt{compression}: byte {content.index(0xFF):,} of the text \(0xff\)"):
        list(CorpusReader([path]))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{not json}", "this is not JSON"),
        ('{"text": "cut', "this is not JSON"),
        ('{"content": "x"}', 'the record has no "text"'),
        ('["text"]', 'the record has no "text"'),
        ('{"text": null}', '"text" is null, not a string'),
        ('{"text": ["甲"]}', "not a string"),
        ('{"text": "\\ud83d"}', "half a surrogate pair"),
        ("[" * 100_000, "this is not JSON"),
        ('{"n": ' + "1" * 5000 + ', "text": "x"}', "this is not JSON"),
    ],
    ids=["braces", "cut", "no text", "list", "null", "text is a list", "surrogate", "deep", "long number"],
)
def test_wrong_records_are_refused_with_file_and_line(tmp_path, line, message):
    path = written(tmp_path / "c.jsonl", as_json(DOCUMENTS) + f"\n{line}\n")
    with pytest.raises(UserError, match=r"c\.jsonl:5: .*" + message):
        list(CorpusReader([path]))


def test_escaped_characters_outside_the_first_plane_are_read(tmp_path):
    path = written(tmp_path / "c.jsonl", '{"text": "\\ud83d\\ude02\\u4e2d"}\n')
    assert list(CorpusReader([path])) == ["😂中"]


@pytest.mark.parametrize("compression", [".gz", ".xz", ".zst"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "garbage"])
def test_damaged_compressed_files_are_refused(tmp_path, compression, damage):
    whole = bytearray(COMPRESS[compression](as_text(f"{n * n}篇" for n in range(20_000)).encode()))
    if damage == "flipped":
        whole[len(whole) // 2] ^= 0xFF
        whole[-6] ^= 0xFF
    content = {"cut": whole[: len(whole) // 2], "flipped": whole, "garbage": b"no compressed data at all"}[damage]
    (tmp_path / f"c.txt{compression}").write_bytes(content)
    with pytest.raises(UserError, match=rf"c\.txt{compression}: the compressed file is damaged or cut short"):
        list(CorpusReader([tmp_path / f"c.txt{compression}"]))


def test_a_line_of_fifty_megabytes_is_read(tmp_path):
    path = written(tmp_path / "c.txt", b"\xe4\xb8\xad" * 17_000_000 + b"\nx")
    long, short = CorpusReader([path])
    assert (len(long), set(long), short) == (17_000_000, {"中"}, "x")


def test_memory_does_not_grow_with_the_corpus(tmp_path):
    path = written(tmp_path / "c.txt.gz", "一篇不长的文章。\n" * 500_000)
    tracemalloc.start()
    try:
        assert sum(1 for _ in CorpusReader([path])) == 500_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 25e6


@pytest.mark.parametrize("lines", [3, 1_200_000])  # one block, and several
def test_the_checksum_of_a_block_knows_every_byte_and_the_order_of_documents(tmp_path, lines):
    line, other = b"abcdefg\n", b"ABCDEFG\n"
    texts = [line + other + line * lines, other + line + line * lines, line + other + line * lines + b"x"]
    texts.append(texts[0][:-2] + b"h\n")
    checksums = []
    for number, text in enumerate(texts):
        file = tmp_path / f"{number}.txt"
        file.write_bytes(text)
        checksums.append([block.checksum for block in CorpusReader([file]).blocks()][-1])
    assert len(set(checksums)) == len(texts)
    (tmp_path / "again.txt").write_bytes(texts[0])
    assert [block.checksum for block in CorpusReader([tmp_path / "again.txt"]).blocks()][-1] == checksums[0]
