"""The loss in pieces promises torch's cross entropy and its gradients, and never holds the logits of all positions."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from weixing.model import cross_entropy
from weixing.model.cross_entropy import decoded_cross_entropy
from weixing.model.soft_targets import SoftTargets

N, H, V = 50, 16, 300


@pytest.fixture
def inputs() -> list[Tensor]:
    """x, vectors, bias, labels, weights; some weights are 0, some neither 0 nor 1."""
    generator = torch.Generator().manual_seed(1)
    x, vectors, bias = (torch.randn(size, generator=generator) for size in ((N, H), (V, H), (V,)))
    labels = torch.randint(0, V, (N,), generator=generator)
    weights = torch.rand(N, generator=generator).masked_fill(torch.arange(N) % 3 == 0, 0.0)
    return [x.requires_grad_(), vectors.requires_grad_(), bias.requires_grad_(), labels, weights]


def soft_targets(entries: int = V) -> SoftTargets:
    """Five entries a position, one of them sometimes the label or another one again; some positions have none."""
    generator = torch.Generator().manual_seed(2)
    shares = torch.rand(N, 5, generator=generator) / 6
    return SoftTargets(
        torch.randint(0, entries, (N, 5), generator=generator), shares.masked_fill(torch.arange(N)[:, None] % 4 == 0, 0)
    )


def whole_targets(soft: SoftTargets, labels: Tensor, entries: int = V) -> Tensor:
    """The same as probabilities of all entries, [N, V]."""
    rest = (1 - soft.shares.sum(1, keepdim=True)) * F.one_hot(labels, entries)
    return rest.scatter_add(1, soft.entries, soft.shares)


def plain(x: Tensor, vectors: Tensor, bias: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    return (F.cross_entropy(F.linear(x, vectors, bias), labels, reduction="none") * weights).sum()


@pytest.mark.parametrize("at_once", [1, 7, 50, 4096])
def test_loss_and_gradients_are_those_of_torchs_cross_entropy(inputs, at_once, monkeypatch):
    monkeypatch.setattr(cross_entropy, "AT_ONCE", at_once)
    results = []
    for function in (plain, decoded_cross_entropy):
        loss = function(*inputs)
        results.append([loss, *torch.autograd.grad(3 * loss, inputs[:3])])
    for expected, own in zip(*results, strict=True):
        assert own.dtype == torch.float32
        torch.testing.assert_close(own, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("at_once", [7, 4096])
def test_with_soft_targets_they_are_those_of_torchs_cross_entropy_with_probabilities(inputs, at_once, monkeypatch):
    monkeypatch.setattr(cross_entropy, "AT_ONCE", at_once)
    x, vectors, bias, labels, weights = inputs
    soft = soft_targets()
    losses = F.cross_entropy(F.linear(x, vectors, bias), whole_targets(soft, labels), reduction="none")
    expected = [(loss := (losses * weights).sum()), *torch.autograd.grad(3 * loss, inputs[:3])]
    own = [(loss := decoded_cross_entropy(*inputs, soft)), *torch.autograd.grad(3 * loss, inputs[:3])]
    for one, right in zip(own, expected, strict=True):
        torch.testing.assert_close(one, right, rtol=1e-5, atol=1e-5)
    assert abs(own[0] - plain(*inputs)) > 1


def test_gradients_are_right_in_float64_by_finite_differences(inputs, monkeypatch):
    monkeypatch.setattr(cross_entropy, "AT_ONCE", 3)
    x, vectors, bias, labels, weights = inputs
    few = [t.detach().double().requires_grad_() for t in (x[:5, :4], vectors[:9, :4], bias[:9])]
    assert torch.autograd.gradcheck(lambda *changed: decoded_cross_entropy(*changed, labels[:5] % 9, weights[:5]), few)


@pytest.mark.parametrize("at_once", [7, 4096])
def test_under_autocast_products_are_in_bf16_sums_and_gradients_in_float32(inputs, at_once, monkeypatch):
    monkeypatch.setattr(cross_entropy, "AT_ONCE", at_once)
    expected = [(loss := plain(*inputs)), *torch.autograd.grad(loss, inputs[:3])]
    with torch.autocast("cpu", torch.bfloat16):
        loss = decoded_cross_entropy(*inputs)
    for own, exact in zip([loss, *torch.autograd.grad(loss, inputs[:3])], expected, strict=True):
        assert own.dtype == torch.float32
        assert 0 < (own - exact).norm() < 0.01 * exact.norm()


def test_logits_of_all_positions_never_stand_there_at_once(inputs, monkeypatch):
    class Largest(TorchDispatchMode):
        size = 0

        def __torch_dispatch__(self, function, types, arguments=(), options=None):
            result = function(*arguments, **(options or {}))
            if isinstance(result, Tensor):
                self.size = max(self.size, result.numel())
            return result

    monkeypatch.setattr(cross_entropy, "AT_ONCE", 20)
    sizes = []
    for function in (plain, decoded_cross_entropy):
        with Largest() as largest:
            function(*inputs).backward()
        sizes.append(largest.size)
    assert sizes == [N * V, 20 * V]
