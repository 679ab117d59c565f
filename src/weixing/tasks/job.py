"""What the cells of a grid share, what one cell's run gives, and how both reach another process. Opens no file.

Of a cell's run nothing depends on where it takes place: the same job on a like processor gives the same bits, in this
process, in another one, or on another machine.
"""

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from weixing.errors import UserError
from weixing.model.encoder import Encoder
from weixing.model.heads import TaskModel
from weixing.tasks.cells import Cell
from weixing.tasks.encoding import Encoded
from weixing.tasks.finetune import Outcome, fine_tune
from weixing.tasks.objectives import Objective
from weixing.tasks.tuning import Tuning
from weixing.training.devices import Precision
from weixing.zoo import Shape

Value = TypeVar("Value")


@dataclass(frozen=True)
class Job:
    """What all cells of a grid share: tensors and plain values.

    `weights` are the pretrained encoder's, by name; `threads` cores of a CPU share the rows of each cell.
    """

    shape: Shape
    weights: Mapping[str, Tensor]
    train: Encoded
    dev: Encoded
    objective: Objective
    max_length: int
    precision: Precision
    threads: int
    tuning: Tuning

    def encoder(self) -> Encoder:
        """The pretrained encoder, in the memory of `weights`."""
        with torch.device("meta"):
            encoder = Encoder(self.shape)
        encoder.load_state_dict(dict(self.weights), assign=True)
        return encoder

    def on(self, device: torch.device) -> "Job":
        """The same with its rows on `device`."""
        return replace(self, train=self.train.to(device), dev=self.dev.to(device))


@dataclass(frozen=True)
class Finished:
    """A cell's run: the weights of the model in `outcome` are here, on the CPU, or nowhere if they were not wanted."""

    cell: Cell
    outcome: Outcome
    weights: Mapping[str, Tensor] | None

    def model(self) -> TaskModel:
        """The model, which must have been wanted."""
        assert self.weights is not None
        self.outcome.model.load_state_dict(dict(self.weights), assign=True)
        return self.outcome.model.eval()


@dataclass(frozen=True)
class Failed:
    """A cell that gave nothing, and why: a UserError, memory that ran out, or a RuntimeError for a program's fault."""

    cell: Cell
    error: Exception


Report = Callable[[Cell, int, str], None]
"""Is told that a cell has taken some more training rows, and a note."""


class Runner(AbstractContextManager["Runner"], Protocol):
    """Where cells run."""

    def run(self, cells: Sequence[Cell], wanted: Callable[[], float], report: Report) -> Iterator[Finished | Failed]:
        """Run `cells`; give each as it comes to its end, in any order.

        Args:
            wanted: asked as a cell begins; its weights are given if its score is at least this.
            report: may be told late, or not of all rows.
        """


class Here:
    """Cells one after the other, in this process."""

    def __init__(self, job: Job, device: torch.device) -> None:
        self.job, self.device = job.on(device), device

    def __enter__(self) -> "Here":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def run(self, cells: Sequence[Cell], wanted: Callable[[], float], report: Report) -> Iterator[Finished | Failed]:
        """As in `Runner`."""
        for cell in cells:
            done: Finished | Failed
            try:
                done = run_cell(self.job, cell, self.device, wanted(), report)
            except (UserError, MemoryError, torch.OutOfMemoryError) as error:
                done = Failed(cell, error)
            yield done


def run_cell(job: Job, cell: Cell, device: torch.device, wanted: float, report: Report) -> Finished:
    """Fine-tune `cell` of `job`, whose rows are on `device`; its weights are given if its score is at least `wanted`.

    Raises:
        UserError: as `fine_tune`.
    """
    with _torch_threads(job.threads):
        outcome = fine_tune(
            job.encoder(), job.train, job.dev, job.objective, cell,
            max_length=job.max_length, device=device, precision=job.precision, threads=job.threads,
            tuning=job.tuning, report=partial(report, cell),
        )  # fmt: skip
    weights = {name: tensor.cpu() for name, tensor in outcome.model.state_dict().items()}
    outcome.model.to("meta")
    return Finished(cell, outcome, weights if outcome.score >= wanted else None)


def as_it_travels(error: Exception) -> Exception:
    """`error` as another process can receive it: a fault of the program becomes its traceback."""
    if isinstance(error, UserError | OSError | MemoryError | torch.OutOfMemoryError):
        return error
    return RuntimeError("".join(traceback.format_exception(error)))


def without_tensors(value: Value) -> tuple[Value, dict[str, Tensor]]:
    """A copy of a tree of dataclasses and dicts that holds the tensors' shapes alone; and the tensors, by their place.

    The copy may be sent to another process; the tensors may be laid where it can map them.
    """
    tensors: dict[str, Tensor] = {}

    def take(place: str, tensor: Tensor) -> Tensor:
        tensors[place] = tensor
        return tensor.to("meta")

    return _map_tensors(value, take), tensors


def with_tensors(value: Value, tensors: Mapping[str, Tensor]) -> Value:
    """What `without_tensors` took apart."""
    return _map_tensors(value, lambda place, _: tensors[place])


def _map_tensors(value: Any, change: Callable[[str, Tensor], Tensor], place: str = "") -> Any:
    if isinstance(value, Tensor):
        return change(place, value)
    if isinstance(value, Mapping):
        return {key: _map_tensors(part, change, f"{place}/{key}") for key, part in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
        return replace(value, **_map_tensors(parts, change, place))
    return value


@contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    """Torch uses `count` cores, as many on a machine that has more: their sums have that many parts."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
