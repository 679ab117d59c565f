"""Reading UER-py's datasets promises: the rows that made them, exactly, or an error that names the place."""

import io
import os
import pickle
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weixing.data import uer_dataset
from weixing.data.prepare import prepare
from weixing.data.shards import ShardSet
from weixing.data.uer_dataset import UerDataset, prepare_from_uer
from weixing.errors import UserError
from weixing.text.vocabulary import Vocabulary

GOLDEN = Path(__file__).parents[1] / "golden" / "uer"
DATASET = GOLDEN / "mlm_dynamic_seq64.pt"  # made by UER-py
CLS, SEP, MASK = 101, 102, 103


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary.read(GOLDEN / "vocab.txt")


@pytest.fixture(scope="module")
def golden_bytes() -> bytes:
    return DATASET.read_bytes()


def rows_of(vocabulary: Vocabulary, *files: Path) -> np.ndarray:
    return np.concatenate([block.copy() for block in UerDataset(files, vocabulary)])


def written(folder: Path, *records: object, protocol: int = 4) -> Path:
    file = folder / "dataset.pt"
    file.write_bytes(b"".join(pickle.dumps(record, protocol) for record in records))
    return file


def refusal(vocabulary: Vocabulary, file: Path) -> str:
    with pytest.raises(UserError) as error:
        rows_of(vocabulary, file)
    return str(error.value)


class Plain(pickle._Unpickler):  # in Python: its memo is a dictionary, whatever the index
    """An unpickler that makes nothing but plain values: what a record means, if it means anything."""

    def find_class(self, module: str, name: str) -> object:
        raise pickle.UnpicklingError(name)


def meaning(content: bytes, sequence_length: int) -> list[list[int]]:
    """The rows of a dataset as Python's own unpickler and the rules of the record's forms have them."""
    stream, rows = io.BytesIO(content), []
    while stream.tell() < len(content):
        first, *targets, [length] = Plain(stream).load()
        src = first[0] + first[1] * [0] if isinstance(first, tuple) else first
        for position, original in targets[0] if targets else []:
            src[position] = original
        assert len(src) == sequence_length
        assert not any(src[length:])
        if length:
            rows.append(src)
    return rows


def test_the_dataset_that_uer_made_holds_the_rows_that_python_reads_from_it(vocabulary, golden_bytes):
    rows = rows_of(vocabulary, DATASET)
    assert rows.shape == (868, 64)
    assert rows.tolist() == meaning(golden_bytes, 64)
    assert rows[0, :4].tolist() == [101, 536, 720, 100]
    assert (rows[:, 0] == CLS).sum() == (rows == CLS).sum() == 400


def test_the_dataset_that_uer_made_equals_our_own_rows_of_its_corpus(shared, vocabulary, tmp_path):
    corpus = shared / "fixtures" / "uer" / "corpus.txt"
    ours = prepare([corpus], tmp_path / "ours", vocabulary=vocabulary, layout="uer", sequence_length=64)
    theirs = prepare_from_uer([DATASET], tmp_path / "theirs", vocabulary=vocabulary)
    files = [(tmp_path / name / "rows-00000.bin").read_bytes() for name in ("ours", "theirs")]
    assert files[0] == files[1]
    assert (ours.rows, ours.tokens, ours.documents) == (theirs.rows, theirs.tokens, theirs.documents)


def test_shards_hold_the_rows_and_the_manifest_says_what_they_are(vocabulary, tmp_path):
    done = prepare_from_uer([DATASET, DATASET], tmp_path / "out", vocabulary=vocabulary, sequence_length=64)
    shards = ShardSet(tmp_path / "out")
    rows = rows_of(vocabulary, DATASET)
    assert np.array_equal(shards.rows(np.arange(len(shards))), np.concatenate([rows, rows]))
    manifest = shards.manifest
    assert (manifest.layout, manifest.sequence_length, manifest.sources) == ("uer", 64, (str(DATASET),) * 2)
    assert manifest.rows == done.rows == 2 * 868
    assert manifest.tokens == done.tokens == 2 * np.count_nonzero(rows)
    assert manifest.documents == done.documents == 800
    assert manifest.bytes_in == done.bytes_in == 2 * DATASET.stat().st_size
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
def test_pieces_of_any_size_give_the_same_rows(vocabulary, monkeypatch, piece):
    whole = rows_of(vocabulary, DATASET)
    monkeypatch.setattr(uer_dataset, "PIECE_BYTES", piece)
    monkeypatch.setattr(uer_dataset, "ROW_BYTES", 1_000)
    assert np.array_equal(rows_of(vocabulary, DATASET), whole)


def test_memory_does_not_grow_with_the_file(vocabulary, golden_bytes, tmp_path):
    rows_of(vocabulary, DATASET)
    peaks = []
    for copies in (50, 200):
        (tmp_path / "long.pt").write_bytes(golden_bytes * copies)
        tracemalloc.start()
        count = sum(len(block) for block in UerDataset([tmp_path / "long.pt"], vocabulary))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert count == 868 * copies
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
def test_bombs_are_refused_at_once_and_without_room_for_them(vocabulary, tmp_path, content, named):
    rows_of(vocabulary, DATASET)
    (tmp_path / "bomb.pt").write_bytes(content)
    dataset = UerDataset([tmp_path / "bomb.pt"], vocabulary)
    began = time.monotonic()
    tracemalloc.start()
    with pytest.raises(UserError, match=named):
        list(dataset)
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("cut", [1, 2, 100, 30_000])
def test_a_truncated_file_is_named_with_record_and_byte(vocabulary, golden_bytes, tmp_path, cut):
    file = tmp_path / "cut.pt"
    file.write_bytes(golden_bytes[:-cut])
    message = refusal(vocabulary, file)
    assert f"cut.pt: the file ends at byte {len(golden_bytes) - cut:,}, inside record" in message


