"""The masked-LM loss of the plain model: torch's cross entropy of the weighted slots, among all entries or some."""

import pytest
import torch
import torch.nn.functional as F

from weixing.model.heads import MaskedLanguageModel
from weixing.model.initialisation import initialise
from weixing.zoo import Shape

B, T, V = 3, 12, 90
PREDICT = torch.tensor([[1, 4, 7], [2, 11, 0], [5, 0, 0]])  # unused slots point at position 0
WEIGHTS = (PREDICT > 0).float()
LABELS = torch.tensor([[9, 80, 9], [33, 7, 0], [51, 0, 0]])


@pytest.fixture
def model() -> MaskedLanguageModel:
    model = MaskedLanguageModel(Shape(2, 64, vocabulary_size=V, positions=T))
    initialise(model, "bert")
    with torch.no_grad():
        model.head.bias.copy_(torch.randn(V, generator=torch.Generator().manual_seed(3)))
    return model


@pytest.fixture
def ids() -> torch.Tensor:
    return torch.randint(0, V, (B, T), generator=torch.Generator().manual_seed(1))


def gradients(model: MaskedLanguageModel, loss: torch.Tensor) -> list[torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return [p.grad.clone() for p in model.parameters()]


def test_the_loss_is_torchs_cross_entropy_summed_over_the_used_slots(model, ids):
    used = WEIGHTS.bool()
    expected = F.cross_entropy(model(ids, predict=PREDICT)[used], LABELS[used], reduction="sum")
    torch.testing.assert_close(model.loss(ids, PREDICT, LABELS, WEIGHTS), expected)


def test_weights_scale_the_losses_of_their_slots(model, ids):
    alone = [model.loss(ids, PREDICT, LABELS, WEIGHTS * (place == PREDICT)) for place in (1, 4, 7, 2, 11, 5)]
    weights = torch.tensor([[0.5, 1, 2], [0.25, 4, 0], [8, 0, 0]])
    expected = sum(w * loss for w, loss in zip((0.5, 1, 2, 0.25, 4, 8), alone, strict=True))
    torch.testing.assert_close(model.loss(ids, PREDICT, LABELS, weights), expected)


def test_slots_of_no_weight_have_no_part_in_loss_or_gradients(model, ids):
    loss = model.loss(ids, PREDICT, LABELS, WEIGHTS)
    other = model.loss(ids, PREDICT.masked_fill(PREDICT == 0, 3), LABELS.masked_fill(WEIGHTS == 0, 20), WEIGHTS)
    torch.testing.assert_close(loss, other)
    for one, another in zip(gradients(model, loss), gradients(model, other), strict=True):
        torch.testing.assert_close(one, another, rtol=1e-5, atol=1e-6)


def test_among_chosen_entries_the_others_are_as_impossible_as_a_logit_of_minus_infinity(model, ids):
    entries = torch.tensor([0, 3, 7, 9, 33, 50, 51, 80])
    loss = model.loss(ids, PREDICT, LABELS, WEIGHTS, entries=entries)
    logits = model(ids, predict=PREDICT)
    others = torch.ones(V, dtype=torch.bool).index_fill(0, entries, False)
    losses = F.cross_entropy(logits.masked_fill(others, float("-inf")).transpose(1, 2), LABELS, reduction="none")
    torch.testing.assert_close(loss, (losses * WEIGHTS).sum())
    gradients(model, loss)
    assert (model.head.bias.grad[others] == 0).all()


def test_the_loss_is_float32_in_bf16_and_float64_for_a_model_of_float64(model, ids):
    exact = model.loss(ids, PREDICT, LABELS, WEIGHTS)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model.loss(ids, PREDICT, LABELS, WEIGHTS)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=0.01, atol=0)
    double = model.double().loss(ids, PREDICT, LABELS, WEIGHTS)
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), exact)


@pytest.mark.parametrize("autocast", [False, True])
def test_an_infinite_logit_gives_a_loss_that_is_not_finite(model, ids, autocast):
    with torch.no_grad():
        model.head.bias[5] = float("inf")
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        assert not model.loss(ids, PREDICT, LABELS, WEIGHTS).isfinite()
