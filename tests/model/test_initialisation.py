"""The two ways that fresh weights begin."""

import math

import pytest
import torch
from torch import nn

from weixing.model.encoder import Encoder
from weixing.model.heads import Classifier, MaskedLanguageModel
from weixing.model.initialisation import initialise
from weixing.zoo import Shape

SHAPE = Shape(2, 128, vocabulary_size=400)


def fresh(scheme: str, seed: int = 7) -> MaskedLanguageModel:
    model = MaskedLanguageModel(SHAPE)
    for parameter in model.parameters():
        nn.init.constant_(parameter, math.nan)  # whatever is left untouched shows
    initialise(model, scheme, seed)
    return model


def layer_norms(model: nn.Module) -> list[nn.LayerNorm]:
    return [module for module in model.modules() if isinstance(module, nn.LayerNorm)]


def without_layer_norms(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach() for name, p in model.named_parameters() if "norm" not in name}


def looks_normal(tensor: torch.Tensor) -> bool:
    """Mean 0 and standard deviation 0.02, within five standard errors."""
    error = 5 * 0.02 / math.sqrt(tensor.numel())
    return bool(tensor.mean().abs() < error and (tensor.std() - 0.02).abs() < error)


def test_bert_draws_weights_and_zeroes_biases() -> None:
    model = fresh("bert")
    for name, tensor in without_layer_norms(model).items():
        assert tensor.count_nonzero() == 0 if name.endswith("bias") else looks_normal(tensor), name
    assert all((norm.weight == 1).all() and (norm.bias == 0).all() for norm in layer_norms(model))


def test_uer_draws_biases_too_and_makes_up_for_its_unbiased_standard_deviation() -> None:
    model = fresh("uer")
    assert all(looks_normal(tensor) for tensor in without_layer_norms(model).values())
    assert len(layer_norms(model)) == 1 + 2 * 2 + 1
    x = torch.randn(5, 128)
    uer = (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-6)  # UER-py layers/layer_norm.py:16-21
    for norm in layer_norms(model):
        torch.testing.assert_close(norm(x), uer, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scheme", ["bert", "uer"])
def test_the_seed_decides_alone_and_the_global_random_state_is_left_in_peace(scheme: str) -> None:
    first = fresh(scheme).state_dict()
    before = torch.random.get_rng_state()
    with torch.device("meta"):
        model = MaskedLanguageModel(SHAPE)
    model.to_empty(device="cpu")
    initialise(model, scheme, 7)
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in first.items())
    assert not torch.equal(fresh(scheme, 8).encoder.embeddings.token.weight, model.encoder.embeddings.token.weight)


def test_a_classifier_and_the_encoder_in_it_are_drawn_whole() -> None:
    classifier = Classifier(Encoder(SHAPE), labels=64)
    initialise(classifier)
    assert looks_normal(classifier.output.weight)
    assert classifier.output.bias.count_nonzero() == 0
