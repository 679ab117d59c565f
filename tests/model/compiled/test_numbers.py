"""bf16 and float32 numbers, exp and random bits in compiled loops, against numpy and torch."""

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from numba import njit

from weixing.model.compiled.buffers import numbers
from weixing.model.compiled.elementwise import convert, convert_rows
from weixing.model.compiled.numbers import compiled, exp, random_bits


@compiled
def _exp_of_each(x, y):
    for i in range(len(x)):
        y[i] = exp(x[i])


@njit
def _bits_of_each(key, counters, bits):
    for i in range(len(counters)):
        bits[i] = random_bits(key, counters[i])


def exp_of(x: np.ndarray) -> np.ndarray:
    y = np.empty_like(x)
    _exp_of_each(x, y)
    return y


def bits_of(key: int, counters: np.ndarray) -> np.ndarray:
    bits = np.empty_like(counters)
    _bits_of_each(np.uint32(key), counters, bits)
    return bits


def to_bf16(x: torch.Tensor) -> torch.Tensor:
    out = numbers(torch.zeros(1, len(x), dtype=torch.bfloat16))
    convert(x.numpy()[None], out.array)
    return out.tensor[0]


@given(st.floats(width=32, allow_nan=False))
@example(1.0 + 2**-8)  # half way between two bf16 numbers: to the even one, below
@example(1.0 + 3 * 2**-8)  # and above
@example(1.0 + 2**-8 + 2**-23)
@example(3.4e38)  # rounds to infinity
@example(1e-45)
@example(-0.0)
def test_a_number_is_stored_as_the_nearest_bf16_ties_to_even(number):
    x = torch.tensor([number], dtype=torch.float32)
    assert torch.equal(to_bf16(x).view(torch.uint16), x.bfloat16().view(torch.uint16))


def test_every_bf16_number_is_read_as_itself_and_stored_unchanged():
    every = torch.arange(2**16, dtype=torch.int32).to(torch.uint16)
    x, out = numbers(every.view(torch.bfloat16)[None]), numbers(torch.empty(1, 2**16))
    convert(x.array, out.array)
    torch.testing.assert_close(out.tensor[0], every.view(torch.bfloat16).float(), rtol=0, atol=0, equal_nan=True)
    assert torch.equal(to_bf16(out.tensor[0]).isnan(), every.view(torch.bfloat16).isnan())
    kept = ~out.tensor[0].isnan()
    assert torch.equal(to_bf16(out.tensor[0]).view(torch.uint16)[kept], every[kept])


def test_chosen_rows_are_converted_in_their_order(of, dtype):
    x, places = torch.randn(5, 8, generator=torch.Generator().manual_seed(1)), np.array([3, 0, 3])
    out = of(torch.zeros(3, 8))
    convert_rows(x.numpy(), places, out.array)
    assert torch.equal(out.tensor, x[places].to(dtype))


def test_exp_is_exp_over_the_whole_range_of_float32():
    x = np.linspace(-87, 88, 300_001, dtype=np.float32)
    error = np.abs(exp_of(x) / np.exp(x.astype(np.float64)) - 1)
    assert error[np.abs(x) < 1].max() < 3e-7
    assert error.max() < 5e-6  # far out, x · log2(e) itself is rounded at 1e-6 of a power


def test_exp_stays_a_positive_finite_number_out_of_range_and_keeps_nan():
    inputs = np.array([-np.inf, -1e30, -88, 89, 1e30, np.inf, np.nan], np.float32)
    values = exp_of(inputs)
    assert (values[:3] == values[0]).all()
    assert 0 < values[0] < 2e-38
    assert (values[3:6] == values[3]).all()
    assert 1e38 < values[3] < np.inf
    assert np.isnan(values[6])


def test_random_bits_are_even_and_a_flipped_bit_of_key_or_counter_flips_half_of_them():
    counters = np.arange(20_000, dtype=np.uint32)

    def shares(bits: np.ndarray) -> np.ndarray:
        return ((bits[:, None] >> np.arange(32, dtype=np.uint32)) & 1).mean(0)

    bits = bits_of(7, counters)
    assert np.abs(shares(bits) - 0.5).max() < 0.02
    for bit in range(32):
        flip = np.uint32(1 << bit)
        assert np.abs(shares(bits ^ bits_of(7 ^ int(flip), counters)) - 0.5).max() < 0.12
        assert np.abs(shares(bits ^ bits_of(7, counters ^ flip)) - 0.5).max() < 0.12


@pytest.mark.parametrize("key", [0, 1, 2**32 - 1])
def test_random_bits_of_one_key_never_repeat(key):
    counters = np.arange(100_000, dtype=np.uint32)
    assert len(np.unique(bits_of(key, counters))) == len(counters)  # a bijection of the counter
