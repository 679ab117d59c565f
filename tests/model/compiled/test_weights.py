"""Products with constant matrices: laid out once for short inputs, and the same numbers as ever."""

import numpy as np
import pytest
import torch
from torch import nn

from weixing.model.compiled.buffers import Buffers
from weixing.model.compiled.parameters import SHORT_INPUT, Weights


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("length", [1, 17, SHORT_INPUT, SHORT_INPUT + 1])
@pytest.mark.parametrize("rows", [slice(None), slice(64), slice(64, None)])
def test_constant_matrices_give_the_product_of_changing_ones(dtype: torch.dtype, length: int, rows: slice) -> None:
    torch.manual_seed(0)
    module, x = nn.Linear(128, 192), torch.randn(length, 128, dtype=dtype)
    constant, changing = Weights(module, dtype, constant=True), Weights(module, dtype)
    buffers = Buffers(dtype)
    width = len(range(192)[rows])

    got = constant.apply("weight", x, buffers("got", length, width), rows)
    again = constant.apply("weight", x, buffers("again", length, width), rows)
    plain = changing.apply("weight", x, buffers("plain", length, width), rows)

    # Both round sums of 128 products that are made in another order.
    nearness = 1e-6 if dtype == torch.float32 else 2**-7
    torch.testing.assert_close(got.tensor, plain.tensor, rtol=nearness, atol=nearness)
    np.testing.assert_array_equal(got.array, again.array)


def test_changing_matrices_are_read_anew() -> None:
    module, x = nn.Linear(128, 128), torch.randn(3, 128)
    weights, buffers = Weights(module, torch.float32), Buffers(torch.float32)
    weights.apply("weight", x, buffers("out", 3, 128))
    with torch.no_grad():
        module.weight.mul_(2)
    assert torch.equal(weights.apply("weight", x, buffers("out", 3, 128)).tensor, x @ module.weight.T)
