"""Run folders of `weixing pretrain`: found, read whole, and as curves. Reads run.json and metrics.jsonl.

Curves are read again whenever their files have changed; what is wrong with a run is told with it, and spoils no other.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import Any

from weixing.errors import UserError
from weixing.training.runlog import METRICS, read_metrics

SETTINGS = "run.json"
MOST_POINTS = 1000  # of training in a curve: more than a screen has columns for
READINGS = (
    "step", "tokens", "seconds", "train_loss", "eval_loss", "eval_accuracy", "learning_rate", "grad_norm",
    "tokens_per_second",
)  # fmt: skip


@dataclass(frozen=True)
class RecordedRun:
    """What the files of a run folder say.

    Args:
        folder: where it is; name: what it is called, told apart from others of the same name.
        shape: ``2/128``; recipe: its name; steps: how many the run is to make. None where that is not recorded.
        record: all of run.json; reports: all of metrics.jsonl.
        problem: why nothing could be read.
    """

    folder: Path
    name: str
    shape: str | None = None
    recipe: str | None = None
    steps: int | None = None
    record: Mapping[str, Any] = field(default_factory=dict)
    reports: Sequence[Mapping[str, Any]] = ()
    problem: str | None = None

    @property
    def finished(self) -> bool:
        """Whether the last step has been reported."""
        done = number(self.reports[-1].get("step")) if self.reports else None
        return bool(self.steps and done and done >= self.steps)


@dataclass(frozen=True)
class Curve:
    """A run: `readings` has a list of equal length for each of `READINGS`, null where a report has no such number.

    `steps` is how many the run is to make, null where that is not recorded; `problem` says why nothing could be read.
    """

    name: str
    shape: str | None = None
    recipe: str | None = None
    steps: int | None = None
    finished: bool = False
    readings: dict[str, list[float | None]] = field(default_factory=lambda: {key: [] for key in READINGS})
    problem: str | None = None


def require_folders(folders: Sequence[Path], option: str = "") -> None:
    """Raises UserError if one of them is no folder; `option` is the one that names them."""
    for folder in folders:
        if not folder.is_dir():
            raise UserError(
                "there is no such folder", where=f"{option} {folder}".lstrip(),
                accepted="a run folder of `weixing pretrain`, or a folder that holds such folders",
            )  # fmt: skip


def curves(folders: Sequence[Path]) -> list[Curve]:
    """The runs of folders, run folders or such that hold some, as they are now. A second of a name is ``name (2)``."""
    return [_curve(run, name, (_stamp(run / SETTINGS), _stamp(run / METRICS))) for run, name in found(folders)]


def read_runs(folders: Sequence[Path]) -> list[RecordedRun]:
    """The same with all that was recorded."""
    return [read_run(run, name) for run, name in found(folders)]


def found(folders: Sequence[Path]) -> list[tuple[Path, str]]:
    """The run folders that `folders` are or hold, each with its name."""
    named, seen = [], Counter[str]()
    for run in dict.fromkeys(run for folder in folders for run in _runs(folder.resolve())):
        seen[run.name] += 1
        named.append((run, run.name if seen[run.name] == 1 else f"{run.name} ({seen[run.name]})"))
    return named


def read_run(run: Path, name: str) -> RecordedRun:
    """What the run in folder `run` has recorded up to now."""
    try:
        described = (run / SETTINGS).exists()  # runs of other programs may have curves alone
        record = json.loads((run / SETTINGS).read_text(encoding="utf-8")) if described else {"settings": {}}
        settings = record["settings"]
        recipe, sizes = settings.get("recipe", {}), settings.get("shape")
        shape = f"{sizes['layers']}/{sizes['hidden']}" if sizes else None
        known = {"shape": shape, "recipe": recipe.get("name"), "steps": recipe.get("steps"), "record": record}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return RecordedRun(run, name, problem=f"{SETTINGS} is none of `weixing pretrain`")
    try:
        reports = read_metrics(run)
    except UserError as error:
        return RecordedRun(run, name, problem=f"{METRICS}: {error.what}")
    except (OSError, ValueError):
        return RecordedRun(run, name, problem=f"{METRICS} cannot be read")
    if any(not isinstance(report, dict) for report in reports):
        return RecordedRun(run, name, problem=f"{METRICS} cannot be read")
    return RecordedRun(run, name, **known, reports=reports)


def silent_seconds(run: Path, now: float) -> float:
    """Seconds at time `now` (since 1970) in which nothing was written to the run's records."""
    written = [_stamp(run / file)[0] for file in (METRICS, SETTINGS)]
    return max(0.0, now - max(written) / 1e9)


def _runs(folder: Path) -> list[Path]:
    if _is_run(folder):
        return [folder]
    return sorted(entry for entry in folder.glob("*") if _is_run(entry))  # none of a folder that is gone


def _is_run(folder: Path) -> bool:
    return (folder / METRICS).is_file() or (folder / SETTINGS).is_file()


def _stamp(file: Path) -> tuple[int, int]:
    """What changes when the file does."""
    try:
        status = file.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=256)
def _curve(folder: Path, name: str, stamps: tuple[tuple[int, int], ...]) -> Curve:
    """The curve of a run whose files have these stamps."""
    run = read_run(folder, name)
    reports = thinned(run.reports)
    readings = {key: [number(report.get(key)) for report in reports] for key in READINGS}
    return Curve(name, run.shape, run.recipe, run.steps, run.finished, readings, run.problem)


def thinned(reports: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Reports of training thinned evenly to `MOST_POINTS`, the first and the last among them; all evaluations."""
    training = [at for at, report in enumerate(reports) if "eval_loss" not in report]
    if len(training) <= MOST_POINTS:
        return reports
    gap = (len(training) - 1) / (MOST_POINTS - 1)
    kept = {training[round(place * gap)] for place in range(MOST_POINTS)}
    return [report for at, report in enumerate(reports) if at in kept or "eval_loss" in report]


def number(value: Any) -> float | None:
    """`value` if it is a number, which NaN is not."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) else None
