"""metrics.jsonl, what a run reports as it goes, and event files beside it. Writes these."""

import json
import os
from pathlib import Path
from typing import Any

from weixing.errors import UserError
from weixing.files import atomic_file
from weixing.training.tensorboard import EventFiles

METRICS = "metrics.jsonl"


class MetricsLog:
    """metrics.jsonl: one object a report, each line written at once.

    Args:
        run: the run folder.
        resumed_from: drop what was reported after this step, and its evaluation, since they will come again.
        tensorboard: whether event files are to say the same.
    """

    def __init__(self, run: Path, resumed_from: int, tensorboard: bool = False) -> None:
        self.path = run / METRICS
        kept = [report for report in read_metrics(run) if report["step"] + ("eval_loss" in report) <= resumed_from]
        with atomic_file(self.path) as beside:
            beside.write_text("".join(json.dumps(report) + "\n" for report in kept), encoding="utf-8")
        self._stream = open(self.path, "a", encoding="utf-8")  # noqa: SIM115  # closed in close
        self._events = EventFiles(run, kept, resumed_from) if tensorboard else None

    def write(self, report: dict[str, Any]) -> None:
        """Append one report."""
        self._stream.write(json.dumps(report) + "\n")
        self._stream.flush()
        if self._events:
            self._events.write(report)

    def sync(self) -> None:
        """Make sure that all reports are on the disk."""
        os.fsync(self._stream.fileno())

    def close(self) -> None:
        """The same, and close it."""
        self.sync()
        self._stream.close()
        if self._events:
            self._events.close()


class NoLog:
    """What stands for a `MetricsLog` on ranks that do not write."""

    def write(self, report: dict[str, Any]) -> None:
        """Nothing."""

    def sync(self) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """All reports of a run folder; a last line that a crash cut short is left out.

    Raises:
        UserError: a line is no report.
    """
    path = run / METRICS
    if not path.exists():
        return []
    reports = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(keepends=True), 1):
        if line.endswith("\n"):
            try:
                reports.append(json.loads(line))
            except json.JSONDecodeError:
                raise UserError("this line is no report", where=f"{path}:{number}") from None
    return reports
