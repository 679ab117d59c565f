"""Compiled loops over rows against torch: biases, GELU, sums."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from weixing.model.compiled.elementwise import (
    add_bias,
    add_column_sums,
    add_numbers,
    gelu_backward,
    gelu_forward,
)

SUMS = {"rtol": 1e-5, "atol": 1e-5}  # sums are float32 whatever the numbers are


def random(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_gelu_and_its_slope_are_torchs_from_minus_12_to_12(of, dtype):
    x, y = of(torch.linspace(-12, 12, 40_000).view(4, -1)), of(torch.zeros(4, 10_000))
    at = x.tensor.double().requires_grad_()
    expected = F.gelu(at)
    expected.sum().backward()
    gelu_forward(x.array, np.zeros(10_000, np.float32), y.array)
    half_a_place = {torch.float32: 2**-24, torch.bfloat16: 2**-8}[dtype]
    for own, exact in ((y.tensor, expected.detach()), (x.tensor, at.grad)):  # x has become the slope
        assert ((own.double() - exact).abs() <= 1.001 * half_a_place * exact.abs() + 5e-7).all()


def test_gelu_adds_its_bias_first_and_can_write_over_its_input(of, rounding):
    x, bias = random(5, 48), random(48, seed=2)
    numbers = of(x)
    expected = F.gelu(numbers.tensor.float() + bias)
    gelu_forward(numbers.array, bias.numpy(), numbers.array)
    torch.testing.assert_close(numbers.tensor.float(), expected, **rounding)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), float("-inf")])
def test_gelu_hides_no_number_that_is_not_finite(of, wrong):
    x, y = of(torch.full((1, 16), wrong)), of(torch.zeros(1, 16))
    gelu_forward(x.array, np.zeros(16, np.float32), y.array)
    assert not y.tensor.isfinite().any()


def test_gelus_gradient_is_multiplied_by_the_slope_and_summed_for_the_bias(of, rounding):
    gradient, slope, sums = of(random(7, 48)), of(random(7, 48, seed=2)), random(48, seed=3)
    expected = gradient.tensor.float() * slope.tensor.float()
    total = sums.clone()
    gelu_backward(gradient.array, slope.array, total.numpy())
    torch.testing.assert_close(gradient.tensor.float(), expected, **rounding)
    torch.testing.assert_close(total, sums + expected.sum(0), **SUMS)


def test_a_bias_is_added_to_every_row_and_its_gradient_is_the_sum_of_the_rows(of, rounding):
    x, bias = of(random(7, 33)), random(33, seed=2)
    expected = x.tensor.float() + bias
    add_bias(x.array, bias.numpy())
    torch.testing.assert_close(x.tensor.float(), expected, **rounding)
    sums = bias.clone()
    add_column_sums(x.array, sums.numpy())
    torch.testing.assert_close(sums, bias + x.tensor.float().sum(0), **SUMS)


@pytest.mark.parametrize("first", [True, False])
def test_parts_are_added_to_a_total_or_replace_it_where_they_come_first(of, first):
    x, before, places = of(random(3, 8)), random(5, 8, seed=2), np.array([4, 0, 1])
    part = x.tensor.float()
    total = before[:3].clone()
    add_numbers(x.array, total.numpy(), first)
    assert torch.equal(total, part if first else before[:3] + part)
    total = before.clone()
    add_numbers(x.array, total.numpy(), first, places)
    expected = before.clone()
    expected[places] = part if first else before[places] + part
    assert torch.equal(total, expected)
