"""Reading UER-py's datasets promises: the rows that made them, exactly, or an error that names the place."""

import os
import pickle
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from tests.data.uer_datasets import (
    CLS,
    MASK,
    SEP,
    meaning,
    pickles_of,
    refusal,
    require_equal,
    rows_of,
    written,
)
from weixing.data import uer_dataset
from weixing.data.shards import ShardSet
from weixing.data.uer_dataset import UerDataset, prepare_from_uer
from weixing.errors import UserError
from weixing.text.tokenizer import Tokenizer


def test_the_dataset_that_uer_made_holds_the_rows_that_python_and_our_own_preparation_have(
    shared, vocabulary, tmp_path
):
    fixtures = shared / "fixtures" / "uer"
    dataset = fixtures / "mlm_dynamic_seq64.pt"
    rows = rows_of(vocabulary, dataset)
    assert rows.shape == (868, 64)
    assert rows.tolist() == meaning(dataset.read_bytes(), 64)
    assert (rows[:, 0] == CLS).sum() == (rows == CLS).sum() == 400
    assert require_equal(fixtures / "corpus.txt", dataset, vocabulary, tmp_path) == 868


def test_the_datasets_of_these_tests_are_in_the_form_that_uer_writes_byte_for_byte(shared, vocabulary):
    fixtures, tokenizer = shared / "fixtures" / "uer", Tokenizer(vocabulary)
    lines = (fixtures / "corpus.txt").read_text(encoding="utf-8").splitlines()
    made = b"".join(pickles_of(tokenizer.encode(line) for line in lines))
    assert made == (fixtures / "mlm_dynamic_seq64.pt").read_bytes()


def test_a_dataset_holds_the_rows_that_python_reads_from_it(vocabulary, dataset, records, texts):
    rows = rows_of(vocabulary, dataset)
    assert rows.shape == (len(records), 64)
    assert rows.tolist() == meaning(dataset.read_bytes(), 64)
    assert (rows[:, 0] == CLS).sum() == (rows == CLS).sum() == len(texts)
    assert np.count_nonzero(rows) == sum(len(text) + 2 for text in texts)


def test_a_dataset_equals_our_own_rows_of_its_corpus(vocabulary, dataset, records, texts, tmp_path):
    (tmp_path / "corpus.txt").write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    assert require_equal(tmp_path / "corpus.txt", dataset, vocabulary, tmp_path) == len(records)


def test_shards_hold_the_rows_and_the_manifest_says_what_they_are(vocabulary, dataset, records, texts, tmp_path):
    done = prepare_from_uer([dataset, dataset], tmp_path / "out", vocabulary=vocabulary, sequence_length=64)
    shards = ShardSet(tmp_path / "out")
    rows = rows_of(vocabulary, dataset)
    assert np.array_equal(shards.rows(np.arange(len(shards))), np.concatenate([rows, rows]))
    manifest = shards.manifest
    assert (manifest.layout, manifest.sequence_length, manifest.sources) == ("uer", 64, (str(dataset),) * 2)
    assert manifest.rows == done.rows == 2 * len(records)
    assert manifest.tokens == done.tokens == 2 * np.count_nonzero(rows)
    assert manifest.documents == done.documents == 2 * len(texts)
    assert manifest.bytes_in == done.bytes_in == 2 * dataset.stat().st_size
    assert done.seconds_tokenizing == 0


WINDOW = [CLS, *range(500, 520), SEP]
MASKED = [CLS, 500, MASK, *range(502, 507), 321, *range(508, 519), 519, SEP]
TARGETS = [(2, 501), (8, 507), (20, 519)]  # masked, replaced, kept


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "record",
    [
        ((WINDOW, 2), [22]),
        ((MASKED, 2), TARGETS, [22]),
        ([*WINDOW, 0, 0], [22]),
        ([*MASKED, 0, 0], TARGETS[::-1], [22]),  # before September 2020 targets came unsorted
    ],
    ids=["dynamic", "static", "older dynamic", "older static"],
)
def test_each_form_and_protocol_gives_the_original_ids_back(vocabulary, tmp_path, record, protocol):
    file = written(tmp_path, record, record, protocol=protocol)
    assert rows_of(vocabulary, file).tolist() == 2 * [[*WINDOW, 0, 0]]


