"""Something done by several processes at once, as torchrun would start them; they are forked, which is quick."""

import multiprocessing
import os
import socket
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from weixing.data.shards import ShardSet
from weixing.errors import RanksError, UserError
from weixing.formats.huggingface import export_masked_lm
from weixing.formats.naming import load_masked_lm
from weixing.recipes import RECIPES
from weixing.training import pretraining
from weixing.training.batch import masked_loss
from weixing.training.pretraining import Run
from weixing.training.replicas import ReplicatedGradients
from weixing.training.sharding import NOTHING_SAVED, Memory
from weixing.training.start import pretrain

OPTIONS = (
    *("--data", "--model", "--init", "--recipe", "--steps", "--batch-size", "--micro-batch-size", "--learning-rate"),
    *("--matrix-learning-rate", "--masking-rate", "--masking-unit", "--shuffle-window", "--seed", "--precision"),
    *("--no-compile", "--eval-data", "--report-every", "--eval-every", "--save-every", "--keep"),
)
SECONDS = 90.0  # after which processes that still run are a failure


def free_port() -> int:
    """One that nothing listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Side:
    """One of the processes: what it returned, or the error that ended it; its exit code."""

    process: Any
    results: Any
    stderr: Path
    answer: dict[str, Any] = field(default_factory=dict)

    def wait(self, deadline: float) -> None:
        """Until it has ended."""
        if self.results.poll(max(0.0, deadline - time.monotonic())):
            try:
                self.answer = self.results.recv()
            except EOFError:  # killed
                self.answer = {}
        self.process.join(max(0.1, deadline - time.monotonic()))
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
            raise AssertionError(f"{self.process.name} still ran after {SECONDS} seconds")

    @property
    def said(self) -> str:
        """What it has written to stderr."""
        return self.stderr.read_text(encoding="utf-8")

    @property
    def value(self) -> Any:
        """What it returned."""
        assert "value" in self.answer, (self.answer, self.said)
        return self.answer["value"]


def start(
    count: int, work: Callable[..., Any], *arguments: Any, environment: Any = None, only: Any = None, **named: Any
) -> list[Side]:
    """Start processes that call ``work(*arguments, **named)``, each with its rank in its environment.

    Args:
        count: of ranks; `only`: those that are started, if not all.
        environment: more variables, for all of them.
    """
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["tests.training.warmed"])
    place = {"WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), **(environment or {})}
    sides = []
    for rank in range(count) if only is None else only:
        here, there = forks.Pipe(duplex=False)
        variables = {**place, "RANK": rank, "LOCAL_RANK": rank}
        stderr = Path(tempfile.mkstemp(suffix=f".rank{rank}")[1])
        process = forks.Process(
            target=_one, args=(there, variables, stderr, work, arguments, named), name=f"rank {rank}", daemon=True
        )
        process.start()
        there.close()
        sides.append(Side(process, here, stderr))
    return sides


def finish(sides: list[Side]) -> list[Side]:
    """Wait for all of them."""
    deadline = time.monotonic() + SECONDS
    for side in sides:
        side.wait(deadline)
    return sides


def run(count: int, work: Callable[..., Any], *arguments: Any, **named: Any) -> list[Any]:
    """What the processes return, by rank."""
    return [side.value for side in finish(start(count, work, *arguments, **named))]


def _one(
    results: Any, variables: dict[str, Any], stderr: Path, work: Callable[..., Any], arguments: Any, named: Any
) -> None:
    os.dup2(os.open(stderr, os.O_WRONLY | os.O_APPEND), 2)
    pretraining.peak_flops_per_second = lambda *_: 1e12  # measuring it takes longer than these runs
    os.environ.update({name: str(value) for name, value in variables.items()})
    try:
        results.send({"value": work(*arguments, **named)})
    except (UserError, RanksError) as error:
        results.send({"error": str(error)})
    except BaseException:
        results.send({"trace": traceback.format_exc()})
        raise


def train(
    output: Path,
    *,
    resume: bool = False,
    export: bool = False,
    stall_seconds: float = 600.0,
    memory: Memory = NOTHING_SAVED,
    dropout: float | None = None,
    **given: Any,
) -> dict[str, Any]:
    """A run on this process' rank; what it came to. With `dropout`, the recipe's is replaced."""
    if dropout is not None:
        change = {name: tuple(replace(stage, dropout=dropout) for stage in stages) for name, stages in RECIPES.items()}
        RECIPES.update(change)
    options = {option: given.pop(option.removeprefix("--").replace("-", "_"), None) for option in OPTIONS}
    assert not given, given
    done = pretrain(
        options, output, load=load_masked_lm, device_name="cpu", resume=resume,
        stall_seconds=stall_seconds, memory=memory,
        export=partial(export_masked_lm, overwrite=True) if export else lambda *_: None,
    )  # fmt: skip
    return vars(done)


def train_by_autograd(output: Path, *, compiled_by: Any = None, **given: Any) -> dict[str, Any]:
    """The same with the gradients that GPUs have, compiled or not."""
    loss: Any = masked_loss
    if compiled_by:
        loss = torch.compile(masked_loss, backend=compiled_by, fullgraph=True, dynamic=False)

    def by_autograd(model, precision, device, *, dropout, micro_batch_size, entries, compiled, ranks):  # type: ignore[no-untyped-def]
        return ReplicatedGradients(model, precision, micro_batch_size, ranks, entries, loss)

    pretraining.make_gradients = by_autograd
    return train(output, **given)


def train_and_tell_rows(output: Path, **given: Any) -> list[list[int]]:
    """Train; the rows that this process reads for each step."""
    read: list[list[int]] = []
    rows, step = ShardSet.rows, Run._step

    def noted_step(run: Run) -> None:
        def noted_rows(shards: ShardSet, indices: np.ndarray) -> np.ndarray:
            read.append(indices.tolist())
            return rows(shards, indices)

        ShardSet.rows = noted_rows
        step(run)
        ShardSet.rows = rows

    Run._step = noted_step
    train(output, **given)
    return read