@pytest.mark.parametrize("sequence_length", [128, 2, -1, 10**9])
def test_another_sequence_length_than_the_one_asked_for(vocabulary, tmp_path, sequence_length):
    with pytest.raises(UserError, match="--seq-length"):
        prepare_from_uer([DATASET], tmp_path / "out", vocabulary=vocabulary, sequence_length=sequence_length)
    assert list(tmp_path.iterdir()) == []


def test_files_of_two_sequence_lengths(vocabulary, tmp_path):
    file = written(tmp_path, (([CLS, 500, SEP], 3), [3]))
    with pytest.raises(UserError, match=r"dataset\.pt: record 1.*6, not 64 as the first record says"):
        prepare_from_uer([DATASET, file], tmp_path / "out", vocabulary=vocabulary)
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


def check_untrusted(content: bytes, folder: Path, vocabulary: Vocabulary) -> None:
    """A dataset of these bytes is read in a moment, as Python reads it, or refused with a UserError."""
    file = folder / "untrusted.pt"
    file.write_bytes(content)
    dataset = UerDataset([file], vocabulary)
    began = time.monotonic()
    try:
        rows = [row for block in dataset for row in block.tolist()]
    except UserError:
        rows = None
    assert time.monotonic() - began < 5
    assert rows is None or rows == meaning(content, dataset.sequence_length or 0)


positions = st.integers(0, 10**9)
edits = st.lists(st.tuples(positions, st.sampled_from(["set", "insert", "delete", "copy"]), st.integers(0, 255)))


@settings(deadline=None, max_examples=400)
@given(start=positions, edits=edits)
def test_mutated_datasets_are_read_rightly_or_refused(tmp_path_factory, vocabulary, golden_bytes, start, edits):
    ends = [end + 1 for end in range(len(golden_bytes)) if golden_bytes[end : end + 3] == b".\x80\x04"]
    first = start % (len(ends) - 4)
    content = bytearray(golden_bytes[ends[first] : ends[first + 3]])
    for position, edit, byte in edits:
        at = position % max(1, len(content))
        if edit == "set":
            content[at : at + 1] = bytes([byte])
        elif edit == "insert":
            content[at:at] = bytes([byte])
        elif edit == "delete":
            del content[at : at + 1 + byte % 4]
        else:
            content[at:at] = content[at : at + byte]
    check_untrusted(bytes(content), tmp_path_factory.getbasetemp(), vocabulary)


fragments = st.sampled_from(
    [
        b"]",
        b"(",
        b"a",
        b"e",
        b"K\x05",
        b"K\x02",
        b"K\x65",
        b"M\x05\x02",
        b"J\x05\x00\x00\x00",
        b"\x86",
        b"\x87",
        b"\x94",
    ]
    + [b"q\x00", b"r\x01\x00\x00\x00", b"h\x00", b"0", b"2", b"t", b"1", b".", b".\x80\x04", b"R", b"c", b"\x93", b"b"]
    + [b"\x86a", b"](K\x65K\x05K\x06e", b"K\x00\x86", b"]K\x03a", b"](K\x01K\x07\x86K\x02K\x08\x86e", b"](K\x65K\x00e"]
    + [b"\x95" + size.to_bytes(8, "little") for size in (2, 9, 30)]
)


@settings(deadline=None, max_examples=1_000)
@given(stream=st.lists(st.one_of(fragments, fragments, st.binary(max_size=2)), max_size=30))
def test_random_opcodes_are_read_rightly_or_refused(tmp_path_factory, vocabulary, stream):
    check_untrusted(b"\x80\x04" + b"".join(stream), tmp_path_factory.getbasetemp(), vocabulary)


ids = st.integers(1, 1027)
windows = st.lists(ids, min_size=1, max_size=12)


@st.composite
def datasets(draw) -> list[object]:
    """Records of all forms, of one sequence length."""
    sequence_length, made = draw(st.integers(3, 12)), []
    for src in draw(st.lists(windows, min_size=1, max_size=6)):
        src = src[:sequence_length]
        padding, length = sequence_length - len(src), [len(src)]
        first = draw(st.sampled_from([(src, padding), src + padding * [0]]))
        places = draw(st.lists(st.integers(0, len(src) - 1), unique=True))
        targets = [(place, draw(ids)) for place in places]
        made.append(draw(st.sampled_from([(first, length), (first, targets, length)])))
    return made


@settings(deadline=None)
@given(records=datasets(), protocol=st.integers(2, 5))
def test_any_records_are_read_as_python_reads_them(tmp_path_factory, vocabulary, records, protocol):
    file = written(tmp_path_factory.getbasetemp(), *records, protocol=protocol)
    rows = rows_of(vocabulary, file).tolist()
    assert rows == meaning(file.read_bytes(), len(rows[0]))
