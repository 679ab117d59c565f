"""The ways that fresh weights begin."""

import math

import pytest
import torch
from torch import nn

from weixing.model.encoder import Encoder
from weixing.model.heads import Classifier, MaskedLanguageModel
from weixing.model.initialisation import begin_with_frequencies, initialise
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


@pytest.mark.parametrize("scheme", ["bert", "uer", "neighbours"])
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


def first_attention(shape: Shape, length: int) -> torch.Tensor:
    """Attention probabilities of the first layer, [heads, length, length], for random tokens."""
    model = MaskedLanguageModel(shape)
    initialise(model, "neighbours")
    encoder, H, A = model.encoder, shape.hidden, shape.hidden // shape.head_units
    x = encoder.embeddings(torch.randint(0, shape.vocabulary_size, (1, length)), None, None)
    q, k, _ = encoder.layers[0].attention.query_key_value(x)[0].split(H, dim=1)
    q, k = (part.view(length, A, shape.head_units).transpose(0, 1) for part in (q, k))
    return (q @ k.transpose(1, 2) / math.sqrt(shape.head_units)).softmax(2)


@pytest.mark.parametrize(("name", "length"), [("1/64", 60), ("2/128", 128), ("4/256", 512), ("1/768", 512)])
def test_neighbours_are_what_the_first_layers_heads_look_at(name: str, length: int) -> None:
    torch.manual_seed(7)
    layers, hidden = map(int, name.split("/"))
    attention = first_attention(Shape(layers, hidden, vocabulary_size=400), length)
    for head, distance in zip(attention, (-1, 1, -2, 2, -3, 3, -4, 4, -5, 5, -6, 6), strict=False):
        asking = torch.arange(max(0, -distance), length - max(0, distance))
        assert (head.argmax(1)[asking] == asking + distance).all()
        assert head[asking, asking + distance].mean() > 0.5


def test_neighbours_pass_on_whole_what_they_find_and_leave_the_rest_as_bert_draws_it() -> None:
    model = fresh("neighbours")
    first = model.encoder.layers[0].attention
    for matrix in (first.query_key_value.weight[2 * 128 :], first.output.weight):
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(128), atol=1e-5, rtol=0)
    plain = fresh("bert").state_dict()
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, plain[name])}
    assert changed == {
        "encoder.embeddings.position.weight",
        "encoder.layers.0.attention.query_key_value.weight",
        "encoder.layers.0.attention.output.weight",
    }


def test_a_head_that_begins_with_frequencies_predicts_them() -> None:
    counts = torch.tensor([0, 10, 89, 1])
    bias = torch.full((4,), math.nan)
    begin_with_frequencies(bias, counts)
    torch.testing.assert_close(bias.softmax(0), (counts + 0.5) / 102)
    assert bias.mean().abs() < 1e-6
