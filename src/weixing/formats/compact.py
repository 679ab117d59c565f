"""Weights in 8 bits: of each matrix whole numbers, and a float32 scale for each of its rows. Pure: opens no files.

A quarter of the size in float32, for the model that comes with the package; computed with is float32, as ever. A weight
is off by at most half a step, 1/254 of the largest of its row.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from weixing.errors import UserError

SCALE = ".scale_of_rows"  # behind a matrix' name, that of its scales
STEPS = 127


def compact(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with every matrix as int8 [m, n] and scales float32 [m]; vectors stay as they are."""
    made: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.dim() != 2:
            made[name] = tensor
            continue
        scale = tensor.float().abs().amax(1) / STEPS
        step = torch.where(scale > 0, scale, 1.0)  # of a row of zeros any
        made[name] = (tensor.float() / step[:, None]).round().to(torch.int8)
        made[name + SCALE] = scale
    return made


def restored(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `compact` was given, rounded, in float32; tensors without scales are passed on.

    Raises:
        UserError: scales without a matrix that they fit.
    """
    made = {name: tensor for name, tensor in tensors.items() if not name.endswith(SCALE)}
    for name in tensors.keys() - made.keys():
        matrix, scale = made.get(name.removesuffix(SCALE)), tensors[name]
        if matrix is None or matrix.dtype != torch.int8 or scale.shape != matrix.shape[:1] or matrix.dim() != 2:
            raise UserError(f"{name} is not the scales of a matrix of whole numbers beside it")
        made[name.removesuffix(SCALE)] = matrix.float() * scale.float()[:, None]
    return made