def test_records_without_targets_or_without_text(vocabulary, tmp_path):
    file = written(tmp_path, (([CLS, SEP], 1), [], [2]), ((WINDOW[:3], 0), [], [3]), ([0, 0, 0], [0]), (([], 3), [0]))
    assert rows_of(vocabulary, file).tolist() == [[CLS, SEP, 0], WINDOW[:3]]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_lists_that_pickle_writes_in_batches(vocabulary, tmp_path, protocol):
    """More than 1,000 items, and 1,001, whose last one comes by APPEND; frames of 64 kB end inside such records."""
    originals = np.random.default_rng(2).integers(104, 1028, (40, 3001)).tolist()
    records = [
        (([0xFFFF if i % 2 else MASK for i in range(2002)] + row[2002:], 1095), list(enumerate(row[:2002])), [3001])
        for row in originals
    ]
    records += [((row[:1001], 3095), [1001]) for row in originals]
    file = written(tmp_path, *records, protocol=protocol)
    expected = [row + [0] * 1095 for row in originals] + [row[:1001] + [0] * 3095 for row in originals]
    assert rows_of(vocabulary, file).tolist() == expected


@pytest.mark.parametrize("piece", [700, 1_000, 4_099])
def test_pieces_of_any_size_give_the_same_rows(vocabulary, dataset, monkeypatch, piece):
    whole = rows_of(vocabulary, dataset)
    monkeypatch.setattr(uer_dataset, "PIECE_BYTES", piece)
    monkeypatch.setattr(uer_dataset, "ROW_BYTES", 1_000)
    assert np.array_equal(rows_of(vocabulary, dataset), whole)


def test_memory_does_not_grow_with_the_file(vocabulary, dataset, records, tmp_path):
    rows_of(vocabulary, dataset)  # compiled now
    peaks = []
    for copies in (50, 200):
        (tmp_path / "long.pt").write_bytes(dataset.read_bytes() * copies)
        tracemalloc.start()
        count = sum(len(block) for block in UerDataset([tmp_path / "long.pt"], vocabulary))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert count == len(records) * copies
    assert peaks[1] < peaks[0] + 1e5 < 10e6


