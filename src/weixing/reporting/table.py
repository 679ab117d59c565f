"""Models by tasks, beside the published scores: data first, rendered by `weixing.reporting.rendering`. Pure.

A score that was chosen as the best of several runs on the dev set is optimistic. So beside it stands the mean over
the seeds of its setting, which is less so (the seed that won is among them), and how many runs it was chosen from.
"""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, NamedTuple

from weixing.reporting.published import COMPARED_TASKS, MEANS, SIX_TASKS, published
from weixing.tasks.catalogue import NAMED
from weixing.tasks.results import Result

DEV, ACCURACY = "dev", "accuracy"
COMPLETE, PARTIAL, ALTERED, CUSTOM, UNRECORDED, MISSING = (
    "complete", "partial", "altered", "custom", "unrecorded", "missing",
)  # fmt: skip
STATUSES = (COMPLETE, UNRECORDED, PARTIAL, CUSTOM, ALTERED, MISSING)  # from the best
OTHER_DEV, PARTS = "other dev", "parts"  # remarks beside these
SAME_RUN_DETAILS = ("max_length", "train_rows", "data", "precision")  # what runs of a setting share beside the cell


@dataclass(frozen=True)
class Entry:
    """One model in one column; what was not run or is not known is None. Scores in percent.

    `best` is the highest score of `runs` runs; `epochs`, `batch_size` and `learning_rate` are those it came from.
    `mean` and `spread` (sample standard deviation, None for one seed) are over the `seeds` of this setting, each
    counted once, with the mean of its runs. `rows` are those of the dev set.

    `status` is one of `STATUSES`: what the data of the best run were, ``missing`` where nothing was run; `data_note`
    says more. `difference` is `best` less `published`, where the two may be compared.

    The entry of the column ``score`` has the means of the six tasks, the fewest seeds and the worst status of them, and
    names those with other data in `data_note`; its `difference` is the mean over those that have one, which
    `difference_over` names.
    """

    model: str
    shape: str | None
    weights: str | None
    column: str
    task: str
    split: str = DEV
    metric: str = ACCURACY
    rows: int | None = None
    runs: int = 0
    best: float | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    seeds: int = 0
    mean: float | None = None
    spread: float | None = None
    status: str = MISSING
    data_note: str | None = None
    published: float | None = None
    difference: float | None = None
    difference_over: str | None = None

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is to be said of the data of a task: its status where that is partial or altered, or custom for a
        public task, and `OTHER_DEV` where the public dev set has another number of rows. For the mean: `PARTS`."""
        if self.column in MEANS:
            return (PARTS,) if self.data_note else ()
        is_public = self.column in NAMED
        worth_saying = self.status in (PARTIAL, ALTERED) or (self.status == CUSTOM and is_public)
        other_dev = is_public and self.rows not in (None, NAMED[self.column].dev.rows)
        return *([self.status] if worth_saying else []), *([OTHER_DEV] if other_dev else [])


class _Dev(NamedTuple):
    """What scores must share to be compared: they stand in one column."""

    task: str
    split: str
    metric: str
    rows: int = 0  # Result.total; 0 where it is not counted
    digest: str = ""

    @property
    def title(self) -> str:
        return title(self.task, self.split, self.metric)


def title(task: str, split: str = DEV, metric: str = ACCURACY) -> str:
    """What scores of a task are called: ``task``, ``task (test)``, ``task (entity f1)``."""
    notes = [*([split] if split != DEV else []), *([metric.replace("_", " ")] if metric != ACCURACY else [])]
    return f"{task} ({', '.join(notes)})" if notes else task


def name_of(result: Result) -> str:
    """What a model is called in a table: its name, and what is changed about the recipe of its fine-tuning."""
    tuning = result.details.get("tuning") or {}
    changes = ", ".join(f"{name.replace('_', ' ')} {_said(value)}" for name, value in sorted(tuning.items()))
    return f"{result.model} ({changes})" if changes else result.model


def _said(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def best_setting(results: Sequence[Result]) -> list[Result]:
    """The runs of the setting that gave the highest score, that run first."""
    best = max(results, key=lambda result: result.score)
    return [best, *(result for result in results if result is not best and _setting(result) == _setting(best))]


def table(results: Sequence[Result]) -> list[Entry]:
    """One entry for each model and column, model after model in the order of `results`.

    The columns are the mean and the six tasks, if a public task was run, then the others by name; the mean with
    tnews_keywords in the place of tnews too, if that was run. Another split, another metric or another dev set (by its
    number of rows, and its checksum where that is recorded) is a column of its own: ``task (test)``,
    ``task (entity f1)``, ``task (n = 500)``. A model that was fine-tuned by another recipe is a row of its own,
    ``name (r drop 1)``; so is a second model of the same name, with other weights, ``name (2)``.
    """
    columns = _columns({_dev(result) for result in results})
    if set(columns) & set(NAMED):
        columns = {task: columns.get(task, _Dev(task, DEV, ACCURACY)) for task in SIX_TASKS} | columns
    means = [mean for mean, parts in MEANS.items() if set(parts) <= set(columns)]
    entries: list[Entry] = []
    same_name: Counter[str] = Counter()
    for key in dict.fromkeys((name_of(result), result.weights) for result in results):
        own = [result for result in results if (name_of(result), result.weights) == key]
        same_name[key[0]] += 1
        name = key[0] if same_name[key[0]] == 1 else f"{key[0]} ({same_name[key[0]]})"
        model = (name, next((result.shape for result in own if result.shape), None), key[1])
        cells = {
            column: _entry(model, dev, column, [result for result in own if _dev(result) == dev])
            for column, dev in columns.items()
        }
        entries += [_mean(model, mean, [cells[part] for part in MEANS[mean]]) for mean in means]
        entries += cells.values()
    return entries


def _dev(result: Result) -> _Dev:
    """The dev set of a result. That of a public task is known by its rows, which come in files of several forms."""
    digest = str(result.details.get("dev_sha256") or "")
    is_public = result.task in NAMED and result.total == NAMED[result.task].dev.rows
    if is_public and result.details.get("data") not in (ALTERED, CUSTOM):
        digest = ""
    return _Dev(result.task, result.split, result.metric, result.total, digest)


def _columns(devs: set[_Dev]) -> dict[str, _Dev]:
    """Dev sets by title, in its order. Of several of one task, the public one has the plain title, else the largest."""
    columns = {}
    public = {(task.name, task.dev.rows) for task in NAMED.values()}
    ordered = sorted(devs, key=lambda dev: (dev.title, (dev.task, dev.rows) not in public, -dev.rows, dev.digest))
    for plain, group in groupby(ordered, key=lambda dev: dev.title):
        same = list(group)
        columns[plain] = same[0]
        for dev in same[1:]:
            twins = sum(other.rows == dev.rows for other in same) > 1
            digest = f", {dev.digest[:6] or 'no checksum'}" if twins else ""
            columns[f"{plain} (n = {dev.rows}{digest})"] = dev
    return columns


def _setting(result: Result) -> tuple[Any, ...]:
    """All that a score depends on but the seed."""
    return replace(result.cell, seed=0), *(result.details.get(key) for key in SAME_RUN_DETAILS)


def _entry(model: tuple[str, str | None, str | None], dev: _Dev, column: str, results: list[Result]) -> Entry:
    known = published(model[1], column)
    entry = Entry(*model, column, dev.task, dev.split, dev.metric, dev.rows or None, published=known)
    if not results:
        return entry
    same = best_setting(results)
    best = same[0]
    scores = [statistics.fmean(r.score for r in same if r.seed == seed) for seed in dict.fromkeys(r.seed for r in same)]
    recorded = best.details.get("data")
    status = recorded if recorded in STATUSES else UNRECORDED
    scored = replace(
        entry,
        runs=len(results),
        best=best.score,
        epochs=best.epochs,
        batch_size=best.batch_size,
        learning_rate=best.learning_rate,
        seeds=len(scores),
        mean=statistics.fmean(scores),
        spread=statistics.stdev(scores) if len(scores) > 1 else None,
        status=status,
        data_note=best.details.get("data_note") or None,
    )
    # Trained on a part of the data still compares, with a remark; anything else that is different does not.
    comparable = set(scored.remarks) <= {PARTIAL} and column in COMPARED_TASKS
    difference = best.score - known if known is not None and comparable else None
    return replace(scored, difference=difference)


def _mean(model: tuple[str, str | None, str | None], column: str, six: list[Entry]) -> Entry:
    """The mean of six tasks, empty until all are there."""
    entry = Entry(*model, column, column, runs=sum(e.runs for e in six), published=published(model[1], column))
    best, means = [e.best for e in six if e.best is not None], [e.mean for e in six if e.mean is not None]
    if len(best) < len(six):
        return entry
    compared = {e.task: e.difference for e in six if e.difference is not None}
    return replace(
        entry,
        best=statistics.fmean(best),
        mean=statistics.fmean(means),
        seeds=min(e.seeds for e in six),
        status=max((e.status for e in six), key=STATUSES.index),
        data_note=", ".join(e.task for e in six if e.remarks) or None,
        difference=statistics.fmean(compared.values()) if compared else None,
        difference_over=", ".join(compared) or None,
    )
