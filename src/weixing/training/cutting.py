"""Tensors that may be cut among ranks (FSDP2), a part on each; of those that are not, a part is the whole. Pure.

Torch's module for them takes most of a second to import: where nobody has imported it, nothing is cut.
"""

import sys
from typing import TYPE_CHECKING, TypeGuard

from torch import Tensor, nn

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def is_cut(tensor: object) -> "TypeGuard[DTensor]":
    """Whether it is a tensor that is cut."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def has_cut(model: nn.Module) -> bool:
    """Whether a model's parameters are cut."""
    return any(is_cut(parameter) for parameter in model.parameters())


def local(tensor: Tensor) -> Tensor:
    """This rank's part, which shares its memory; a tensor that is not cut is its own."""
    return tensor.to_local() if is_cut(tensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """All of it, on every rank, which all must ask for."""
    return tensor.full_tensor() if is_cut(tensor) else tensor


def joined_like(part: Tensor, like: Tensor) -> Tensor:
    """What the ranks' parts come to, cut as `like` is."""
    if not is_cut(like):
        return part
    from torch.distributed.tensor import DTensor

    return DTensor.from_local(
        part, like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
    )


def part_of(tensor: Tensor, like: Tensor) -> Tensor:
    """This rank's part of a whole tensor that all ranks have, cut as `like` is."""
    if not is_cut(like):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None).to_local()
