"""prepare promises: whole folders of the stated form, the same for any number of workers, nothing after a failure."""

import errno
import gzip
import json
import lzma
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest

from weixing.data.prepare import prepare
from weixing.data.shard_writer import ShardWriter
from weixing.data.shards import ShardSet
from weixing.data.words import WordBorders
from weixing.errors import UserError
from weixing.files import sha256_of
from weixing.text.corpus import CorpusReader
from weixing.text.tokenizer import Tokenizer
from weixing.text.vocabulary import load_vocabulary


def test_shards_hold_the_corpus_and_the_manifest_says_what_they_are(tiny_corpus, tiny_vocabulary, tmp_path):
    done = prepare([tiny_corpus], tmp_path / "out", vocabulary=tiny_vocabulary, sequence_length=32)
    shards = ShardSet(tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    documents = tiny_corpus.read_text(encoding="utf-8").splitlines()
    rows = np.fromfile(tmp_path / "out" / manifest["shards"][0]["file"], "<u2").reshape(-1, 32)

    expected = [i for document in documents for i in Tokenizer(tiny_vocabulary).encode(document)]
    assert rows[rows >= 104].tolist() == expected
    assert np.array_equal(shards.rows(np.arange(len(shards))), rows)
    assert manifest["rows"] == done.rows == len(rows)
    assert manifest["tokens"] == done.tokens == (rows != tiny_vocabulary.pad_id).sum()
    assert manifest["documents"] == done.documents == len(documents)
    assert done.bytes_in == tiny_corpus.stat().st_size
    assert manifest["vocabulary_sha256"] == tiny_vocabulary.sha256
    assert manifest["shards"][0]["sha256"] == sha256_of(tmp_path / "out" / manifest["shards"][0]["file"])


@pytest.fixture
def mixed_corpus(tmp_path, tiny_corpus):
    """The tiny corpus as plain and compressed text with blank lines, and as JSON lines."""
    lines = tiny_corpus.read_text(encoding="utf-8").splitlines()
    spaced = "".join(line + ("\n", "\r\n", "\n\n", "\n \u3000\n", "\n\u200b\n")[i % 5] for i, line in enumerate(lines))
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "a.txt").write_bytes(("\ufeff" + spaced).encode())
    (folder / "b.txt.xz").write_bytes(lzma.compress(spaced.encode()))
    (folder / "c.txt.gz").write_bytes(gzip.compress(spaced.encode()))
    (folder / "d.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in lines), encoding="utf-8")
    return folder


@pytest.mark.parametrize("documents", ["line", "blank-line"])
@pytest.mark.parametrize("layout", ["packed", "uer"])
def test_any_number_of_workers_and_any_blocks_give_the_same_bytes(
    mixed_corpus, tiny_vocabulary, tmp_path, layout, documents, monkeypatch
):
    made = []
    for workers, block_bytes in ((1, 1 << 20), (1, 500), (2, 500), (5, 3_000)):
        monkeypatch.setattr("weixing.text.corpus.BLOCK_BYTES", block_bytes)
        prepare([mixed_corpus], tmp_path / "out", vocabulary=tiny_vocabulary, sequence_length=32,
                layout=layout, documents=documents, workers=workers, overwrite=True)  # fmt: skip
        made.append({file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()})
    assert made[0].keys() == {"rows-00000.bin", "manifest.json", "vocab.txt"}
    assert all(files == made[0] for files in made)


@pytest.mark.parametrize("documents", ["line", "blank-line"])
def test_rows_hold_the_documents_that_the_reader_gives_as_strings(mixed_corpus, tiny_vocabulary, tmp_path, documents):
    done = prepare([mixed_corpus], tmp_path / "out", vocabulary=tiny_vocabulary, sequence_length=16, layout="uer",
                   documents=documents)  # fmt: skip
    tokenizer, expected = Tokenizer(tiny_vocabulary), []
    texts = [ids for text in CorpusReader([mixed_corpus], documents) if (ids := tokenizer.encode(text))]
    for ids in texts:
        line = [tiny_vocabulary.cls_id, *ids, tiny_vocabulary.sep_id]
        expected += line + [tiny_vocabulary.pad_id] * (-len(line) % 16)
    shards = ShardSet(tmp_path / "out")
    assert shards.rows(np.arange(len(shards))).ravel().tolist() == expected
    assert done.documents == len(texts)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("whole_words", [False, True])
def test_bytes_that_are_not_utf8_are_named_by_any_worker(tmp_path, tiny_vocabulary, monkeypatch, workers, whole_words):
    if whole_words:
        pytest.importorskip("jieba")
    monkeypatch.setattr("weixing.text.corpus.BLOCK_BYTES", 100)
    good = "\ufeff一二三四五六七八九十。\n".encode() * 50
    (tmp_path / "a.txt").write_bytes(good)
    (tmp_path / "b.txt").write_bytes(good + b"ab\xe4\xb8\n" + good)
    with pytest.raises(UserError, match=rf"b\.txt: byte {len(good) + 2:,} of the text \(0xe4\) is not UTF-8"):
        prepare([tmp_path / "a.txt", tmp_path / "b.txt"], tmp_path / "out", vocabulary=tiny_vocabulary,
                workers=workers, whole_words=whole_words)  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b.txt"]


def test_rows_are_found_again_across_many_shards(tiny_vocabulary, tmp_path):
    rows = np.random.default_rng(0).integers(104, 400, (100, 16)).astype(np.uint16)
    flags = rows % 3 == 0
    writer = ShardWriter(tmp_path, 16, words=True, shard_bytes=7 * 32)
    for part, flag in zip(np.array_split(rows, 9), np.array_split(flags, 9), strict=True):
        writer.write(part, flag)
    shards = writer.close()
    assert sum(shard.rows for shard in shards) == 100
    assert len(shards) == 15
    joined = np.concatenate([np.fromfile(tmp_path / shard.file, "<u2") for shard in shards])
    assert np.array_equal(joined.reshape(-1, 16), rows)


def words_of(*texts: str) -> list[list[str]]:
    """The words of each text, put together from tokens and flags."""
    tokenizer = Tokenizer(load_vocabulary("builtin"))
    ids, offsets = tokenizer.encode_batch(texts)
    flags = WordBorders(tokenizer)(texts, ids, offsets)
    words: list[list[str]] = []
    for start, stop in pairwise(offsets):
        words.append([])
        for token, continues in zip(tokenizer.convert_ids_to_tokens(ids[start:stop]), flags[start:stop], strict=True):
            if continues:
                words[-1][-1] += token.removeprefix("##")
            else:
                words[-1].append(token)
    return words


def test_word_borders_are_those_of_jieba():
    pytest.importorskip("jieba")
    text = "北京大学的学生喜欢playing足球，也喜欢人工智能。"
    expected = ["北京大学", "的", "学生", "喜欢", "playing", "足球", "，", "也", "喜欢", "人工智能", "。"]
    assert words_of(text) == [expected]


@pytest.mark.parametrize(
    ("foreign", "its_words"),
    [("カタカナ", ["カタカナ"]), ("café", ["cafe"]), ("cafe\u0301", ["cafe"]), ("naïve-ß2", None), ("\u200b \t", [])],
)
def test_what_jieba_and_the_tokenizer_cut_differently_leaves_the_words_around_it_whole(foreign, its_words):
    pytest.importorskip("jieba")
    before, after = "人工智能和", "，北京大学"
    (words, nothing, alone) = words_of(before + foreign + after, "", "北京大学")
    assert words[:2] == ["人工智能", "和"]
    assert words[-2:] == ["，", "北京大学"]
    assert its_words is None or words[2:-2] == its_words
    assert (nothing, alone) == ([], ["北京大学"])


def test_whole_words_are_stored_beside_the_rows(tmp_path):
    pytest.importorskip("jieba")
    (tmp_path / "corpus.txt").write_text("我们今天去北京大学。\n明天天气很好。\n", encoding="utf-8")
    vocabulary = load_vocabulary("builtin")
    prepare([tmp_path / "corpus.txt"], tmp_path / "out", vocabulary=vocabulary, sequence_length=16, whole_words=True)
    shards = ShardSet(tmp_path / "out")
    everything = np.arange(len(shards))
    rows, flags = shards.rows(everything), shards.continues_word(everything)
    assert flags.shape == rows.shape
    specials = np.isin(rows, [vocabulary.cls_id, vocabulary.sep_id, vocabulary.pad_id])
    assert not (flags & specials).any()
    prepare([tmp_path / "corpus.txt"], tmp_path / "two", vocabulary=vocabulary, sequence_length=16, whole_words=True,
            workers=2)  # fmt: skip
    assert (tmp_path / "two" / "words-00000.bin").read_bytes() == (tmp_path / "out" / "words-00000.bin").read_bytes()
    assert flags[0, :7].tolist() == [False, False, True, False, True, False, False]  # [CLS] 我们 今天 去 北…


def test_memory_does_not_grow_with_the_corpus(tiny_vocabulary, tmp_path, monkeypatch):
    monkeypatch.setattr("weixing.text.corpus.BLOCK_BYTES", 60_000)
    line = "".join(tiny_vocabulary.tokens[104:204]) + "\n"
    peaks = []
    for lines in (4_000, 40_000):
        with lzma.open(tmp_path / f"{lines}.txt.xz", "wt", encoding="utf-8", preset=0) as stream:
            stream.writelines(line for _ in range(lines))
        tracemalloc.start()
        prepare([tmp_path / f"{lines}.txt.xz"], tmp_path / f"out{lines}", vocabulary=tiny_vocabulary)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0] + 1e6


