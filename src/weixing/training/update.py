"""One update of a model: batch, gradients, clip, optimizers; on a GPU replayed as one CUDA graph.

Small shapes take a GPU less time to compute than a host to launch, kernel by kernel: 2/128 has 460 launches an update.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from weixing.training.batch import Batch, BatchMaker, PlacedRows, ReadRows
from weixing.training.gradients import GradientMaker
from weixing.training.muon import Muon

UNCAPTURED_UPDATES = 3  # of each form of rows: code is compiled in the first, libraries take their memory in all
Form = tuple[bool, bool, bool]


class Updating(Protocol):
    """An update of one model, or of several: what `Update` is."""

    @property
    def batches(self) -> BatchMaker:
        """Makes the batches."""

    @property
    def optimizers(self) -> Sequence[Optimizer]:
        """Those of all models."""

    def __call__(self, rows: ReadRows, seed: int) -> Tensor:
        """Make the update."""

    def apply(self, placed: PlacedRows, seed: int) -> Tensor:
        """The same from rows on the device."""


class Update:
    """An update as it stands.

    Args:
        batches: makes the batches, on the device.
        gradients: makes and clips the gradients of the model.
        optimizers: update its parameters.
        gradient_clip: largest L2 norm of the whole gradient; None: no clipping.
    """

    def __init__(
        self,
        batches: BatchMaker,
        gradients: GradientMaker,
        optimizers: Sequence[Optimizer],
        gradient_clip: float | None,
    ) -> None:
        self.batches, self.gradients, self.optimizers = batches, gradients, optimizers
        # Without a clip this only measures: a norm is never above infinity.
        self._clip = gradient_clip or math.inf

    def __call__(self, rows: ReadRows, seed: int) -> Tensor:
        """Update the model; `seed` decides masks and dropout.

        Returns:
            float32 [3] on the device, which is not waited for: the sum of the losses, the number of predicted
            positions, the L2 norm that the gradient had.
        """
        return self.apply(self.batches.place(rows, seed), seed)

    def apply(self, placed: PlacedRows, seed: int) -> Tensor:
        """The same from rows on the device."""
        return self.learn(self.batches.make(placed), seed)

    def learn(self, batch: Batch, seed: int) -> Tensor:
        """The same from a batch."""
        loss = self.gradients(batch, seed)
        norm = self.gradients.clip(self._clip)
        for optimizer in self.optimizers:
            optimizer.step()
        return torch.stack([loss, batch.masked.weights.sum(), norm])


@dataclass
class _Captured:
    """Of one form of rows: updates made without a graph, where graphs read, and one graph for each of Muon's turns."""

    uncaptured: int = 0
    inputs: PlacedRows | None = None
    graphs: dict[tuple[int, ...], tuple[torch.cuda.CUDAGraph, Tensor]] = field(default_factory=dict)


class CapturedUpdate:
    """An update replayed as one CUDA graph: the host copies rows, draws, sets learning rates and launches once.

    Forward and backward pass should be compiled, but not in a mode that makes CUDA graphs of its own. What the host
    alone knows of an update is outside of the graph: rows, draws and learning rates are tensors that it fills before,
    and for each of Muon's turns there is a graph. Source: docs.pytorch.org, "CUDA semantics", "Whole-network capture".

    Args:
        update: what is captured; its parameters, optimizer states and learning rates must stay where they are.
    """

    def __init__(self, update: Updating) -> None:
        self._update = update
        self._captured: dict[Form, _Captured] = {}
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, rows: ReadRows, seed: int) -> Tensor:
        """As `Update.__call__`."""
        captured = self._captured.setdefault((rows.padded, rows.isolated, rows.continues_word is not None), _Captured())
        if captured.uncaptured < UNCAPTURED_UPDATES:
            captured.uncaptured += 1
            return self._update(rows, seed)
        captured.inputs = inputs = self._update.batches.place(rows, seed, captured.inputs)
        muons = [optimizer for optimizer in self._update.optimizers if isinstance(optimizer, Muon)]
        turns = tuple(muon.turn for muon in muons)
        if turns in captured.graphs:
            for muon in muons:
                muon.count()  # capturing has counted, replaying does not
        else:
            captured.graphs[turns] = self._capture(inputs, seed)
        graph, measured = captured.graphs[turns]
        graph.replay()
        return measured.clone()

    def _capture(self, inputs: PlacedRows, seed: int) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        """A graph of the update, which is not made, and where its replays leave what they measure."""
        for optimizer in self._update.optimizers:
            put_learning_rates_on(inputs.ids.device, optimizer)
        graph = torch.cuda.CUDAGraph()
        # The thread that reads ahead may take and give back pinned memory meanwhile.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            measured = self._update.apply(inputs, seed)
        return graph, measured


def put_learning_rates_on(device: torch.device, optimizer: Optimizer) -> None:
    """Make the learning rates of `optimizer` tensors on `device`, which a graph reads anew in each replay."""
    for group in optimizer.param_groups:
        group["lr"] = torch.as_tensor(group["lr"], dtype=torch.float32, device=device)  # itself if it is one
        if "capturable" in group:
            group["capturable"] = True
