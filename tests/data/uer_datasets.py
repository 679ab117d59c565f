"""Data sets in the form that UER-py pickles them, made of the tests' own text; helpers and fixtures."""

import io
import pickle
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from weixing.data.prepare import prepare
from weixing.data.uer_dataset import UerDataset, prepare_from_uer
from weixing.errors import UserError
from weixing.text.vocabulary import Vocabulary

GOLDEN = Path(__file__).parents[1] / "golden" / "uer"
CLS, SEP, MASK = 101, 102, 103
SEQUENCE_LENGTH = 64


def pickles_of(documents: Iterable[list[int]]) -> Iterator[bytes]:
    """Each record that UER-py's preprocess.py --dynamic_masking --data_processor mlm writes of documents of ids."""
    for ids in documents:
        ids = [CLS, *ids, SEP]
        for begin in range(0, len(ids), SEQUENCE_LENGTH):
            src = ids[begin : begin + SEQUENCE_LENGTH]
            yield pickle.dumps(((src, SEQUENCE_LENGTH - len(src)), [len(src)]), protocol=4)


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


def require_equal(corpus: Path, dataset: Path, vocabulary: Vocabulary, folder: Path) -> int:
    """The number of rows, which must be the same of a corpus that is prepared here and of UER-py's dataset of it."""
    ours = prepare([corpus], folder / "ours", vocabulary=vocabulary, layout="uer", sequence_length=SEQUENCE_LENGTH)
    theirs = prepare_from_uer([dataset], folder / "theirs", vocabulary=vocabulary)
    files = [(folder / name / "rows-00000.bin").read_bytes() for name in ("ours", "theirs")]
    assert files[0] == files[1]
    assert (ours.rows, ours.tokens, ours.documents) == (theirs.rows, theirs.tokens, theirs.documents)
    return theirs.rows
