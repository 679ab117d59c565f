"""Watched runs as lines of text. Pure."""

from collections.abc import Sequence

from weixing.planning.text import duration
from weixing.reporting.watching import Watched

COLUMNS = (
    *("run", "model", "recipe", "state", "step", "loss", "held-out", "accuracy", "tokens/s", "took", "left"),
    "spikes",
)
LEFT = 4  # columns of words; numbers stand to the right


def as_lines(runs: Sequence[Watched]) -> list[str]:
    """A table of the runs; below it what stopped or ails them, and where their losses leapt."""
    rows = [COLUMNS, *(_row(run) for run in runs)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(COLUMNS))]
    lines = ["  ".join(_cell(row[at], widths[at], at) for at in range(len(COLUMNS))).rstrip() for row in rows]
    return [*lines, *(remark for run in runs for remark in _remarks(run))]


def _row(run: Watched) -> tuple[str, ...]:
    step = f"{run.step:,}" if run.steps is None else f"{run.step:,} / {run.steps:,}"
    return (
        run.name, run.shape or "", run.recipe or "", run.state, step, _number(run.train_loss, ".4f"),
        _number(run.eval_loss, ".4f"), _number(run.eval_accuracy, ".4f"), _number(run.tokens_per_second, ",.0f"),
        "" if run.seconds is None else duration(run.seconds),
        "" if run.seconds_left is None else duration(run.seconds_left), str(len(run.spikes) or ""),
    )  # fmt: skip


def _remarks(run: Watched) -> list[str]:
    remarks = []
    if run.remark:
        remarks.append(f"{run.name}: {run.remark}")
    if run.state == "stalled":
        silent = duration(run.silent_seconds)
        remarks.append(f"{run.name}: nothing reported for {silent}; it was killed, or stands still")
    remarks += [
        f"{run.name}: loss {spike.loss:.4f} at step {spike.step:,}, where {spike.usual:.4f} was usual"
        for spike in run.spikes
    ]
    return remarks


def _number(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"


def _cell(text: str, width: int, at: int) -> str:
    return text.ljust(width) if at < LEFT else text.rjust(width)
