"""Two ways to the gradients and logits of a classifier: compiled passes promise what autograd gives."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from weixing.model.compiled.workers import Workers
from weixing.model.encoder import Encoder
from weixing.model.heads import Classifier
from weixing.model.initialisation import initialise
from weixing.tasks.encoding import Batch, encode_examples
from weixing.tasks.files import Task
from weixing.tasks.kinds import objective_for
from weixing.tasks.logits import logits_of
from weixing.tasks.losses import Loss
from weixing.tasks.objectives import OneClass
from weixing.tasks.steps import AutogradSteps, CompiledSteps, Steps, make_steps
from weixing.text.tokenizer import Tokenizer
from weixing.text.vocabulary import Vocabulary
from weixing.training.optimizers import uer_adamw
from weixing.zoo import Shape

LABELS = 3
LOSS = Loss(OneClass(("a", "b", "c")))


@pytest.fixture
def model(vocabulary: Vocabulary) -> Classifier:
    """2/128, every number of which is one that chance drew."""
    encoder = Encoder(Shape(2, 128, len(vocabulary), positions=64))
    initialise(encoder)
    torch.manual_seed(3)
    model = Classifier(encoder, LABELS)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return model


@pytest.fixture
def batches(pairs_task: Task, tokenizer: Tokenizer) -> list[Batch]:
    """Pairs of texts, every row padded: 5 rows, one row alone, 7 rows; three labels."""
    encoded = encode_examples(pairs_task.train, objective_for(pairs_task), tokenizer, 32)
    encoded = replace(encoded, targets=torch.arange(len(encoded)) % LABELS)
    batches = [encoded.batch(torch.arange(*rows), 40) for rows in ((0, 5), (5, 6), (6, 13))]
    assert all(batch.token_types.any() and not batch.attention.all() for batch in batches)
    return batches


def gradients(steps: Steps, model: Classifier, batch: Batch, key: int = 0) -> tuple[float, dict[str, torch.Tensor]]:
    loss = steps.gradients(batch, key).item()
    return loss, {name: p.grad.clone() for name, p in model.named_parameters()}


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """Relative; where the gradient should be zero (a key's bias moves no softmax), against 1e-4."""
    return ((one - other).norm() / other.norm().clamp(min=1e-4)).item()


@pytest.mark.parametrize("cores", [1, 2, 6])  # 6: more than a batch has rows
@pytest.mark.parametrize(("precision", "limit"), [("float32", 1e-5), ("bf16", 0.05)])
def test_loss_and_every_gradient_are_those_of_autograd_batch_after_batch(model, batches, cores, precision, limit):
    expected = [gradients(AutogradSteps(model, LOSS, "float32"), model, batch) for batch in batches]
    steps = CompiledSteps(model, LOSS, precision, Workers(cores), dropout=0.0)
    for batch, (loss, by_name) in zip(batches, expected, strict=True):
        own_loss, own = gradients(steps, model, batch)
        assert own_loss == pytest.approx(loss, rel=limit)
        for name, gradient in by_name.items():
            assert difference(own[name], gradient) < limit, name


@pytest.mark.parametrize("cores", [1, 2])
def test_gradients_are_the_same_where_only_the_entries_that_rows_hold_are_worked_on(model, batches, cores):
    entries = np.unique(np.concatenate([batch.ids.flatten().numpy() for batch in batches]))
    assert len(entries) < model.encoder.shape.vocabulary_size
    whole = [gradients(CompiledSteps(model, LOSS, "float32", Workers(cores), 0.0), model, batch) for batch in batches]
    steps = CompiledSteps(model, LOSS, "float32", Workers(cores), 0.0, entries)
    tokens = model.encoder.embeddings.token.weight
    worked_on = np.concatenate([np.arange(p.start, p.stop) for p in steps.pieces[tokens]])
    assert set(entries) <= set(worked_on // tokens.shape[1])
    for batch, (loss, by_name) in zip(batches, whole, strict=True):
        own_loss, own = gradients(steps, model, batch)
        assert own_loss == loss
        assert all(torch.equal(own[name], gradient) for name, gradient in by_name.items())


@pytest.mark.parametrize("cores", [1, 2, 6])
@pytest.mark.parametrize(("precision", "limit"), [("float32", 1e-5), ("bf16", 0.05)])
def test_logits_are_those_of_autograd_for_each_batch_in_order(model, batches, cores, precision, limit):
    expected = AutogradSteps(model, LOSS, "float32").logits(batches)
    steps = CompiledSteps(model, LOSS, precision, Workers(cores), dropout=0.1)
    own = steps.logits(batches)
    copies = [values.clone() for values in own]
    for batch in batches:
        steps.gradients(batch, key=1)
    steps.logits(batches[::-1])
    for values, copy, truth in zip(own, copies, expected, strict=True):
        assert torch.equal(values, copy)  # no later pass has written there
        torch.testing.assert_close(values, truth, rtol=limit, atol=limit)


@pytest.mark.parametrize("way", ["autograd", "compiled"])
def test_token_types_tell_the_second_text_from_the_first(model, batches, way):
    workers = Workers(2) if way == "compiled" else None
    steps = make_steps(model, LOSS, "float32", 0.0, workers)
    (pairs,) = steps.logits(batches[:1])
    (one_text,) = steps.logits([replace(batches[0], token_types=torch.zeros_like(batches[0].token_types))])
    assert ((pairs - one_text).abs().amax(1) > 1e-3).all()
    _, by_name = gradients(steps, model, batches[0])
    assert (by_name["encoder.embeddings.token_type.weight"].abs().amax(1) > 0).all()


@pytest.mark.parametrize("way", ["autograd", "compiled"])
def test_what_lies_behind_a_text_makes_no_difference(model, batches, way):
    steps = make_steps(model, LOSS, "float32", 0.0, Workers(2) if way == "compiled" else None)
    batch = batches[0]
    other = replace(batch, ids=torch.where(batch.attention, batch.ids, 9))
    torch.testing.assert_close(steps.logits([other])[0], steps.logits([batch])[0], rtol=1e-6, atol=1e-6)
    longest = int(batch.attention.sum(1).max())
    cut = Batch(*(t[:, :longest] for t in (batch.ids, batch.token_types, batch.attention)), batch.targets)
    torch.testing.assert_close(steps.logits([cut])[0], steps.logits([batch])[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cores", [1, 2])
def test_the_key_decides_what_is_dropped_and_logits_know_no_dropout(model, batches, cores):
    steps = CompiledSteps(model, LOSS, "float32", Workers(cores), dropout=0.1)
    whole = CompiledSteps(model, LOSS, "float32", Workers(cores), dropout=0.0)
    batch = batches[2]
    losses = [steps.gradients(batch, key).item() for key in (1, 2, 1, 1 << 32)]
    assert losses[0] == losses[2]
    assert len({*losses, whole.gradients(batch, 1).item(), whole.gradients(batch, 2).item()}) == 4
    assert torch.equal(steps.logits([batch])[0], whole.logits([batch])[0])


def test_each_core_drops_something_else(model, batches):
    """Two equal rows, one on each core: dropped alike, each would have the gradient of the whole."""
    two = Batch(*(torch.cat([t[:1]] * 2) for t in vars(batches[2]).values() if t is not None))
    one = Batch(*(t[:1] for t in vars(two).values() if t is not None))
    steps = CompiledSteps(model, LOSS, "float32", Workers(2), dropout=0.1)
    assert steps.gradients(two, 5).item() != pytest.approx(steps.gradients(one, 5).item(), rel=1e-6)


def test_on_average_dropout_leaves_the_loss_about_what_autograd_has(model, batches):
    steps = CompiledSteps(model, LOSS, "float32", Workers(1), dropout=0.1)
    compiled = torch.stack([steps.gradients(batches[1], key) for key in range(150)])
    model.encoder.set_dropout(0.1)
    torch.manual_seed(1)
    plain = AutogradSteps(model, LOSS, "float32")
    autograd = torch.stack([plain.gradients(batches[1], key) for key in range(150)])
    error = (compiled.var() / 150 + autograd.var() / 150).sqrt()
    assert (compiled.mean() - autograd.mean()).abs() < 4 * error
    assert compiled.std().item() == pytest.approx(autograd.std().item(), rel=0.3)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_after_an_update_all_that_is_computed_comes_from_the_new_parameters(model, batches, precision):
    steps = CompiledSteps(model, LOSS, precision, Workers(2), dropout=0.0)
    before = steps.logits(batches)[0]
    optimizer = uer_adamw(
        model.parameters(), lr=1e-2, betas=(0.9, 0.999), eps=1e-6, workers=steps.workers, copies=steps.copies
    )
    steps.gradients(batches[0], 0)
    optimizer.step()
    after = steps.logits(batches)[0]
    assert (after - before).abs().max() > 0.1
    again = CompiledSteps(model, LOSS, precision, Workers(2), dropout=0.0)
    assert torch.equal(after, again.logits(batches)[0])


@pytest.mark.parametrize("at_once", [1, 64])
def test_predictions_are_in_the_order_of_the_rows(model, pairs_task, tokenizer, monkeypatch, at_once):
    monkeypatch.setattr("weixing.tasks.logits.BATCH_SIZE", 7)
    monkeypatch.setattr("weixing.tasks.logits.BATCHES_AT_ONCE", at_once)
    dev = encode_examples(pairs_task.dev, objective_for(pairs_task), tokenizer, 32)
    everything = AutogradSteps(model, LOSS, "float32").logits([dev.batch(torch.arange(len(dev)), 32)])[0]
    for workers in (None, Workers(2)):
        own = logits_of(make_steps(model, LOSS, "float32", 0.1, workers).logits, dev, max_length=32)
        torch.testing.assert_close(own, everything, rtol=1e-5, atol=1e-5)