OTHERS = {
    "bert, static": ((([CLS, 500, SEP], 3), [(1, 501)], 1, [2, 3]), "TUPLE comes"),
    "bert, dynamic": ((([CLS, 500, SEP], 3), 1, [2, 3]), "TUPLE3 comes"),
    "cls_mlm": ((([CLS, MASK, SEP], 3), [(1, 500)], 0, [3]), "TUPLE comes"),
    "cls": ((([CLS, 500, SEP], 3), 0, [3]), "TUPLE3 comes"),
    "lm": (((list(range(200, 206)), 0), [5]), "length that it states"),
    "bilm": ((([500, 501], 4), [501, SEP], [CLS, 500], [2]), "TUPLE comes"),
    "mt": ((([CLS, 500, SEP], 3), ([500, SEP], 4), [3]), "TUPLE3 comes"),
    "prefixlm": ((([CLS, 500, SEP], 3), [0, 500, SEP], [1, 3]), "TUPLE3 comes"),
    "older lm": ((([CLS, 500, SEP], 3), 3), "TUPLE2 comes"),
    "an image": ((([CLS], 5), [1], "cat.jpg"), "SHORT_BINUNICODE comes"),
    "a dictionary": ({"ids": [1]}, "EMPTY_DICT comes"),
    "a number": (7, "STOP comes"),
    "a negative id": ((([CLS, -1, SEP], 3), [3]), "BININT comes"),
    "a true flag": ((([CLS, True, SEP], 3), [3]), "NEWTRUE comes"),
    "no length": ((([CLS, 500, SEP], 3), []), "TUPLE2 comes"),
    "a wrong length": ((([CLS, 500, SEP], 3), [4]), "length that it states"),
    "text after the length": (([CLS, 500, SEP, 0, 0, 0], [2]), "length that it states"),
    "a target out of place": ((([CLS, 500, SEP], 3), [(3, 500)], [3]), "a target"),
    "two targets in one place": ((([CLS, 500, SEP], 3), [(1, 500), (1, 501)], [3]), "a target"),
    "another sequence length": ((([CLS, 500, SEP], 4), [3]), "sequence length is 7, not 6"),
    "an id beyond the vocabulary": ((([CLS, 1028, SEP], 3), [3]), "id 1,028 is beyond"),
    "an original id beyond the vocabulary": ((([CLS, MASK, SEP], 3), [(1, 99_999)], [3]), "id 99,999 is beyond"),
    "a large number": ((([CLS, 2**31, SEP], 3), [3]), "LONG1 comes"),
    "a shared list": ((lambda one: ((one, 3), one))([3, 3, 3]), "BINGET comes"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_anything_else_is_refused_with_its_place(vocabulary, tmp_path, name):
    record, named = OTHERS[name]
    good = (([CLS, 500, SEP], 3), [3])
    message = refusal(vocabulary, written(tmp_path, good, good, record))
    assert named in message
    assert "dataset.pt: record 3" in message
    assert f"byte {2 * len(pickle.dumps(good, 4))}" in message


class Calls:
    """A value whose pickle calls os.system."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.file}",)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_calls_something_is_refused_and_nothing_is_called(vocabulary, tmp_path, protocol):
    victim = tmp_path / "called"
    for record in (Calls(victim), (([CLS, Calls(victim), SEP], 0), [3])):
        message = refusal(vocabulary, written(tmp_path, record, protocol=protocol))
        assert "record 1" in message
        assert not victim.exists()
    pickle.loads(pickle.dumps(Calls(victim), protocol))
    assert victim.exists()  # it would have


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"\x80\x04]r\xff\xff\xff\x7f.", "LONG_BINPUT"),  # a memo of 2³¹ entries
        (b"\x80\x02]q\x01.", "BINPUT"),
        (b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f].", "the file ends"),  # a frame of 2⁶³ bytes
        (b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xff].", "frame"),
        (b"\x80\x04" + b"(" * 1_000_000, "MARK"),  # deep
        (b"\x80\x04" + b"]" * 1_000_000, "EMPTY_LIST"),
        (b"\x80\x04](" + b"K\x00" * 1_000_000, "12,290 numbers"),
        (b"\x80\x04]" + b"\x94" * 9_000_000, "no end within"),
        (b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f", "BINUNICODE8"),  # a string of 2⁶³ bytes
        (b"\x80\x06].", "PROTO"),
        (b"PK\x03\x04", "PROTO"),
        (b"\x00", "the file ends"),
        (b"\x80", "the file ends"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value,
)
def test_bombs_are_refused_at_once_and_without_room_for_them(vocabulary, dataset, tmp_path, content, named):
    rows_of(vocabulary, dataset)  # compiled now
    (tmp_path / "bomb.pt").write_bytes(content)
    bomb = UerDataset([tmp_path / "bomb.pt"], vocabulary)
    began = time.monotonic()
    tracemalloc.start()
    with pytest.raises(UserError, match=named):
        list(bomb)
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("cut", [1, 2, 100, 30_000])
def test_a_truncated_file_is_named_with_record_and_byte(vocabulary, dataset, records, tmp_path, cut):
    file, content = tmp_path / "cut.pt", dataset.read_bytes()[:-cut]
    file.write_bytes(content)
    ends = np.cumsum([0, *map(len, records)])
    record = int(np.searchsorted(ends, len(content)))
    assert (
        f"cut.pt: the file ends at byte {len(content):,}, inside record {record:,} from byte {ends[record - 1]:,}"
        in refusal(vocabulary, file)
    )


@pytest.mark.parametrize("sequence_length", [128, 2, -1, 10**9])
def test_another_sequence_length_than_the_one_asked_for(vocabulary, dataset, tmp_path, sequence_length):
    with pytest.raises(UserError, match="--seq-length"):
        prepare_from_uer([dataset], tmp_path / "out", vocabulary=vocabulary, sequence_length=sequence_length)
    assert list(tmp_path.iterdir()) == []


def test_files_of_two_sequence_lengths(vocabulary, dataset, tmp_path):
    file = written(tmp_path, (([CLS, 500, SEP], 3), [3]))
    with pytest.raises(UserError, match=r"dataset\.pt: record 1.*6, not 64 as the first record says"):
        prepare_from_uer([dataset, file], tmp_path / "out", vocabulary=vocabulary)
    assert list(tmp_path.iterdir()) == [file]


def test_a_dataset_without_cls_was_made_with_another_vocabulary(vocabulary, tmp_path):
    file = written(tmp_path, (([600, 500, 601], 3), [3]))
    with pytest.raises(UserError, match=r"no record holds \[CLS\]"):
        prepare_from_uer([file], tmp_path / "out", vocabulary=vocabulary)


def test_files_that_hold_nothing_or_are_none(vocabulary, tmp_path):
    (tmp_path / "empty.pt").touch()
    for source, named in ((tmp_path / "empty.pt", "no text"), (tmp_path, "not a file"), (tmp_path / "a.pt", "no such")):
        with pytest.raises(UserError, match=named):
            prepare_from_uer([source], tmp_path / "out", vocabulary=vocabulary)
