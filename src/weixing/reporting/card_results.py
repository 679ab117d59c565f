"""The best run of a model on each task. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from weixing.tasks.results import Result


@dataclass(frozen=True)
class BestRun:
    """The highest score on one split of one task, and how many runs it was the best of."""

    result: Result
    runs: int


def best_runs(results: Sequence[Result]) -> list[BestRun]:
    """One for each task and split, in the order in which these come first."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.task, result.split), []).append(result)
    return [BestRun(max(runs, key=lambda run: run.score), len(runs)) for runs in groups.values()]
