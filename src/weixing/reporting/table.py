"""Models by tasks, beside the published scores: data first, rendered by `weixing.reporting.rendering`. Reads one file,
the published scores that come with the package.

The published scores are facts from the model card of uer/chinese_roberta_L-2_H-128 and its four sisters: dev accuracy
in percent, the best of 18 runs (epochs 3, 5, 8; batch 32, 64; learning rate 3e-5, 1e-4, 3e-4), one seed.
"""

import csv
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources

from weixing.tasks.results import Result

SIX_TASKS = ("book_review", "chnsenticorp", "lcqmc", "tnews", "iflytek", "ocnli")
SCORE = "score"  # the plain mean of the six, as the model card has it


@dataclass(frozen=True)
class Entry:
    """One model on one task; all None where it was not run. Scores in percent.

    `best` is the highest score of `runs` runs; `epochs`, `batch_size` and `learning_rate` are those it came from.
    `mean` and `spread` (sample standard deviation, None for one seed) are over the `seeds` with these three, each
    counted once, with the mean of its runs.
    `difference` is `best` less `published`. The entry of the task ``score`` has the means of the six tasks.
    `weights` tells models of one name apart, where the results record it.
    """

    model: str
    shape: str | None
    task: str
    runs: int = 0
    best: float | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    seeds: int = 0
    mean: float | None = None
    spread: float | None = None
    published: float | None = None
    difference: float | None = None
    weights: str | None = None


@cache
def published_scores() -> dict[str, dict[str, float]]:
    """Shape name → task (or ``score``) → published dev score in percent."""
    text = resources.files("weixing.reporting").joinpath("published_scores.csv").read_text(encoding="utf-8")
    return {
        f"{row['layers']}/{row['hidden']}": {task: float(row[task]) for task in (SCORE, *SIX_TASKS)}
        for row in csv.DictReader(text.splitlines())
    }


def table(results: Sequence[Result]) -> list[Entry]:
    """One entry for each model and column, model after model in the order of `results`.

    The columns are the mean and the six tasks, if one of the six was run, then the other tasks by name. A split other
    than dev is a column of its own, ``task (split)``, as it is not comparable with the published scores. A second
    model of the same name, with other weights, is called ``name (2)``.
    """
    columns = {_column(result) for result in results}
    others = sorted(columns - set(SIX_TASKS))
    head = (SCORE, *SIX_TASKS) if columns & set(SIX_TASKS) else ()
    entries: list[Entry] = []
    same_name: Counter[str] = Counter()
    for key in dict.fromkeys((result.model, result.weights) for result in results):
        own = [result for result in results if (result.model, result.weights) == key]
        same_name[key[0]] += 1
        model = key[0] if same_name[key[0]] == 1 else f"{key[0]} ({same_name[key[0]]})"
        shape = next((result.shape for result in own if result.shape), None)
        tasks = {
            task: _entry(model, shape, task, [result for result in own if _column(result) == task])
            for task in (*head[1:], *others)
        }
        mean = [_mean_of_six(model, shape, [tasks[task] for task in SIX_TASKS])] if head else []
        entries += [replace(entry, weights=key[1]) for entry in (*mean, *tasks.values())]
    return entries


def _column(result: Result) -> str:
    return result.task if result.split == "dev" else f"{result.task} ({result.split})"


def _entry(model: str, shape: str | None, task: str, results: list[Result]) -> Entry:
    published = published_scores().get(shape or "", {}).get(task)
    if not results:
        return Entry(model, shape, task, published=published)
    best = max(results, key=lambda result: result.score)
    setting = (best.epochs, best.batch_size, best.learning_rate)
    same = [r for r in results if (r.epochs, r.batch_size, r.learning_rate) == setting]
    scores = [statistics.fmean(r.score for r in same if r.seed == seed) for seed in dict.fromkeys(r.seed for r in same)]
    return Entry(
        model,
        shape,
        task,
        len(results),
        best.score,
        *setting,
        seeds=len(scores),
        mean=statistics.fmean(scores),
        spread=statistics.stdev(scores) if len(scores) > 1 else None,
        published=published,
        difference=best.score - published if published is not None else None,
    )


def _mean_of_six(model: str, shape: str | None, six: list[Entry]) -> Entry:
    best, means = [e.best for e in six if e.best is not None], [e.mean for e in six if e.mean is not None]
    complete = len(best) == len(six)
    published = published_scores().get(shape or "", {}).get(SCORE)
    score = statistics.fmean(best) if complete else None
    return Entry(
        model,
        shape,
        SCORE,
        runs=sum(entry.runs for entry in six),
        best=score,
        mean=statistics.fmean(means) if complete else None,
        published=published,
        difference=score - published if score is not None and published is not None else None,
    )
