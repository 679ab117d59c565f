"""Cells on a Ray cluster: each is a task, which Ray runs again elsewhere if its machine or process is lost.

What cells share is put into the object store once; a task maps it there. weixing must be installed on every machine.
"""

import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from weixing.clusters import TRIES, reason_of
from weixing.errors import UserError
from weixing.progress import say
from weixing.tasks.cells import Cell
from weixing.tasks.job import Failed, Finished, Job, Report, as_it_travels, run_cell, with_tensors, without_tensors


class RayCluster:
    """Runs cells as tasks.

    Args:
        ray: from `connection`.
        job: what cells share.
        device: of the cells, ``cpu`` or ``cuda`` (one device each).
    """

    def __init__(self, ray: Any, job: Job, device: torch.device) -> None:
        self.ray, self.device = ray, device.type
        hollow, tensors = without_tensors(job)
        self.shared = ray.put((hollow, {name: tensor.numpy() for name, tensor in tensors.items()}))
        self.unit, self.units = ("GPU", 1) if device.type == "cuda" else ("CPU", job.threads)
        needed = {"num_cpus": job.threads} if device.type == "cpu" else {"num_cpus": 1, "num_gpus": 1}
        self.task = ray.remote(**needed, max_retries=TRIES - 1)(_run_cell)
        if not any(self._has_room(node) for node in ray.nodes()):
            say(f"note: no machine of the cluster has {self.units} {self.unit}; waiting for one")

    def __enter__(self) -> "RayCluster":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def run(self, cells: Sequence[Cell], wanted: Callable[[], float], report: Report) -> Iterator[Finished | Failed]:
        """As in `Runner`; rows are told as a cell ends."""
        waiting, under_way = deque(cells), dict[Any, Cell]()
        while waiting or under_way:
            # No more than there is room for: what is `wanted` grows with every score.
            while waiting and len(under_way) < self._places():
                cell = waiting.popleft()
                under_way[self.task.remote(self.shared, cell, self.device, wanted())] = cell
            for reference in self.ray.wait(list(under_way), timeout=1.0)[0]:
                yield self._outcome(reference, under_way.pop(reference))

    def _outcome(self, reference: Any, cell: Cell) -> Finished | Failed:
        try:
            return self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            what = f"it was lost {TRIES} times on the cluster: {reason_of(error)}"
            return Failed(cell, UserError(what, action="See ray status"))

    def _places(self) -> int:
        return max(1, int(self.ray.cluster_resources().get(self.unit, 0) // self.units))

    def _has_room(self, node: Mapping[str, Any]) -> bool:
        return node["Alive"] and node["Resources"].get(self.unit, 0) >= self.units


def _run_cell(
    shared: tuple[Job, Mapping[str, np.ndarray]], cell: Cell, device: str, wanted: float
) -> Finished | Failed:
    """A task."""
    hollow, arrays = shared
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nor is it written to
        job = with_tensors(hollow, {name: torch.from_numpy(array) for name, array in arrays.items()})
    where = torch.device(device)
    try:
        return run_cell(job.on(where), cell, where, wanted, lambda cell, rows, note: None)
    except Exception as error:
        return Failed(cell, as_it_travels(error))
