"""Compiled loops around LayerNorm against torch and autograd, without dropout (see test_dropout.py)."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from weixing.model.compiled.norms import (
    add_and_normalise,
    add_rows_at,
    embed_and_normalise,
    embed_backward,
    normalise,
    normalise_backward,
)

N, H = 11, 192
SUMS = {"rtol": 1e-4, "atol": 1e-4}
NOTHING, NO_KEY = np.float32(0), np.uint32(0)


def random(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


GAIN, SHIFT = random(H, seed=5), random(H, seed=6)


@pytest.fixture
def exact(dtype: torch.dtype) -> np.ndarray | None:
    """Where bf16 results are written unrounded as well; float32 ones are not rounded."""
    return np.zeros((N, H), np.float32) if dtype == torch.bfloat16 else None


def check_exact(exact: np.ndarray | None, out: torch.Tensor, expected: torch.Tensor) -> None:
    if exact is not None:
        torch.testing.assert_close(torch.from_numpy(exact), expected, rtol=1e-5, atol=1e-5)
        assert torch.equal(torch.from_numpy(exact).bfloat16(), out)


def layer_norm(x: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(x, [H], GAIN, SHIFT, 1e-12)


@pytest.mark.parametrize(("size", "centre"), [(1, 0), (0.01, 0), (50, -3), (1, 30)])
def test_a_layer_norm_is_torchs(of, rounding, size, centre):
    x, out, standard = of(size * random(N, H) + centre), of(torch.zeros(N, H)), of(torch.zeros(N, H))
    scale = np.zeros(N, np.float32)
    normalise(x.array, GAIN.numpy(), SHIFT.numpy(), standard.array, scale, out.array)
    exact = x.tensor.float()
    loose = {"rtol": 4 * rounding["rtol"], "atol": 4 * rounding["atol"]}  # numbers of size 4
    torch.testing.assert_close(out.tensor.float(), layer_norm(exact), **loose)
    torch.testing.assert_close(standard.tensor.float(), F.layer_norm(exact, [H], eps=1e-12), **loose)
    torch.testing.assert_close(torch.from_numpy(scale), 1 / exact.std(1, correction=0), rtol=1e-4, atol=0)


def test_a_branch_and_its_bias_are_added_to_the_residual_and_normalised(of, rounding, exact):
    x, bias, residual, out = of(random(N, H)), random(H, seed=2), of(random(N, H, seed=3)), of(torch.zeros(N, H))
    standard, scale = of(torch.zeros(N, H)), np.zeros(N, np.float32)
    add_and_normalise(
        x.array, bias.numpy(), residual.array, GAIN.numpy(), SHIFT.numpy(), standard.array, scale, out.array,
        exact, NOTHING, NO_KEY,
    )  # fmt: skip
    expected = layer_norm(x.tensor.float() + bias + residual.tensor.float())
    torch.testing.assert_close(out.tensor.float(), expected, rtol=4 * rounding["rtol"], atol=4 * rounding["atol"])
    check_exact(exact, out.tensor, expected)


@pytest.mark.parametrize("several", [True, False])
@pytest.mark.parametrize("over", [True, False])
def test_a_layer_norms_gradients_are_autograds(of, rounding, several, over):
    # Where the incoming gradient is the sum of two, and the outgoing one may replace it.
    parts = [of(random(N, H, seed=seed)) for seed in range(1, 2 + several)]
    incoming = sum(part.tensor.float() for part in parts)
    numbers = of(random(N, H, seed=4))
    x, gain, shift = (t.clone().requires_grad_() for t in (numbers.tensor.float(), GAIN, SHIFT))
    F.layer_norm(x, [H], gain, shift, 1e-12).backward(incoming)
    standard, scale, out = of(torch.zeros(N, H)), np.zeros(N, np.float32), of(torch.zeros(N, H))
    normalise(numbers.array, GAIN.numpy(), SHIFT.numpy(), standard.array, scale, out.array)
    out = parts[-1] if over else out
    gains, shifts = torch.ones(H), torch.full((H,), 2.0)  # to be added to
    normalise_backward(
        parts[0].array, parts[1].array if several else None, standard.array, scale, GAIN.numpy(),
        gains.numpy(), shifts.numpy(), out.array,
    )  # fmt: skip
    loose = {key: 8 * value for key, value in rounding.items()}  # `standard` is rounded as well
    torch.testing.assert_close(out.tensor.float(), x.grad, **loose)
    torch.testing.assert_close(gains - 1, gain.grad, **{key: 4 * value for key, value in loose.items()})
    torch.testing.assert_close(shifts - 2, shift.grad, **SUMS)


def test_embeddings_are_three_rows_added_and_their_gradients_return_to_these_rows(of, rounding, exact):
    tables = [random(n, H, seed=n) for n in (9, 7, 2)]
    generator = np.random.default_rng(1)
    indices = [generator.integers(0, len(table) - (len(table) > 2), N) for table in tables]  # some rows unread
    out, standard, scale = of(torch.zeros(N, H)), of(torch.zeros(N, H)), np.zeros(N, np.float32)
    embed_and_normalise(
        *indices, *(t.numpy() for t in tables), GAIN.numpy(), SHIFT.numpy(), standard.array, scale, out.array, exact
    )
    expected = layer_norm(sum(table[index] for table, index in zip(tables, indices, strict=True)))
    torch.testing.assert_close(out.tensor.float(), expected, rtol=4 * rounding["rtol"], atol=4 * rounding["atol"])
    check_exact(exact, out.tensor, expected)

    gradient, totals = of(random(N, H, seed=8)), [torch.ones_like(table) for table in tables]
    embed_backward(gradient.array, *indices, *(t.numpy() for t in totals))
    for total, index in zip(totals, indices, strict=True):
        expected = torch.ones_like(total).index_add_(0, torch.from_numpy(index), gradient.tensor.float())
        torch.testing.assert_close(total, expected, rtol=1e-5, atol=1e-5)


def test_rows_are_added_at_places_that_may_come_again(of, rounding):
    x, more, out, places = of(random(4, H)), of(random(4, H, seed=2)), of(random(6, H, seed=3)), np.array([5, 0, 2, 0])
    both = x.tensor.float() + more.tensor.float()
    expected = out.tensor.float().index_add(0, torch.from_numpy(places), both)
    add_rows_at(x.array, more.array, places, out.array)
    torch.testing.assert_close(out.tensor.float(), expected, rtol=2 * rounding["rtol"], atol=2 * rounding["atol"])
