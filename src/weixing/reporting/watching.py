"""What a run is doing: running, finished, stopped or stalled; its time left; spikes of its loss. Pure.

Rules, in docs/watching.md as well:

- **finished**: the last step was reported. **stopped**: run.json says that the run ended before.
- **stalled**: neither, and nothing was reported for longer than ten times the usual interval of reports (their median)
  and two minutes; before there is an interval, for ten minutes. A killed run looks the same.
- **a spike**: a report's training loss that is above the median of the twenty reports before it (ten at least) by six
  times their median absolute deviation, made comparable to a standard deviation, and by 3 % of the median. Reports
  that follow at once in the same spike are not counted anew.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any, Literal

from weixing.reporting.runs import RecordedRun, number

State = Literal["running", "finished", "stopped", "stalled", "unreadable"]

SILENT_INTERVALS, LEAST_SILENCE_SECONDS, FIRST_REPORT_SECONDS = 10, 120.0, 600.0
WINDOW, FEWEST = 20, 10  # reports
DEVIATIONS, LEAST_RISE = 6.0, 0.03
NORMAL = 1.4826  # the standard deviation of normal numbers over their median absolute deviation
RECENT = 50  # reports of which the speed of a run is taken


@dataclass(frozen=True)
class Spike:
    """A report whose training loss is far above the `usual` one, the median of those before it."""

    step: int
    loss: float
    usual: float


@dataclass(frozen=True)
class Watched:
    """A run as it is now.

    Args:
        step, steps: made, and to be made.
        train_loss, eval_loss, eval_accuracy, tokens, tokens_per_second, seconds: as last reported.
        seconds_left: at the pace of late, evaluations and checkpoints included; None unless it runs.
        silent_seconds: since something was last reported.
        spikes: of the training loss, oldest first.
        remark: why it stopped, or why nothing could be read.
    """

    name: str
    shape: str | None
    recipe: str | None
    state: State
    step: int
    steps: int | None
    tokens: float | None
    train_loss: float | None
    eval_loss: float | None
    eval_accuracy: float | None
    tokens_per_second: float | None
    seconds: float | None
    seconds_left: float | None
    silent_seconds: float
    spikes: Sequence[Spike]
    remark: str | None


def watched(run: RecordedRun, silent_seconds: float) -> Watched:
    """What `run` is doing, nothing having been written to its files for `silent_seconds`."""
    training = [report for report in run.reports if number(report.get("train_loss")) is not None]
    state = state_of(run, training, silent_seconds)
    ended = run.record.get("ended") or {}
    last = run.reports[-1] if run.reports else {}
    return Watched(
        name=run.name, shape=run.shape, recipe=run.recipe, state=state,
        step=int(number(last.get("step")) or 0), steps=run.steps,
        **{key: _latest(run.reports, key) for key in ("tokens", "train_loss", "eval_loss", "eval_accuracy")},
        **{key: _latest(run.reports, key) for key in ("tokens_per_second", "seconds")},
        seconds_left=seconds_left(training, run.steps) if state == "running" else None,
        silent_seconds=silent_seconds,
        spikes=spikes([(int(report["step"]), report["train_loss"]) for report in training]),
        remark=run.problem or (str(ended["why"]) if state == "stopped" and "why" in ended else None),
    )  # fmt: skip


def state_of(run: RecordedRun, training: Sequence[Mapping[str, Any]], silent_seconds: float) -> State:
    """By the rules above; `training` are the reports of training."""
    if run.problem:
        return "unreadable"
    if run.finished:
        return "finished"
    if run.record.get("ended"):
        return "stopped"
    return "stalled" if silent_seconds > patience(training) else "running"


def patience(training: Sequence[Mapping[str, Any]]) -> float:
    """Seconds without a report after which a run counts as stalled."""
    times = [seconds for report in training if (seconds := number(report.get("seconds"))) is not None]
    gaps = [after - before for before, after in pairwise(times) if after > before]
    if not gaps:
        return FIRST_REPORT_SECONDS
    return max(LEAST_SILENCE_SECONDS, SILENT_INTERVALS * median(gaps))


def seconds_left(training: Sequence[Mapping[str, Any]], steps: int | None) -> float | None:
    """At the pace of the last reports; None before there are two."""
    recent = [report for report in training[-RECENT:] if number(report.get("seconds")) is not None]
    if steps is None or len(recent) < 2:
        return None
    first, last = recent[0], recent[-1]
    made, took = last["step"] - first["step"], last["seconds"] - first["seconds"]
    return max(0.0, (steps - last["step"]) * took / made) if made > 0 else None


def spikes(losses: Sequence[tuple[int, float]]) -> list[Spike]:
    """Spikes among (step, training loss) of reports, by the rule above."""
    found: list[Spike] = []
    within = False  # a spike that was found
    for at, (step, loss) in enumerate(losses):
        before = [value for _, value in losses[max(0, at - WINDOW) : at]]
        if len(before) < FEWEST:
            continue
        usual = median(before)
        spread = NORMAL * median(abs(value - usual) for value in before)
        high = loss > usual + max(DEVIATIONS * spread, LEAST_RISE * usual)
        if high and not within:
            found.append(Spike(step, loss, usual))
        within = high
    return found


def _latest(reports: Sequence[Mapping[str, Any]], key: str) -> float | None:
    return next((value for report in reversed(reports) if (value := number(report.get(key))) is not None), None)
