"""Products in 16-bit whole numbers are those of float32 to about a part in ten thousand, and no sum overflows."""

import numpy as np
import pytest
import torch
from torch import nn

from weixing.model.compiled.buffers import numbers
from weixing.model.compiled.int16 import LARGEST, Int16Matrix, Int16Weights, has_int16, multiply_int16

pytestmark = pytest.mark.skipif(not has_int16(), reason="this processor has no AVX2")


def product(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    matrix = Int16Matrix.of(weight)
    out = np.full((len(x), len(weight)), np.nan, np.float32)
    multiply_int16(x, x.view(np.int32), matrix.panels, matrix.scales, out)
    return out


@pytest.mark.parametrize("rows", [1, 5, 6, 7, 50, 700])
@pytest.mark.parametrize(("units", "columns"), [(64, 64), (33, 37), (1, 1), (512, 15), (100, 48)])
def test_any_size_is_close_to_float32(rows: int, units: int, columns: int) -> None:
    random = np.random.default_rng(rows * units)
    x = random.standard_normal((rows, units)).astype(np.float32) * 10 ** random.uniform(-3, 3, (rows, 1))
    x = x.astype(np.float32)
    weight = random.standard_normal((columns, units)).astype(np.float32) * 0.04
    exact = x.astype(np.float64) @ weight.T.astype(np.float64)
    # Each number is off by half a step at most, in x and in the weights.
    most = np.abs(x).max(1)[:, None] / LARGEST * np.abs(weight).sum(1) + 1e-4 * np.abs(x) @ np.abs(weight).T
    assert (np.abs(product(x, weight) - exact) <= most).all()
    if min(units, columns) > 8:
        cosines = (product(x, weight) * exact).sum(1) / np.linalg.norm(exact, axis=1)
        assert (cosines > 0.999999 * np.linalg.norm(product(x, weight), axis=1)).all()


@pytest.mark.parametrize("units", [64, 3072, 8192])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_sum_that_can_be_does_not_overflow(units: int, sign: int) -> None:
    x = np.full((7, units), 3, np.float32)
    weight = np.full((20, units), 0.5 * sign, np.float32)
    np.testing.assert_allclose(product(x, weight), 1.5 * sign * units, rtol=1e-6 * units + 5e-4)
    weight[:, ::2] *= -1
    x[:, ::2] *= -1
    np.testing.assert_allclose(product(x, weight), 1.5 * sign * units, rtol=1e-6 * units + 5e-4)


def test_rows_of_zeros_and_outliers_stay_what_they_are() -> None:
    x = np.zeros((3, 64), np.float32)
    x[1, 5], x[2, :2] = 1e6, (1e-38, -1e-38)
    weight = np.eye(64, dtype=np.float32)[:32]
    weight[9] = 0
    result = product(x, weight)
    assert (result[[0, 2]] == 0).all()
    assert result[1, 5] == pytest.approx(1e6, rel=1e-4)
    assert (np.delete(result[1], 5) == 0).all()


def test_weights_apply_a_matrix_or_some_of_its_rows() -> None:
    torch.manual_seed(7)
    module = nn.Linear(48, 96)
    weights, x = Int16Weights(module), torch.randn(9, 48)
    for rows in (slice(None), slice(48), slice(48, None)):
        expected = x @ module.weight.detach()[rows].t()
        out = weights.apply("weight", x, numbers(torch.empty_like(expected)), rows)
        torch.testing.assert_close(out.tensor, expected, rtol=0, atol=2e-3)
        np.testing.assert_array_equal(
            out.array, weights.apply("weight", x, numbers(torch.empty_like(expected)), rows).array
        )
