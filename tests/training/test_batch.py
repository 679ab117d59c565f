"""A batch promises that a real token sees the real tokens of its own document and nothing else; most need no mask."""

import numpy as np
import pytest
import torch

from weixing.data.masking import Masking
from weixing.training.batch import Batch, BatchMaker

T = 24


def rows_of(vocabulary, *, documents: bool, padding: bool) -> np.ndarray:
    random = np.random.default_rng(3)
    rows = random.integers(104, len(vocabulary), (12, T))
    rows[:, 0] = vocabulary.cls_id
    for row in rows:
        if documents:
            row[random.choice(np.arange(2, T), random.integers(0, 4), replace=False)] = vocabulary.cls_id
        if padding:
            row[random.integers(1, T + 1) :] = vocabulary.pad_id
    return rows.astype(np.uint16)


def batch_of(vocabulary, rows: np.ndarray, isolate: bool = True) -> Batch:
    return BatchMaker(vocabulary, Masking(vocabulary, rate=0.15), isolate, torch.device("cpu"))(rows, None, 1)


@pytest.mark.parametrize("documents", [True, False])
@pytest.mark.parametrize("padding", [True, False])
@pytest.mark.parametrize("isolate", [True, False])
def test_a_real_token_sees_the_real_tokens_of_its_document(tiny_vocabulary, documents, padding, isolate):
    rows = rows_of(tiny_vocabulary, documents=documents, padding=padding)
    batch = batch_of(tiny_vocabulary, rows, isolate)
    real = torch.from_numpy(rows != tiny_vocabulary.pad_id)
    document = torch.from_numpy((rows == tiny_vocabulary.cls_id).cumsum(1)) * isolate
    expected = (document[:, :, None] == document[:, None, :]) & real[:, None, :]
    attention = torch.ones_like(expected) if batch.attention is None else batch.attention
    assert torch.equal(attention[real], expected[real])
    assert attention.any(2).all()  # a padded position sees something as well: a softmax over nothing is not a number
    positions = torch.arange(T).expand(rows.shape) if batch.positions is None else batch.positions
    starts = torch.where(torch.from_numpy(rows == tiny_vocabulary.cls_id), torch.arange(T), 0).cummax(1).values
    assert torch.equal(positions[real], (torch.arange(T) - starts * isolate)[real])


@pytest.mark.parametrize("isolate", [True, False])
def test_a_row_of_padding_alone_sees_one_position_and_is_asked_nothing(tiny_vocabulary, isolate):
    rows = rows_of(tiny_vocabulary, documents=isolate, padding=True)
    rows[2] = tiny_vocabulary.pad_id
    batch = batch_of(tiny_vocabulary, rows, isolate)
    assert (batch.attention[2].sum(1) == 1).all()
    assert (batch.masked.weights[2] == 0).all()


def test_whole_rows_of_one_document_need_neither_mask_nor_positions(tiny_vocabulary):
    batch = batch_of(tiny_vocabulary, rows_of(tiny_vocabulary, documents=False, padding=False))
    assert (batch.seen, batch.attention, batch.positions) == (None, None, None)
    several = rows_of(tiny_vocabulary, documents=True, padding=False)
    assert batch_of(tiny_vocabulary, several, isolate=False).attention is None


def test_a_micro_batch_is_its_rows_of_the_batch(tiny_vocabulary):
    batch = batch_of(tiny_vocabulary, rows_of(tiny_vocabulary, documents=True, padding=True))
    part = batch[3:7]
    assert len(part) == 4
    for name in ("ids", "positions", "labels", "weights"):
        assert torch.equal(getattr(part.masked, name), getattr(batch.masked, name)[3:7])
    assert torch.equal(part.attention, batch.attention[3:7])
    assert torch.equal(part.positions, batch.positions[3:7])