def test_a_full_disk_leaves_nothing_behind(tiny_corpus, tiny_vocabulary, tmp_path, monkeypatch):
    def no_space(self, rows, continues_word=None):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ShardWriter, "write", no_space)
    with pytest.raises(OSError, match="No space"):
        prepare([tiny_corpus], tmp_path / "out", vocabulary=tiny_vocabulary)
    assert list(tmp_path.iterdir()) == []


def test_existing_shards_are_kept_unless_told_otherwise_and_other_folders_always(
    tiny_corpus, tiny_vocabulary, tmp_path
):
    prepare([tiny_corpus], tmp_path / "out", vocabulary=tiny_vocabulary, sequence_length=32)
    with pytest.raises(UserError, match="exists already"):
        prepare([tiny_corpus], tmp_path / "out", vocabulary=tiny_vocabulary)
    prepare([tiny_corpus], tmp_path / "out", vocabulary=tiny_vocabulary, overwrite=True)
    assert ShardSet(tmp_path / "out").manifest.sequence_length == 128
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "precious").write_text("x")
    with pytest.raises(UserError, match="never replaced"):
        prepare([tiny_corpus], tmp_path / "other", vocabulary=tiny_vocabulary, overwrite=True)
    assert (tmp_path / "other" / "precious").exists()


@pytest.mark.parametrize("damage", ["truncate", "alter", "remove", "vocabulary", "manifest"])
def test_damaged_shards_are_refused(tiny_corpus, tiny_vocabulary, tmp_path, damage):
    folder = tmp_path / "out"
    prepare([tiny_corpus], folder, vocabulary=tiny_vocabulary, sequence_length=32)
    rows = folder / "rows-00000.bin"
    if damage == "truncate":
        rows.write_bytes(rows.read_bytes()[:-10])
    elif damage == "alter":
        rows.write_bytes(b"\x01" + rows.read_bytes()[1:])
    elif damage == "remove":
        rows.unlink()
    elif damage == "vocabulary":
        text = (folder / "vocab.txt").read_text(encoding="utf-8")
        (folder / "vocab.txt").write_text(text + "新\n", encoding="utf-8")
    else:
        (folder / "manifest.json").unlink()
    with pytest.raises(UserError, match={"truncate": "truncated", "alter": "altered", "remove": "missing",
                                         "vocabulary": "vocabulary", "manifest": "manifest"}[damage]):  # fmt: skip
        ShardSet(folder)
