"""Packing promises: no token lost, rows of the stated form, UER's own windows."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weixing.data.packing import RowPacker
from weixing.text.tokenizer import Tokenizer
from weixing.text.vocabulary import Vocabulary

CLS, SEP, PAD = 1, 2, 0
DOCUMENTS = st.lists(st.integers(1, 40), min_size=1, max_size=30)


def pack(layout: str, length: int, sizes: list[int], calls: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Rows of documents of these sizes, given to the packer in several calls, and the documents' tokens."""
    values = np.arange(10, 10 + sum(sizes), dtype=np.uint16)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    packer = RowPacker(layout, length, cls=CLS, sep=SEP, pad=PAD)
    parts = []
    for part in np.array_split(np.arange(len(sizes)), calls):
        if len(part):
            cut = offsets[part[0] : part[-1] + 2]
            parts.append(packer.add(values[cut[0] : cut[-1]], cut - cut[0]))
    return np.concatenate([*parts, packer.finish()]), values


@given(DOCUMENTS, st.integers(3, 24), st.integers(1, 4))
@settings(deadline=None)
def test_packed_rows_hold_every_token_once_in_order_and_start_and_end_with_specials(sizes, length, calls):
    rows, values = pack("packed", length, sizes, calls)
    assert np.array_equal(rows[rows > 2], values)
    assert (rows[:, 0] == CLS).all()
    assert (rows[:-1, -1] == SEP).all()
    assert not (rows[:-1] == PAD).any()


@given(DOCUMENTS, st.integers(3, 24))
@settings(deadline=None)
def test_a_cls_inside_packed_rows_marks_exactly_the_pieces_of_documents(sizes, length):
    rows, _ = pack("packed", length, sizes)
    document_of = np.repeat(np.arange(len(sizes)), sizes)
    for row in rows:
        for piece in np.split(row, np.flatnonzero(row == CLS))[1:]:
            tokens = piece[piece > 2]
            assert len(tokens)
            assert len(set(document_of[tokens - 10])) == 1
            assert piece[len(tokens) + 1] == SEP


@given(DOCUMENTS, st.integers(5, 24))
@settings(deadline=None)
def test_rows_do_not_depend_on_how_the_documents_are_divided_among_calls(sizes, length):
    for layout in ("packed", "uer"):
        assert np.array_equal(pack(layout, length, sizes, 1)[0], pack(layout, length, sizes, 3)[0])


@pytest.mark.parametrize("layout", ["packed", "uer"])
def test_flags_above_the_ids_travel_with_their_tokens(layout):
    values = np.arange(10, 40, dtype=np.uint32) | (np.arange(30, dtype=np.uint32) % 2 << 16)
    packer = RowPacker(layout, 8, cls=CLS, sep=SEP, pad=PAD, dtype=np.uint32)
    rows = np.concatenate([packer.add(values, np.array([0, 7, 30])), packer.finish()])
    assert np.array_equal(rows[rows > 2], values)


@given(DOCUMENTS, st.integers(3, 24))
@settings(deadline=None)
def test_uer_layout_cuts_each_line_into_windows_and_pads_the_last(sizes, length):
    rows, values = pack("uer", length, sizes)
    expected, at = [], 0
    for size in sizes:
        line = [CLS, *values[at : at + size], SEP]
        at += size
        line += [PAD] * (-len(line) % length)
        expected += [line[begin : begin + length] for begin in range(0, len(line), length)]
    assert rows.tolist() == expected


def test_uer_layout_gives_the_windows_that_uer_py_wrote(shared: Path):
    fixtures = shared / "fixtures" / "uer"
    expected = []
    with open(fixtures / "mlm_dynamic_seq64.pt", "rb") as stream:  # made by UER-py's preprocess.py; plain lists
        while stream.peek(1):
            (ids, padding), _ = pickle.load(stream)
            expected.append(ids + [0] * padding)
    vocabulary = Vocabulary.read(fixtures / "vocab.txt")
    ids, offsets = Tokenizer(vocabulary).encode_batch(
        (fixtures / "corpus.txt").read_text(encoding="utf-8").splitlines()
    )
    packer = RowPacker("uer", 64, cls=vocabulary.cls_id, sep=vocabulary.sep_id, pad=vocabulary.pad_id)
    assert packer.add(ids.astype(np.uint16), offsets).tolist() == expected
