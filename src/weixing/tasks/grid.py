"""A grid of fine-tuning cells in one output folder: which cells run, and what becomes of what they give.

Where they run is up to a runner (`weixing.tasks.job`, `processes`, `ray_cluster`), what is kept up to
`weixing.tasks.folder`; a cell is trained in `weixing.tasks.finetune`.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from weixing.clusters import connection
from weixing.errors import UserError
from weixing.files import sha256_of
from weixing.formats.naming import describe_model, load_encoder, weights_sha256
from weixing.progress import say
from weixing.tasks.cells import Cell
from weixing.tasks.encoding import encode_examples
from weixing.tasks.files import Examples, Task
from weixing.tasks.folder import grid_folder, require_folder
from weixing.tasks.job import Failed, Here, Job, Runner
from weixing.tasks.keeping import CellProgress, Keeper
from weixing.tasks.kinds import objective_for
from weixing.tasks.objectives import Objective
from weixing.tasks.processes import Processes
from weixing.tasks.ray_cluster import RayCluster
from weixing.tasks.results import Result
from weixing.tasks.search import Score, Search, Searched, halving, searched
from weixing.tasks.teachers import taught, teachers_sha256
from weixing.tasks.tuning import Tuning
from weixing.text.tokenizer import Tokenizer
from weixing.text.vocabulary import Vocabulary
from weixing.training.devices import Precision, describe_machine
from weixing.zoo import Shape

SHORTEST = 8  # tokens; room for [CLS] a [SEP] b [SEP] with something in it
THREADS = 2  # cores a cell, where there are as many


@dataclass(frozen=True)
class Summary:
    """What a grid came to; `best` and `cells` (a count) are over all that its results.jsonl holds."""

    task: str
    model: str
    best: Result
    cells: int
    seconds: float
    output: str
    search: Searched | None


def run_grid(
    model_name: str,
    task: Task,
    cells: Sequence[Cell],
    out: Path,
    *,
    device: torch.device,
    precision: Precision,
    threads: int | None = None,
    processes: int | None = None,
    vocabulary: Vocabulary | None = None,
    max_length: int = 128,
    tuning: Tuning = Tuning(),  # noqa: B008  # frozen
    search: Search | None = None,
    ray: str | None = None,
    overwrite: bool = False,
    resume: bool = False,
) -> Summary:
    """Fine-tune `model_name` on `task` once for each cell and keep everything in `out`.

    Args:
        device: ``cuda`` without a number is every CUDA device.
        threads: cores that share a cell's rows, on which its last bits depend. Default: those of the grid that is
            resumed, else `THREADS`, or 1 where there is one core.
        processes: cells side by side. Default: as many as there are cores for, or one a CUDA device. One runs here.
        vocabulary: of an untrained shape (None: the built-in one); for any other model, the one that it must have.
        max_length: longest row, in tokens; longer texts are truncated.
        tuning: what is changed about the recipe.
        search: run some of the cells only (`weixing.tasks.search`).
        ray: address of a cluster to run the cells on, ``auto`` or ``host:port``; its machines are like this one.
        overwrite: replace what an earlier grid left in `out`.
        resume: leave out the cells that are in `out` already; its settings must be the same.

    Raises:
        UserError: `out` exists; it was made with other settings; the model takes no rows of `max_length`, or no pairs;
            cells failed (the others are in `out`).
    """
    began = time.monotonic()
    before = require_folder(out, overwrite, resume)
    encoder, vocabulary = load_encoder(model_name, vocabulary=vocabulary)
    objective = objective_for(task, tuning)
    _require_fitting(encoder.shape, task, objective, model_name, max_length)
    planned = list(chain.from_iterable(_rounds(cells, search, lambda cell: 0.0)))
    threads = threads or before.get("threads") or min(THREADS, torch.get_num_threads())
    settings: dict[str, Any] = {
        "model": describe_model(model_name),
        "model_name": model_name,
        "vocabulary_sha256": vocabulary.sha256,
        "weights_sha256": weights_sha256(model_name, encoder, vocabulary),
        "task": task.name,
        "labels": list(task.labels),
        "train": _describe(task.train),
        "dev": _describe(task.dev),
        "max_length": max_length,
        "device": device.type,
        "precision": precision,
        "threads": threads,
        "tuning": asdict(tuning) | {"teachers": list(tuning.teachers)},
        "teachers_sha256": teachers_sha256(tuning.teachers),
    }
    machine = {"machine": describe_machine(device), "weixing": version("weixing")}
    tokenizer, rows = Tokenizer(vocabulary), objective.trained_on(task.train)
    train, dev = (encode_examples(examples, objective, tokenizer, max_length) for examples in (rows, task.dev))
    train = taught(
        train, rows, objective, tuning.teachers,
        max_length=max_length, device=device, precision=precision, threads=threads,
    )  # fmt: skip
    job = Job(encoder.shape, encoder.state_dict(), train, dev, objective, max_length, precision, threads, tuning)
    with ExitStack() as stack:
        cluster = stack.enter_context(connection(ray)) if ray else None
        folder = stack.enter_context(grid_folder(out, before, settings, machine, cells, overwrite))
        keeper = Keeper(folder, job, task, vocabulary, settings, search)
        left = [cell for cell in planned if not folder.result(cell)]
        progress = stack.enter_context(CellProgress(task.name, left, len(train)))
        places = processes or _places(device, threads)
        if cluster:
            runner: Runner = RayCluster(cluster, job, device)
        elif places == 1 or len(left) <= 1:
            runner = Here(job, device)
        else:
            runner = Processes(job, _devices(device, places), folder.workplace())
        failures = _run(_rounds(cells, search, folder.score), stack.enter_context(runner), keeper, progress)
    if failures:
        raise _why(failures, len(folder.results))
    best = folder.best
    assert best
    return Summary(
        task.name, best.model, best, len(folder.results), time.monotonic() - began, str(out),
        searched(search, planned, cells) if search else None,
    )  # fmt: skip


def _require_fitting(shape: Shape, task: Task, objective: Objective, model_name: str, max_length: int) -> None:
    """UserError if a model of this shape cannot read the texts of the task."""
    if not SHORTEST <= max_length <= shape.positions:
        raise UserError(
            f"rows of {max_length} tokens", where="--max-length", accepted=f"{SHORTEST} to {shape.positions}"
        )
    if task.train.second_texts is not None and not objective.apart and shape.token_types < 2:
        raise UserError("pairs of texts for a model of one token type", where=model_name, accepted="a model of two")


def _rounds(cells: Sequence[Cell], search: Search | None, score: Score) -> Iterator[Sequence[Cell]]:
    return iter([cells]) if search is None else halving(cells, score)


def _run(rounds: Iterator[Sequence[Cell]], runner: Runner, keeper: Keeper, progress: CellProgress) -> list[Failed]:
    """Run the cells that have no result yet and keep what they give; return those that failed."""
    failures: list[Failed] = []
    folder = keeper.folder

    def run(cells: Sequence[Cell], wanted: Callable[[], float]) -> None:
        for done in runner.run(cells, wanted, progress.report):
            if isinstance(done, Failed):
                failures.append(done)
                progress.end(done.cell, f"failed: {done.error}", failed=True)
            else:
                result = keeper.keep(done)
                progress.end(done.cell, f"dev {result.metric} {result.score:.2f}")

    for cells in rounds:
        run([cell for cell in cells if not folder.result(cell)], folder.wanted)
    if folder.best and folder.lacks_the_model:
        say(f"the model of the best cell was lost: {folder.best.cell.name} is trained once more")
        run([folder.best.cell], lambda: -math.inf)
    return failures


def _devices(device: torch.device, count: int) -> list[torch.device]:
    """`count` places for cells: the same CPU, or CUDA devices in turn."""
    if device.type == "cpu" or device.index is not None:
        return [device] * count
    return [torch.device(device.type, place % torch.cuda.device_count()) for place in range(count)]


def _places(device: torch.device, threads: int) -> int:
    """Cells that may run side by side at their best."""
    if device.type == "cpu":
        return max(1, torch.get_num_threads() // threads)
    return torch.cuda.device_count() if device.index is None else 1


def _why(failures: Sequence[Failed], kept: int) -> Exception:
    """The error that a grid with these failed cells ends with."""
    cell, error = failures[0].cell, failures[0].error
    for failed in failures:
        if not isinstance(failed.error, UserError):
            cell, error = failed.cell, failed.error
    if not isinstance(error, UserError) or (not kept and len(failures) == 1):
        return error
    more = f"{len(failures)} cells failed. " if len(failures) > 1 else ""
    return UserError(
        error.what,
        where=error.where or f"cell {cell.name}",
        accepted=error.accepted,
        action=f"{error.action}. {more}{kept} results are kept; --resume runs what is missing",
    )


def _describe(examples: Examples) -> dict[str, Any]:
    return {
        "file": str(examples.path),
        "sha256": sha256_of(examples.path),
        "rows": len(examples),
        "left_out": examples.left_out,
    }
