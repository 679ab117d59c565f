"""A small vocabulary, and a data set as UER-py pickles it."""

from pathlib import Path

import numpy as np
import pytest

from tests.data.uer_datasets import GOLDEN, pickles_of
from weixing.text.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary.read(GOLDEN / "vocab.txt")


@pytest.fixture(scope="module")
def texts(vocabulary) -> list[str]:
    """400 texts of Hanzi, each one token: shorter than a row, as long as one or two with [CLS] and [SEP], longer."""
    hanzi = [token for token in vocabulary.tokens if "\u4e00" <= token <= "\u9fff"]
    random = np.random.default_rng(3)
    lengths = [1, 61, 62, 63, 125, 126, 127, *random.integers(1, 200, 393)]
    return ["".join(random.choice(hanzi, length)) for length in lengths]


@pytest.fixture(scope="module")
def records(vocabulary, texts) -> list[bytes]:
    """The texts as UER-py pickles them."""
    return list(pickles_of([vocabulary.id_of(token) for token in text] for text in texts))


@pytest.fixture(scope="module")
def dataset(records, tmp_path_factory) -> Path:
    """A dataset file of them, some 130 kB."""
    file = tmp_path_factory.mktemp("uer") / "mlm_dynamic.pt"
    file.write_bytes(b"".join(records))
    return file
