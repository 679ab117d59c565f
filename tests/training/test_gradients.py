"""Compiled gradients promise what autograd gives, on any number of cores, in any micro-batches, bit for bit again."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from weixing.data.masking import Masking
from weixing.model.compiled.workers import Workers
from weixing.model.heads import MaskedLanguageModel
from weixing.model.initialisation import initialise
from weixing.model.soft_targets import SoftTargets
from weixing.text.vocabulary import Vocabulary
from weixing.training.batch import Batch, BatchMaker
from weixing.training.gradients import AutogradGradients, CompiledGradients
from weixing.zoo import Shape

B, T = 7, 32
EVERYTHING = 1 << 30


@pytest.fixture
def model(tiny_vocabulary: Vocabulary) -> MaskedLanguageModel:
    model = MaskedLanguageModel(Shape(2, 128, len(tiny_vocabulary), T))
    initialise(model, "bert", 7)
    return model


@pytest.fixture
def batch_of(tiny_vocabulary: Vocabulary) -> Callable[..., Batch]:
    """Batches of random rows: ``form`` is whole (one document a row), documents, padding or both.

    With `empty`, the last row is padding alone.
    """

    def make(form: str = "both", rows: int = B, seed: int = 1, empty: bool = False) -> Batch:
        vocabulary, random = tiny_vocabulary, np.random.default_rng(seed)
        ids = random.integers(104, len(vocabulary), (rows, T))
        ids[:, 0], ids[:, -1] = vocabulary.cls_id, vocabulary.sep_id
        for row in ids:
            if form in ("documents", "both"):
                border = random.integers(3, 12)
                row[border : border + 2] = vocabulary.sep_id, vocabulary.cls_id
            if form in ("padding", "both") and random.random() < 0.7:
                row[random.integers(14, T) :] = vocabulary.pad_id
        if empty:
            ids[-1] = vocabulary.pad_id
        isolate = form in ("documents", "both")
        batches = BatchMaker(vocabulary, Masking(vocabulary, rate=0.15), isolate, torch.device("cpu"))
        return batches(ids.astype(np.uint16), None, seed)

    return make


def gradients_of(model: MaskedLanguageModel) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def largest_error(own: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """Of a parameter's gradient, relative to its norm (a key's bias has none but rounding: against 1e-5)."""
    assert own.keys() == expected.keys()
    return max(((own[n] - g).norm() / g.norm().clamp(min=1e-5)).item() for n, g in expected.items())


@pytest.mark.parametrize("form", ["whole", "documents", "padding", "both"])
@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("micro", [EVERYTHING, 2])
def test_compiled_gradients_and_loss_are_those_of_autograd(model, batch_of, form, workers, micro):
    batch = batch_of(form)
    expected_loss = AutogradGradients(model, "float32", EVERYTHING)(batch, seed=0)
    expected = gradients_of(model)
    compiled = CompiledGradients(model, "float32", Workers(workers), micro_batch_size=micro)
    compiled(batch_of("whole", seed=5), seed=0)  # leaves nothing behind
    torch.testing.assert_close(compiled(batch, seed=0), expected_loss, rtol=2e-6, atol=0)
    assert largest_error(gradients_of(model), expected) < 1e-5


@pytest.mark.parametrize("form", ["whole", "both"])
def test_a_row_of_padding_alone_changes_no_gradient_by_either_way(model, batch_of, form):
    batch = batch_of(form, rows=B + 1, empty=True)
    expected_loss = AutogradGradients(model, "float32", EVERYTHING)(batch[:B], seed=0)
    expected = gradients_of(model)
    for make in (AutogradGradients(model, "float32", EVERYTHING), CompiledGradients(model, "float32", Workers(2))):
        torch.testing.assert_close(make(batch, seed=0), expected_loss, rtol=2e-6, atol=0)
        assert largest_error(gradients_of(model), expected) < 1e-5


@pytest.mark.parametrize("micro", [1, 3, B])
def test_micro_batches_change_nothing_for_autograd_either(model, batch_of, micro):
    batch = batch_of()
    losses, gradients = [], []
    for size in (EVERYTHING, micro):
        losses.append(AutogradGradients(model, "float32", size)(batch, seed=0))
        gradients.append(gradients_of(model))
    torch.testing.assert_close(*losses, rtol=2e-6, atol=0)
    assert largest_error(gradients[1], gradients[0]) < 1e-5


def test_bf16_gradients_are_near_those_of_float32(model, batch_of):
    batch = batch_of()
    expected_loss = AutogradGradients(model, "float32", EVERYTHING)(batch, seed=0)
    expected = gradients_of(model)
    loss = CompiledGradients(model, "bf16", Workers(2))(batch, seed=0)
    torch.testing.assert_close(loss, expected_loss, rtol=3e-3, atol=0)
    assert largest_error(gradients_of(model), expected) < 0.05


@pytest.mark.parametrize("workers", [1, 3])
def test_fewer_rows_than_workers_are_enough(model, batch_of, workers):
    compiled, batch = CompiledGradients(model, "float32", Workers(workers)), batch_of()
    compiled(batch, seed=0)  # every worker has sums of its own by now
    for rows in (1, 2):
        AutogradGradients(model, "float32", EVERYTHING)(batch[:rows], seed=0)
        expected = gradients_of(model)
        again = CompiledGradients(model, "float32", Workers(workers))
        again(batch, seed=0)
        again(batch[:rows], seed=0)
        assert largest_error(gradients_of(model), expected) < 1e-5


def test_nothing_to_predict_means_no_loss_and_no_gradient(model, batch_of):
    batch = batch_of()
    batch.masked.weights.zero_()
    compiled = CompiledGradients(model, "float32", Workers(2))
    assert compiled(batch, seed=0) == 0
    assert compiled.clip(1.0) == 0
    assert all((g == 0).all() for g in gradients_of(model).values())


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_entries_that_are_left_out_have_no_gradient_and_the_others_what_autograd_gives_them(
    model, batch_of, workers, precision
):
    batch = batch_of()
    entries = np.union1d(batch.masked.ids.numpy(), batch.masked.labels.numpy())
    left_out = np.setdiff1d(np.arange(len(model.head.bias)), entries)
    assert len(left_out)
    AutogradGradients(model, "float32", EVERYTHING, entries)(batch, seed=0)
    expected = gradients_of(model)
    compiled = CompiledGradients(model, precision, Workers(workers), entries=entries)
    for _ in range(2):
        compiled(batch, seed=0)
    # What an optimizer is to keep equal to a parameter is as large as that: the chosen rows' copy is none of it.
    assert all(copy.shape == p.shape for p, copy in compiled.copies.items())
    own = gradients_of(model)
    assert largest_error(own, expected) < (1e-5 if precision == "float32" else 0.05)
    assert (own["encoder.embeddings.token.weight"][left_out] == 0).all()
    assert (own["head.bias"][left_out] == 0).all()


@pytest.mark.parametrize("few", [True, False])
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_with_soft_targets_compiled_gradients_are_those_of_autograd(model, batch_of, workers, precision, few):
    batch = batch_of()
    generator = torch.Generator().manual_seed(3)
    entries = np.union1d(batch.masked.ids.numpy(), batch.masked.labels.numpy()) if few else np.arange(404)
    shape = (*batch.masked.labels.shape, 6)
    places = torch.randint(0, len(entries), shape, generator=generator)
    shares = torch.rand(shape, generator=generator) / 6
    taught = replace(batch, soft=SoftTargets(torch.from_numpy(entries)[places], shares))
    chosen = entries if few else None
    plain_loss = AutogradGradients(model, "float32", EVERYTHING, chosen)(batch, seed=0)
    expected_loss = AutogradGradients(model, "float32", 3, chosen)(taught, seed=0)
    expected = gradients_of(model)
    loss = CompiledGradients(model, precision, Workers(workers), entries=chosen, micro_batch_size=2)(taught, seed=0)
    tolerance = {"float32": (2e-6, 1e-5), "bf16": (3e-3, 0.05)}[precision]
    torch.testing.assert_close(loss, expected_loss, rtol=tolerance[0], atol=0)
    assert largest_error(gradients_of(model), expected) < tolerance[1]
    assert abs(plain_loss - expected_loss) > 1e-3 * expected_loss


@pytest.mark.parametrize("share", [0.01, 0.8, 1.2, float("inf")])
@pytest.mark.parametrize("workers", [1, 3])
def test_clipping_is_torchs_clip_grad_norm(model, batch_of, workers, share):
    batch = batch_of()
    autograd = AutogradGradients(model, "float32", EVERYTHING)
    autograd(batch, seed=0)
    limit = share * autograd.clip(float("inf")).item()  # below and above the norm
    expected_norm = autograd.clip(limit)
    expected = gradients_of(model)
    compiled = CompiledGradients(model, "float32", Workers(workers))
    compiled(batch, seed=0)
    torch.testing.assert_close(compiled.clip(limit), expected_norm, rtol=1e-5, atol=0)
    assert largest_error(gradients_of(model), expected) < 2e-5


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_shows_in_the_loss_or_in_the_norm(model, batch_of, wrong):
    compiled = CompiledGradients(model, "bf16", Workers(2))
    with torch.no_grad():
        model.encoder.layers[1].feed_forward.output.weight[3, 5] = wrong
    compiled.refresh()
    assert not (compiled(batch_of(), seed=0).isfinite() and compiled.clip(1.0).isfinite())


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_the_same_batch_and_seed_give_the_same_bits_dropout_included(model, batch_of, precision, workers):
    batch, results = batch_of(), []
    for seed in (4, 4, 5):
        compiled = CompiledGradients(model, precision, Workers(workers), dropout=0.1)
        results.append((compiled(batch, seed=seed), compiled.clip(0.5), gradients_of(model)))
    one, again, other = results
    assert one[:2] == again[:2] != other[:2]
    assert all(torch.equal(g, again[2][name]) for name, g in one[2].items())


def test_rows_of_one_batch_are_dropped_each_in_its_own_way(model, batch_of):
    batch = batch_of("whole", rows=1)
    several = Batch(batch.masked[[0] * 6], None, None)  # the same row six times
    model.encoder.set_dropout(0.0)
    losses = []
    for micro in (EVERYTHING, 1):
        compiled = CompiledGradients(model, "float32", Workers(2), dropout=0.3, micro_batch_size=micro)
        one = compiled(several[:1], seed=4).item()
        losses.append(compiled(several, seed=4).item())
        assert losses[-1] != pytest.approx(6 * one, rel=1e-4)
    assert losses[0] != losses[1]  # what is dropped follows the micro-batches, so they are part of a run's settings


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_parameters_that_were_changed_are_used_after_refresh(model, batch_of, precision):
    batch = batch_of()
    compiled = CompiledGradients(model, precision, Workers(2))
    before = compiled(batch, seed=0).item()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1.3)
    compiled.refresh()
    own = compiled(batch, seed=0).item(), gradients_of(model)
    fresh = CompiledGradients(model, precision, Workers(2))
    assert own[0] == fresh(batch, seed=0).item() != before
    assert all(torch.equal(g, own[1][name]) for name, g in gradients_of(model).items())
