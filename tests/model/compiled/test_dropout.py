"""Dropout in compiled passes: the backward pass drops what the forward pass dropped, decided by a key alone."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from weixing.model.compiled import layer
from weixing.model.compiled.buffers import Buffers
from weixing.model.compiled.classifier import ClassifierPass
from weixing.model.compiled.norms import add_and_normalise, drop, normalise
from weixing.model.compiled.parameters import Gradients, Weights
from weixing.model.heads import Classifier

P, KEY = 0.3, 12


@pytest.mark.parametrize("form", ["whole", "both"])
def test_gradients_with_dropout_are_the_slopes_of_the_loss_with_the_same_key(model_of, compiled, ask, form):
    model, questions = model_of("2/64"), ask(form)
    own = compiled(model, torch.float32)

    def loss_and_gradients() -> tuple[float, dict[str, torch.Tensor]]:
        return own(questions, dropout=P, key=KEY), own.sums

    check_slopes(model, loss_and_gradients)


def test_a_classifiers_gradients_with_dropout_are_the_slopes_of_the_loss_with_the_same_key(model_of, ask):
    torch.manual_seed(5)
    model, rows = Classifier(model_of("2/64/32/96").encoder, labels=3), ask("padding").rows
    rows, labels = rows._replace(asked=np.zeros((len(rows.ids), 1), np.int64)), torch.tensor([2, 0, 1, 2])
    buffers = Buffers(torch.float32)
    sums = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    gradients = Gradients(sums, buffers)
    own = ClassifierPass(model, Weights(model, torch.float32), gradients, buffers)

    def loss_and_gradients() -> tuple[float, dict[str, torch.Tensor]]:
        gradients.begin()
        loss = own.add_gradients(rows, lambda logits: F.cross_entropy(logits, labels), dropout=P, key=KEY)
        gradients.finish()
        return loss, sums

    check_slopes(model, loss_and_gradients)


def test_losses_under_dropout_have_the_mean_and_the_spread_that_torchs_dropout_gives(model_of, ask):
    torch.manual_seed(5)
    model, rows = Classifier(model_of("2/64/32/96").encoder, labels=3), ask("padding").rows
    with torch.no_grad():
        model.output.weight *= 8  # so that the loss feels what is dropped
    rows, labels = rows._replace(asked=np.zeros((len(rows.ids), 1), np.int64)), torch.tensor([2, 0, 1, 2])
    buffers = Buffers(torch.float32)
    gradients = Gradients({name: torch.zeros_like(p) for name, p in model.named_parameters()}, buffers)
    own = ClassifierPass(model, Weights(model, torch.float32), gradients, buffers)
    draws = 400
    compiled = np.array(
        [own.add_gradients(rows, lambda logits: F.cross_entropy(logits, labels), P, key) for key in range(draws)]
    )

    model.train()
    model.encoder.set_dropout(P)
    ids, kinds, lengths = map(torch.from_numpy, (rows.ids, rows.kinds, rows.last[:, :1]))
    real = torch.arange(ids.shape[1]) < lengths
    with torch.no_grad():
        plain = np.array([F.cross_entropy(model(ids, kinds, real), labels).item() for _ in range(draws)])
    deviation = np.hypot(compiled.std(), plain.std()) / draws**0.5
    assert plain.std() > 0.02
    assert abs(compiled.mean() - plain.mean()) < 4 * deviation
    assert compiled.std() == pytest.approx(plain.std(), rel=4 / draws**0.5)


def check_slopes(model: nn.Module, loss_and_gradients: Callable[[], tuple[float, dict[str, torch.Tensor]]]) -> None:
    gradients = {name: t.clone() for name, t in loss_and_gradients()[1].items()}
    largest = max(t.norm().item() for t in gradients.values())
    for number, (name, parameter) in enumerate(model.named_parameters()):
        # Along a random direction that leans to the gradient, so that float32's rounding stays small beside the slope.
        random = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number))
        direction = random / random.norm() + gradients[name] / gradients[name].norm().clamp(min=1e-6)
        start, losses = parameter.detach().clone(), []
        for step in (5e-3, -5e-3):
            with torch.no_grad():
                parameter.copy_(start + step * direction)
            losses.append(loss_and_gradients()[0])
        with torch.no_grad():
            parameter.copy_(start)
        slope = (losses[0] - losses[1]) / 1e-2
        assert slope == pytest.approx((gradients[name] * direction).sum().item(), rel=5e-3, abs=2e-4 * largest), name


def test_the_key_decides_what_is_dropped(model_of, compiled, ask, dtype):
    own, questions = compiled(model_of("2/64"), dtype), ask()
    losses = [own(questions, dropout=P, key=key) for key in (KEY, KEY, KEY + 1, KEY + 2**40)]
    assert losses[0] == losses[1]
    assert len(set(losses[1:])) == 3
    assert own(questions, dropout=0.0, key=1) == own(questions, dropout=0.0, key=2)


def test_no_two_queries_of_any_head_row_or_layer_are_dropped_alike(model_of, compiled, ask, monkeypatch):
    dropped = []

    def softmax_forward(scores, *arguments):
        original(scores, *arguments)
        dropped.extend(mask.tobytes() for mask in np.signbit(scores).reshape(-1, scores.shape[-1]))

    original = layer.softmax_forward
    monkeypatch.setattr(layer, "softmax_forward", softmax_forward)
    questions = ask(length=40)  # all see all 40 tokens: masks of 40 places are never the same by chance
    compiled(model_of("3/192"), torch.float32)(questions, dropout=P, key=KEY)
    heads, (rows, length), asked = 3, questions.rows.ids.shape, questions.labels.size
    assert len(dropped) == heads * (2 * rows * length + asked)
    assert len(set(dropped)) == len(dropped)


def test_drop_leaves_out_the_share_and_keeps_the_expectation(of):
    x = of(torch.ones(400, 256))
    drop(x.array, np.float32(P), np.uint32(KEY), x.array)
    values = x.tensor.float()
    deviation = (P * (1 - P) / values.numel()) ** 0.5
    assert (values == 0).float().mean() == pytest.approx(P, abs=5 * deviation)
    kept = values[values != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - P)), rtol=2**-8, atol=0)
    for way in (0, 1):  # no row and no column is dropped more often than chance has it
        worst = ((values == 0).float().mean(way) - P).abs().max()
        assert worst < 5 * (P * (1 - P) / values.shape[way]) ** 0.5


def test_neighbouring_places_are_dropped_independently(of):
    x = of(torch.ones(400, 256))
    drop(x.array, np.float32(P), np.uint32(KEY), x.array)
    gone = (x.tensor == 0).float() - P
    limit = 5 * P * (1 - P) / gone.numel() ** 0.5  # five standard deviations of such a mean
    for shift in ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0)):
        assert (gone * gone.roll(shift, (0, 1))).mean().abs() < limit, shift


def test_what_is_added_to_a_residual_is_dropped_as_drop_drops_it(of, dtype):
    generator = torch.Generator().manual_seed(1)
    x, residual = (torch.randn(9, 64, generator=generator) for _ in range(2))
    bias, gain, shift = (torch.randn(64, generator=generator).numpy() for _ in range(3))
    one, other = of(torch.zeros(9, 64)), of(torch.zeros(9, 64))
    scale, standard = np.zeros(9, np.float32), of(torch.zeros(9, 64)).array
    a, b, key, p = of(x), of(residual), np.uint32(KEY), np.float32(P)
    add_and_normalise(a.array, bias, b.array, gain, shift, standard, scale, one.array, None, p, key)
    branch = a.tensor.float().numpy() + bias  # in float32, as there
    drop(branch, p, key, branch)
    normalise(branch + b.tensor.float().numpy(), gain, shift, standard, scale, other.array)
    torch.testing.assert_close(one.tensor, other.tensor, rtol=1e-5 if dtype == torch.float32 else 2**-7, atol=1e-5)
