"""The run folder's records: run.json and metrics.jsonl. Writes files."""

import json
import os
from pathlib import Path
from typing import Any

from weixing.files import atomic_file

METRICS = "metrics.jsonl"


class MetricsLog:
    """metrics.jsonl: one object a report, each line written at once.

    Args:
        run: the run folder.
        resumed_from: drop what was reported after this step, and its evaluation, since they will come again.
    """

    def __init__(self, run: Path, resumed_from: int) -> None:
        self.path = run / METRICS
        reports = [(json.loads(line), line) for line in read_lines(self.path)]
        kept = [line for report, line in reports if report["step"] + ("eval_loss" in report) <= resumed_from]
        with atomic_file(self.path) as beside:
            beside.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        self._stream = open(self.path, "a", encoding="utf-8")  # noqa: SIM115  # closed in close

    def write(self, report: dict[str, Any]) -> None:
        """Append one report."""
        self._stream.write(json.dumps(report) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Make sure that it is on the disk, and close it."""
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()


def read_lines(path: Path) -> list[str]:
    """The file's whole lines; a last one that a crash cut short is left out. Empty if there is no file."""
    if not path.exists():
        return []
    return [line[:-1] for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """All reports of a run folder."""
    return [json.loads(line) for line in read_lines(run / METRICS)]
