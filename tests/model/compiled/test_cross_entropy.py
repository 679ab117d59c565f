"""The compiled masked-LM loss and its gradient against torch, for logits near and far from zero."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from weixing.model.compiled.cross_entropy import cross_entropy_rows, likely_entries_of_rows
from weixing.model.soft_targets import LEAST_PROBABILITY, MOST_ENTRIES, likely_entries

N, V = 6, 1_003
LABELS = np.array([0, 17, 500, 1_002, 17, 3])
WEIGHTS = np.array([1, 0.5, 0, 2, 1, 1], np.float32)


def logits_of(kind: str) -> torch.Tensor:
    x = torch.randn(N, V, generator=torch.Generator().manual_seed(1))
    far = {"usual": 0, "all high": 200, "all low": -200}
    if kind in far:
        return x + far[kind]
    x = 5 * x
    if kind == "one high":  # right where asked in some rows, elsewhere in others
        x[:3, 17] = x[3:, 500] = 200
    elif kind == "label low":
        x[range(N), LABELS] = -200
    elif kind == "both":
        x[:, ::2], x[:, 1::2] = 200, -200
    return x


@pytest.mark.parametrize("kind", ["usual", "spread", "all high", "all low", "one high", "label low", "both"])
def test_losses_and_gradients_are_torchs_whatever_the_size_of_the_logits(of, dtype, kind):
    # Sums of exponentials of ±200 overflow or vanish: then, and only then, the largest logit is taken off first.
    logits = of(logits_of(kind))
    exact = logits.tensor.double().requires_grad_()
    bias = torch.randn(V, generator=torch.Generator().manual_seed(2)).requires_grad_()
    expected = F.cross_entropy(exact + bias.double(), torch.from_numpy(LABELS), reduction="none")
    expected = expected * torch.from_numpy(WEIGHTS)
    expected.sum().backward()
    losses, bias_gradient = np.zeros(N, np.float32), torch.ones(V)  # to be added to
    cross_entropy_rows(logits.array, bias.detach().numpy(), LABELS, WEIGHTS, losses, bias_gradient.numpy())
    # float32 holds a logit of 200 to 1.5e-5.
    torch.testing.assert_close(torch.from_numpy(losses).double(), expected.detach(), rtol=2e-6, atol=3e-5)
    relative = 2**-8 if dtype == torch.bfloat16 else 2e-5
    torch.testing.assert_close(logits.tensor.double(), exact.grad, rtol=relative, atol=1e-6)
    torch.testing.assert_close(bias_gradient - 1, bias.grad, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("where", ["label", "elsewhere"])
@pytest.mark.parametrize("through", ["logits", "bias"])
@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), float("-inf")])
def test_a_logit_that_is_not_finite_gives_a_loss_that_is_not_finite_unless_it_means_never(of, wrong, through, where):
    logits, bias = torch.randn(1, V, generator=torch.Generator().manual_seed(1)), np.zeros(V, np.float32)
    at = 17 if where == "label" else 99
    if through == "logits":
        logits[0, at] = wrong
    else:
        bias[at] = wrong
    numbers, losses = of(logits), np.zeros(1, np.float32)
    expected = F.cross_entropy(numbers.tensor.float() + torch.from_numpy(bias), torch.tensor([17]))
    cross_entropy_rows(numbers.array, bias, np.array([17]), np.ones(1, np.float32), losses, np.zeros(V, np.float32))
    assert np.isfinite(losses[0]) == expected.isfinite()
    if wrong == float("-inf") and where == "elsewhere":
        assert losses[0] == pytest.approx(expected.item(), rel=1e-5)
    else:
        assert not expected.isfinite()


def test_a_row_of_no_weight_has_neither_loss_nor_gradient(of):
    logits, losses, bias_gradient = of(logits_of("spread")), np.ones(N, np.float32), np.zeros(V, np.float32)
    cross_entropy_rows(logits.array, np.zeros(V, np.float32), LABELS, np.zeros(N, np.float32), losses, bias_gradient)
    assert (logits.tensor == 0).all()
    assert (losses == 0).all()
    assert (bias_gradient == 0).all()


@pytest.mark.parametrize("kind", ["usual", "spread", "all high", "one high", "label low"])
def test_with_soft_targets_losses_and_gradients_are_torchs_with_probabilities(of, dtype, kind):
    logits, random = of(logits_of(kind)), np.random.default_rng(3)
    entries = random.integers(0, V, (N, 4))
    entries[:, 1] = LABELS  # a teacher may find the label likely,
    entries[:, 3] = 0  # and leave places unused
    shares = (random.random((N, 4)) / 5).astype(np.float32)
    shares[:, 3] = 0
    label = torch.from_numpy(1 - shares.sum(1, keepdims=True)) * F.one_hot(torch.from_numpy(LABELS), V)
    targets = label.scatter_add(1, torch.from_numpy(entries), torch.from_numpy(shares))
    exact = logits.tensor.double().requires_grad_()
    bias = torch.randn(V, generator=torch.Generator().manual_seed(2)).requires_grad_()
    expected = F.cross_entropy(exact + bias.double(), targets.double(), reduction="none") * torch.from_numpy(WEIGHTS)
    expected.sum().backward()
    losses, bias_gradient = np.zeros(N, np.float32), torch.ones(V)
    cross_entropy_rows(
        logits.array, bias.detach().numpy(), LABELS, WEIGHTS, losses, bias_gradient.numpy(), entries, shares
    )
    torch.testing.assert_close(torch.from_numpy(losses).double(), expected.detach(), rtol=2e-6, atol=1e-4)
    relative = 2**-8 if dtype == torch.bfloat16 else 2e-5
    torch.testing.assert_close(logits.tensor.double(), exact.grad, rtol=relative, atol=1e-6)
    torch.testing.assert_close(bias_gradient - 1, bias.grad, rtol=1e-4, atol=2e-6)


def test_shares_of_zero_change_no_bit(of):
    plain, soft = of(logits_of("spread")), of(logits_of("spread"))
    results = []
    for numbers, targets in ((plain, ()), (soft, (np.zeros((N, 3), np.int64), np.zeros((N, 3), np.float32)))):
        losses, bias_gradient = np.zeros(N, np.float32), np.zeros(V, np.float32)
        cross_entropy_rows(
            numbers.array, np.zeros(V, np.float32), LABELS, WEIGHTS, losses, bias_gradient, *(targets or (None, None))
        )
        results.append((numbers.array.tobytes(), losses.tobytes(), bias_gradient.tobytes()))
    assert results[0] == results[1]


@pytest.mark.parametrize("scale", [0.5, 2.0, 200.0])  # hundreds of entries above the least probability, some, one
def test_the_likeliest_entries_are_those_that_torch_finds(of, scale):
    size = 150 if scale < 1 else V
    logits = of(scale * torch.randn(N, size, generator=torch.Generator().manual_seed(1)))
    bias = torch.randn(size, generator=torch.Generator().manual_seed(2)) * 0.1
    entries, shares = np.ones((N, MOST_ENTRIES), np.int64), np.ones((N, MOST_ENTRIES), np.float32)
    likely_entries_of_rows(logits.array, bias.numpy(), np.float32(LEAST_PROBABILITY), entries, shares)
    expected = torch.zeros(N, size).scatter_add(1, *likely_entries(logits.tensor.float() + bias))
    own = torch.zeros(N, size).scatter_add(1, torch.from_numpy(entries), torch.from_numpy(shares))
    torch.testing.assert_close(own, expected, rtol=2e-5, atol=1e-7)
    used = (shares > 0).sum(1)
    assert {0.5: (used == MOST_ENTRIES).all(), 2.0: (used > 3).all(), 200.0: used.min() == 1}[scale]
