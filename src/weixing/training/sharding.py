"""A model cut among the ranks (FSDP2): each keeps a part of every parameter, gradient and optimizer state.

A layer's parameters are whole on a rank only while that layer computes. What is saved and read is whole, in the form
that other runs have. Shapes past a billion parameters are what this is for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from weixing.errors import UserError
from weixing.model.compiled.workers import Workers
from weixing.model.encoder import Layer
from weixing.model.heads import MaskedLanguageModel
from weixing.training.batch import Batch, masked_loss
from weixing.training.cutting import has_cut, is_cut, joined_like, local, part_of, whole
from weixing.training.devices import Precision, autocast
from weixing.training.ranks import Ranks


@dataclass(frozen=True)
class Memory:
    """What is done without to save memory; none of it changes a result, but for rounding.

    Attributes:
        shard: whether the model is cut among the ranks.
        offload: whether each rank's part is in the host's memory, and on the GPU only while it computes.
        recompute: whether a layer's inner activations are computed again in the backward pass.
    """

    shard: bool = False
    offload: bool = False
    recompute: bool = False


NOTHING_SAVED = Memory()


def require_possible(memory: Memory, device: torch.device, ranks: Ranks) -> None:
    """See that memory can be saved in this way.

    Raises:
        UserError: it cannot.
    """
    if memory.shard and ranks.count == 1:
        raise UserError("--shard with one process", accepted="several, which torchrun starts (docs/scale.md)")
    if memory.offload and not memory.shard:
        raise UserError("--offload alone", accepted="--shard --offload")
    if memory.recompute and not memory.shard and device.type == "cpu":
        raise UserError("--recompute on a CPU, whose passes work on a few rows at a time", accepted="with --shard")


def place(model: MaskedLanguageModel, device: torch.device, memory: Memory, ranks: Ranks) -> MaskedLanguageModel:
    """The model on its device, or cut among the devices of all ranks."""
    for layer in model.encoder.layers:
        cast(Layer, layer).recompute = memory.recompute
    if not memory.shard:
        return model.to(device)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(device.type, (ranks.count,))
    offload = CPUOffloadPolicy(pin_memory=device.type == "cuda") if memory.offload else OffloadPolicy()
    for module in (*model.encoder.layers, model):
        fully_shard(module, mesh=mesh, offload_policy=offload)
    register_fsdp_forward_method(model, "loss")
    return model


class ShardedGradients:
    """By autograd on a model that is cut: each rank ends with its part of the gradients of all ranks' rows.

    Args:
        model: cut (`place`), with its dropout set.
        precision: of the matrix products.
        micro_batch_size: rows of one forward pass.
        device: where it computes.
        ranks: the processes that have rows of the update.
        entries: vocabulary entries that can be predicted (`weixing.data.reach`), or None: all.
    """

    def __init__(
        self,
        model: MaskedLanguageModel,
        precision: Precision,
        micro_batch_size: int,
        device: torch.device,
        ranks: Ranks,
        entries: np.ndarray | None = None,
    ) -> None:
        self.model, self.precision, self.micro_batch_size, self.ranks = model, precision, micro_batch_size, ranks
        self.device, self.entries = device, None if entries is None else torch.from_numpy(entries).to(device)
        self.parameters = list(model.parameters())
        self.workers: Workers | None = None
        self.copies: Mapping[Tensor, np.ndarray] = {}
        self.pieces: Mapping[Tensor, list[slice]] = {}

    def refresh(self) -> None:
        """Nothing to do."""

    def __call__(self, batch: Batch, seed: int) -> Tensor:
        """Fill ``grad``; dropout follows torch's own random state, not `seed`."""
        for parameter in self.parameters:
            parameter.grad = None
        # FSDP gives the mean over the ranks of what is the sum here.
        factor = self.ranks.count / self.ranks.sum(batch.masked.weights.sum()).clamp(min=1)
        total = torch.zeros((), device=self.device)
        for start in range(0, len(batch), self.micro_batch_size):
            with autocast(self.device, self.precision):
                part = masked_loss(self.model, batch[start : start + self.micro_batch_size], self.entries)
            (part * factor).backward()  # added up over the ranks each time: a sum of one's own would be a whole one
            total += part.detach()
        return total

    def clip(self, limit: float) -> Tensor:
        """As in `weixing.training.gradients.GradientMaker`."""
        return whole(clip_grad_norm_(self.parameters, limit)).to(self.device)


class Held:
    """A state, in the place of the model or the optimizer that it is of."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        self.state = state or {}

    def state_dict(self) -> dict[str, Any]:
        """The state."""
        return self.state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Hold another."""
        self.state = state


def gathered(model: nn.Module, optimizers: Sequence[Optimizer], ranks: Ranks) -> tuple[nn.Module, Sequence[Optimizer]]:
    """The states of a model that is cut and of its optimizers, whole in rank 0's memory; all ranks must ask.

    Those of a model that is not cut are returned as they are.
    """
    if not has_cut(model):
        return model, optimizers

    def of(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: of(item) for key, item in value.items()}
        if is_cut(value):  # one at a time
            full = value.full_tensor()
            return full.cpu() if ranks.first else None
        return value

    states = [Held(of(optimizer.state_dict())) for optimizer in optimizers]
    return cast(nn.Module, Held(of(model.state_dict()))), cast(Sequence[Optimizer], states)


def empty(model: nn.Module, optimizers: Sequence[Optimizer]) -> tuple[nn.Module, Sequence[Optimizer]]:
    """What a checkpoint of a model that is cut is read into; a model that is not cut is read into itself."""
    if not has_cut(model):
        return model, optimizers
    return cast(nn.Module, Held()), cast(Sequence[Optimizer], [Held() for _ in optimizers])


@torch.no_grad()
def scatter(
    read: tuple[nn.Module, Sequence[Optimizer]], model: nn.Module, optimizers: Sequence[Optimizer], ranks: Ranks
) -> None:
    """Give every rank its part of what rank 0 has `read` (into `empty`), of which the others have nothing."""
    if not has_cut(model):
        ranks.follow_first(model, optimizers)
        return
    states = read[0].state_dict()
    for name, parameter in model.state_dict().items():
        value: Any = ranks.given(states.get(name))
        local(parameter).copy_(part_of(value, parameter))
    for held, optimizer in zip(read[1], optimizers, strict=True):
        state = held.state_dict()
        groups: Any = ranks.given(state.get("param_groups"))
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        numbers = [number for group in groups for number in group["params"]]
        cut: dict[int, dict[str, Any]] = {}
        for number, parameter in zip(numbers, parameters, strict=True):
            of_parameter = state.get("state", {}).get(number, {})
            names = ranks.given(list(of_parameter))
            values = {name: ranks.given(of_parameter.get(name)) for name in names}
            cut[number] = {
                name: joined_like(part_of(value, parameter).to(parameter.device), parameter)
                if isinstance(value, Tensor) and value.shape == parameter.shape
                else value
                for name, value in values.items()
            }
        optimizer.load_state_dict({"state": cut, "param_groups": groups})


def whole_model(model: MaskedLanguageModel, ranks: Ranks) -> MaskedLanguageModel:
    """The model in rank 0's memory; on other ranks it is of no use where it was cut."""
    if not has_cut(model):
        return model.cpu()
    held, _ = gathered(model, [], ranks)
    joined = MaskedLanguageModel(model.encoder.shape)
    if ranks.first:
        joined.load_state_dict(held.state_dict())
    return joined.eval()
