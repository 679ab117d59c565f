"""Two models compared task by task on the same dev rows, by paired bootstrap. Reads results and predictions."""

import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from weixing.errors import UserError
from weixing.reporting.bootstrap import CONFIDENCE, RESAMPLES, Difference, paired_bootstrap, summary
from weixing.reporting.metrics import METRICS, Metric
from weixing.reporting.predictions import Key, Predictions, read_predictions, require_same_rows, runs_in
from weixing.reporting.table import name_of, title
from weixing.tasks.results import Result

MISFIT = 0.01  # points by which predictions may miss the score of their result: both are rounded


@dataclass(frozen=True)
class Side:
    """What stands for one model on one task: the runs of one setting, a run a seed."""

    model: str
    epochs: int
    batch_size: int
    learning_rate: float
    seeds: tuple[int, ...]
    files: tuple[str, ...]


@dataclass(frozen=True)
class TaskComparison:
    """Two models on one task; `difference` is second less first. `rows` are those of the dev set."""

    task: str
    split: str
    metric: str
    rows: int
    first: Side
    second: Side
    difference: Difference


@dataclass(frozen=True)
class Comparison:
    """Two models on all the tasks that both were run on.

    `mean` is of the mean score over these tasks, each with its own rows and seeds drawn; None where there is but one
    task, or tasks of several metrics. `only_first` and `only_second` name tasks that one of the two lacks.
    """

    tasks: tuple[TaskComparison, ...]
    mean: Difference | None
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    seed: int
    resamples: int = RESAMPLES
    confidence: float = CONFIDENCE

    def values(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def compare(
    first: Path, second: Path, *, first_model: str | None = None, second_model: str | None = None, seed: int = 7
) -> Comparison:
    """Compare the best settings of two models on the tasks that both have results of.

    Args:
        first, second: where the results and predictions of each are.
        first_model, second_model: the models, where these hold results of several.
        seed: of the draws; a task has the same draws alone and beside others.

    Raises:
        UserError: as `runs_in` and `read_predictions`; no task in common; the two predicted other rows; predictions
            do not give the score of their result.
    """
    ours, theirs = runs_in(first, first_model), runs_in(second, second_model)
    common = [key for key in ours if key in theirs]
    if not common:
        here, there = (", ".join(title(*key) for key in keys) for keys in (theirs, ours))
        raise UserError(
            f"no task in common: {here} here, {there} in {first}",
            where=second,
            accepted="results of both models on the same task, split and metric",
        )
    compared = [_compare(key, ours[key], theirs[key], seed) for key in common]
    differences = [task.difference for task, _ in compared]
    mean = None
    if len(compared) > 1 and len({metric for _, _, metric in common}) == 1:
        ours_mean, theirs_mean = (fmean(getattr(d, side) for d in differences) for side in ("first", "second"))
        mean = summary(ours_mean, theirs_mean, np.mean([resampled for _, resampled in compared], axis=0))
    return Comparison(
        tuple(task for task, _ in compared),
        mean,
        tuple(title(*key) for key in ours if key not in theirs),
        tuple(title(*key) for key in theirs if key not in ours),
        seed,
    )


def _compare(
    key: Key, first: list[tuple[Result, Path]], second: list[tuple[Result, Path]], seed: int
) -> tuple[TaskComparison, np.ndarray]:
    """One task, and the differences of its resamples."""
    metric = METRICS.get(key[2])
    if metric is None:
        raise UserError(f"{title(*key)} is scored by {key[2]}", accepted=" or ".join(METRICS))
    ours, theirs = ([read_predictions(file, metric) for _, file in side] for side in (first, second))
    require_same_rows([*ours, *theirs])
    our_rows, their_rows = (_statistics(side, metric) for side in (ours, theirs))
    _require_scores(first, our_rows, metric)
    _require_scores(second, their_rows, metric)
    draws = [seed, zlib.crc32(" ".join(key).encode())]
    before, after, resampled = paired_bootstrap(our_rows, their_rows, metric.score, seed=draws)
    difference = summary(before, after, resampled)
    return TaskComparison(*key, len(our_rows), _side(first), _side(second), difference), resampled


def _statistics(runs: Sequence[Predictions], metric: Metric) -> np.ndarray:
    """Float64 [N, K, S] of the rows of several runs."""
    counted = [
        [metric.statistics(gold, predicted) for gold, predicted in zip(run.labels, run.predicted, strict=True)]
        for run in runs
    ]
    return np.array(counted, dtype=float).transpose(1, 0, 2)


def _require_scores(runs: list[tuple[Result, Path]], statistics: np.ndarray, metric: Metric) -> None:
    scores = metric.score(np.ones((1, len(statistics))), statistics)[0]
    for (result, file), score in zip(runs, scores, strict=True):
        if abs(score - result.score) > MISFIT:
            raise UserError(
                f"these predictions give {score:.2f} %, their result says {result.score:.2f} %",
                where=file,
                action="One of the two is of another run: fine-tune again",
            )


def _side(runs: list[tuple[Result, Path]]) -> Side:
    result = runs[0][0]
    return Side(
        name_of(result),
        result.epochs,
        result.batch_size,
        result.learning_rate,
        tuple(run.seed for run, _ in runs),
        tuple(file.as_posix() for _, file in runs),
    )
