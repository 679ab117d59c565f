"""Buffers: the same memory for the same name, never shared between names, types or what was outgrown."""

import numpy as np
import pytest
import torch

from weixing.model.compiled.buffers import Buffers, multiply, numbers


def test_asked_for_again_the_same_memory_comes_back_with_what_it_held():
    buffers = Buffers(torch.float32)
    first = buffers("a", 3, 4)
    first.tensor.fill_(5)
    again = buffers("a", 3, 4)
    assert again.tensor.data_ptr() == first.tensor.data_ptr()
    assert (again.array == 5).all()


def test_a_smaller_or_other_shape_is_seen_in_the_same_memory():
    buffers = Buffers(torch.float32)
    whole = buffers("a", 3, 4)
    whole.tensor.copy_(torch.arange(12.0).view(3, 4))
    assert buffers("a", 4, 3).array.ravel().tolist() == list(range(12))
    assert buffers("a", 2, 3).array.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert buffers("a", 2, 3).array.flags.c_contiguous


def test_a_larger_one_is_new_and_what_is_asked_for_from_then_on_lies_in_it():
    buffers = Buffers(torch.float32)
    old = buffers("a", 3, 4)
    old.tensor.fill_(1)
    larger, again = buffers("a", 5, 4), buffers("a", 3, 4)
    larger.tensor.fill_(2)
    assert (again.tensor == 2).all()
    assert (old.tensor == 1).all()  # whoever still holds it
    again.tensor.fill_(3)
    assert (larger.tensor[:3] == 3).all()
    assert (larger.tensor[3:] == 2).all()
    assert buffers("a", 3, 4).tensor.data_ptr() == larger.tensor.data_ptr()


def test_names_and_types_have_memory_of_their_own():
    buffers = Buffers(torch.bfloat16)
    own = [buffers("a", 8), buffers("b", 8), buffers("a", 8, dtype=torch.float32), Buffers(torch.bfloat16)("a", 8)]
    for value, one in enumerate(own):
        one.tensor.fill_(value)
    assert [one.tensor.unique().tolist() for one in own] == [[0], [1], [2], [3]]
    assert [one.tensor.dtype for one in own[:3]] == [torch.bfloat16, torch.bfloat16, torch.float32]
    buffers("a", 9)  # growing one leaves the others alone
    assert buffers("a", 8, dtype=torch.float32).tensor.data_ptr() == own[2].tensor.data_ptr()
    assert buffers("b", 8).tensor.data_ptr() == own[1].tensor.data_ptr()


@pytest.mark.parametrize(("dtype", "kind"), [(torch.float32, np.float32), (torch.bfloat16, np.uint16)])
def test_tensor_and_array_are_one_memory(dtype, kind):
    one = numbers(torch.nn.Parameter(torch.zeros(2, 3, dtype=dtype)))
    assert one.array.dtype == kind
    one.tensor[1, 2] = 1
    assert one.array[1, 2] == (0x3F80 if dtype == torch.bfloat16 else 1)


def test_a_product_is_written_into_the_memory_given(dtype):
    left, right = (torch.randn(4, 4, generator=torch.Generator().manual_seed(n)).to(dtype) for n in (1, 2))
    out = Buffers(dtype)("product", 4, 4)
    assert multiply(left.t(), right, out) is out
    torch.testing.assert_close(out.tensor, left.t() @ right)
