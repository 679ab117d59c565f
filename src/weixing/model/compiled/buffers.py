"""Memory that is used again and again, seen as a torch tensor (for matrix products) and as an array (for loops).

Fresh buffers of this size come from the system page by page, which costs a CPU as much as filling them.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

MOST_VIEWS = 4096  # batches of ever other shapes must not fill the memory with views


class Numbers(NamedTuple):
    """One piece of memory: `tensor`, bf16 or float32, and `array`, the same as uint16 or float32."""

    tensor: Tensor
    array: np.ndarray


def numbers(tensor: Tensor) -> Numbers:
    """`tensor`, on the CPU, seen both ways."""
    tensor = tensor.detach()
    return Numbers(tensor, (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy())


class Buffers:
    """Buffers of one worker by name; asked for again in the same size, the same memory comes back.

    Args:
        dtype: of the numbers, torch.bfloat16 or torch.float32.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self._memory: dict[tuple[str, torch.dtype], Tensor] = {}
        self._views: dict[tuple[str, tuple[int, ...], torch.dtype], Numbers] = {}

    def __call__(self, name: str, *shape: int, dtype: torch.dtype | None = None) -> Numbers:
        """Numbers of `shape`, with whatever they held before."""
        dtype = dtype or self.dtype
        found = self._views.get((name, shape, dtype))
        if found is None:
            size = int(np.prod(shape))
            memory = self._memory.get((name, dtype))
            if memory is None or len(memory) < size:
                memory = self._memory[name, dtype] = torch.empty(size, dtype=dtype)
                self._views = {key: view for key, view in self._views.items() if (key[0], key[2]) != (name, dtype)}
            if len(self._views) >= MOST_VIEWS:
                self._views.clear()
            found = self._views[name, shape, dtype] = numbers(memory[:size].view(shape))
        return found


def multiply(left: Tensor, right: Tensor, out: Numbers) -> Numbers:
    """out = left @ right."""
    torch.mm(left, right, out=out.tensor)
    return out
