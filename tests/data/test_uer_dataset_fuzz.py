"""UER-py data sets with any bytes in them: read as Python reads them, or refused."""

import time
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.uer_datasets import (
    meaning,
    rows_of,
    written,
)
from weixing.data.uer_dataset import UerDataset
from weixing.errors import UserError
from weixing.text.vocabulary import Vocabulary


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
def test_mutated_datasets_are_read_rightly_or_refused(tmp_path_factory, vocabulary, records, start, edits):
    first = start % (len(records) - 2)
    content = bytearray(b"".join(records[first : first + 3]))
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
