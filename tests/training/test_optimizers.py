"""Optimizers promise: UER's AdamW to the letter, every parameter in exactly one group, the same on several cores."""

import math

import numpy as np
import pytest
import torch

from weixing.model.compiled.parameters import Weights
from weixing.model.compiled.workers import Workers
from weixing.model.heads import MaskedLanguageModel
from weixing.model.initialisation import initialise
from weixing.recipes import RECIPES
from weixing.training.muon import Muon
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
    recipe = RECIPES["weixing"][0]
    model = MaskedLanguageModel(Shape(2, 128, 200))
    optimizers = build_optimizers(model, recipe, torch.device("cpu"))
    (muon,) = (optimizer for optimizer in optimizers if isinstance(optimizer, Muon))
    (adamw,) = (optimizer for optimizer in optimizers if optimizer is not muon)
    assert len(muon.param_groups[0]["params"]) == 2 * 4
    inner = {id(p) for layer in model.encoder.layers for p in layer.parameters() if p.dim() == 2}
    assert {id(p) for p in muon.param_groups[0]["params"]} == inner
    set_learning_rates(optimizers, 0.25)
    assert muon.param_groups[0]["lr"] == 0.25 * recipe.matrix_learning_rate
    assert all(group["lr"] == 0.25 * recipe.peak_learning_rate for group in adamw.param_groups)


@pytest.mark.parametrize("name", RECIPES)
def test_on_several_cores_updates_are_those_of_one_and_all_copies_follow(name):
    models = []
    for workers in (None, Workers(1), Workers(3)):
        model = MaskedLanguageModel(Shape(2, 64, 200))
        initialise(model, "bert", 7)
        copies = Weights(model, torch.bfloat16).copies
        optimizers = build_optimizers(model, RECIPES[name][0], torch.device("cpu"), workers, copies)
        for step in range(5):
            generator = torch.Generator().manual_seed(step)
            for p in model.parameters():
                p.grad = 0.01 * torch.randn(p.shape, generator=generator)
            set_learning_rates(optimizers, (step + 1) / 5)
            for optimizer in optimizers:
                optimizer.step()
        if workers:
            assert {id(p) for p in copies} == {id(p) for p in model.parameters() if p.dim() == 2}
            for p, copy in copies.items():
                assert np.array_equal(copy, p.detach().bfloat16().view(torch.uint16).numpy())
        models.append(model)
    plain, one, three = (dict(model.named_parameters()) for model in models)
    for parameter in plain:
        assert torch.equal(one[parameter], three[parameter])
        # Muon rounds to bf16 inside, stacked or one by one in another order.
        tolerance = 5e-4 if ".layers." in parameter and plain[parameter].dim() == 2 else 1e-6
        torch.testing.assert_close(one[parameter], plain[parameter], rtol=1e-6, atol=tolerance)
