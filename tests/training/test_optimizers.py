"""Optimizers promise: UER's AdamW to the letter, and every parameter in exactly one group."""

import math

import pytest
import torch

from weixing.model.heads import MaskedLanguageModel
from weixing.recipes import RECIPES
from weixing.training.optimizers import UncorrectedAdamW, build_optimizers, set_learning_rates
from weixing.zoo import Shape


def test_uncorrected_adamw_follows_the_formula_number_by_number():
    lr, (b1, b2), eps, decay = 0.1, (0.9, 0.999), 1e-6, 0.01
    p = torch.nn.Parameter(torch.tensor([1.5, -2.0, 0.3], dtype=torch.float64))
    optimizer = UncorrectedAdamW([p], lr=lr, betas=(b1, b2), eps=eps, weight_decay=decay)
    value, mean, square = p.tolist(), [0.0] * 3, [0.0] * 3
    for step in range(20):
        gradient = [math.sin(step + i) for i in range(3)]
        p.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        for i, g in enumerate(gradient):  # Kingma & Ba without the two corrections; decay after the update
            mean[i] = b1 * mean[i] + (1 - b1) * g
            square[i] = b2 * square[i] + (1 - b2) * g * g
            value[i] -= lr * mean[i] / (math.sqrt(square[i]) + eps)
            value[i] -= lr * decay * value[i]
    assert p.tolist() == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("name", RECIPES)
def test_every_parameter_is_in_exactly_one_group_and_vectors_are_never_decayed(name):
    recipe = RECIPES[name][0]
    model = MaskedLanguageModel(Shape(2, 128, 200))
    optimizers = build_optimizers(model, recipe, torch.device("cpu"))
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    seen = [id(p) for group in groups for p in group["params"]]
    assert sorted(seen) == sorted(id(p) for p in model.parameters())
    for group in groups:
        for p in group["params"]:
            assert (group["weight_decay"] == 0) == (p.dim() < 2)


def test_muon_takes_the_matrices_of_the_layers_and_nothing_else():
    model = MaskedLanguageModel(Shape(2, 128, 200))
    muon, adamw = build_optimizers(model, RECIPES["weixing"][0], torch.device("cpu"))
    assert isinstance(muon, torch.optim.Muon)
    assert len(muon.param_groups[0]["params"]) == 2 * 4
    inner = {id(p) for layer in model.encoder.layers for p in layer.parameters() if p.dim() == 2}
    assert {id(p) for p in muon.param_groups[0]["params"]} == inner
    set_learning_rates([muon, adamw], 0.25)
    assert muon.param_groups[0]["lr"] == 0.25 * RECIPES["weixing"][0].matrix_learning_rate
    assert all(group["lr"] == 0.25 * RECIPES["weixing"][0].peak_learning_rate for group in adamw.param_groups)
