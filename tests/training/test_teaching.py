"""A teacher promises the probabilities of its model: by compiled passes and by torch, among some entries or all."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from weixing.data.masking import Masking
from weixing.model.heads import MaskedLanguageModel
from weixing.model.initialisation import initialise
from weixing.model.soft_targets import LEAST_PROBABILITY, MOST_ENTRIES
from weixing.text.vocabulary import Vocabulary
from weixing.training.batch import Batch, BatchMaker
from weixing.training.teaching import Teacher, model_sha256
from weixing.zoo import Shape

B, T = 7, 32
CPU = torch.device("cpu")


@pytest.fixture
def model(tiny_vocabulary: Vocabulary) -> MaskedLanguageModel:
    """One that finds some entries likelier than others."""
    model = MaskedLanguageModel(Shape(2, 128, len(tiny_vocabulary), T))
    initialise(model, "bert", 7)
    with torch.no_grad():
        model.encoder.embeddings.token.weight.mul_(8)
    return model


@pytest.fixture
def batch_of(tiny_vocabulary: Vocabulary) -> Callable[[bool], Batch]:
    def make(isolate: bool) -> Batch:
        ids = np.random.default_rng(1).integers(104, len(tiny_vocabulary), (B, T)).astype(np.uint16)
        ids[:, 0], ids[:, -1] = tiny_vocabulary.cls_id, tiny_vocabulary.sep_id
        ids[3, 8:10] = tiny_vocabulary.sep_id, tiny_vocabulary.cls_id
        ids[5, 20:] = tiny_vocabulary.pad_id
        return BatchMaker(tiny_vocabulary, Masking(tiny_vocabulary, rate=0.15), isolate, CPU)(ids, None, 1)

    return make


def whole(batch: Batch, size: int) -> torch.Tensor:
    """The teacher's part of all targets, [B · M, V]."""
    assert batch.soft is not None
    shares = batch.soft.shares.flatten(0, 1)
    return torch.zeros(len(shares), size).scatter_add(1, batch.soft.entries.flatten(0, 1), shares)


@pytest.mark.parametrize("isolate", [False, True])
@pytest.mark.parametrize("some", [False, True])
@pytest.mark.parametrize("threads", [1, 3])
def test_targets_are_the_models_probabilities_where_they_are_not_small(model, batch_of, isolate, some, threads):
    batch, size = batch_of(isolate), len(model.head.bias)
    entries = np.union1d(batch.masked.labels.numpy(), np.arange(0, size, 2)) if some else None
    torch.set_num_threads(threads)
    teacher = Teacher(model, 0.7, entries, "float32", 3, CPU)
    torch.set_num_threads(1)
    taught = teacher(batch)
    assert torch.equal(taught.masked.ids, batch.masked.ids)
    logits = model(batch.masked.ids, None, batch.seen, batch.positions, predict=batch.masked.positions).flatten(0, 1)
    if entries is not None:
        logits[:, np.setdiff1d(np.arange(size), entries)] = -torch.inf
    expected = logits.softmax(1)
    least = expected.topk(MOST_ENTRIES).values[:, -1:].clamp(min=LEAST_PROBABILITY)
    clear = ((expected / least - 1).abs() > 1e-4) | (expected == 0)  # not so near that rounding decides
    expected = 0.7 * torch.where(expected >= least, expected, 0)
    torch.testing.assert_close(whole(taught, size)[clear], expected[clear], rtol=1e-4, atol=1e-6)
    assert 0.05 < taught.soft.shares.sum(2).mean() < 0.7
    teacher._passes = []  # as on a GPU
    torch.testing.assert_close(whole(teacher(batch), size)[clear], expected[clear], rtol=1e-4, atol=1e-6)


def test_in_bf16_they_are_near(model, batch_of):
    batch = batch_of(True)
    exact, near = (
        whole(Teacher(model, 1.0, None, of, 8, CPU)(batch), len(model.head.bias)) for of in ("float32", "bf16")
    )
    assert 0 < (near - exact).norm() < 0.05 * exact.norm()


def test_any_other_weight_makes_another_identity(model, tiny_vocabulary):
    before = model_sha256(model, tiny_vocabulary)
    with torch.no_grad():
        model.head.bias[3] += 1
    assert before != model_sha256(model, tiny_vocabulary)
