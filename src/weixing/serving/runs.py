"""Run folders of `weixing pretrain` as curves. Reads run.json and metrics.jsonl, again whenever they have changed."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
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


def require_folders(folders: Sequence[Path]) -> None:
    """Raises UserError if one of them is no folder."""
    for folder in folders:
        if not folder.is_dir():
            raise UserError(
                "there is no such folder", where=f"--runs {folder}",
                accepted="a run folder of `weixing pretrain`, or a folder that holds such folders",
            )  # fmt: skip


def curves(folders: Sequence[Path]) -> list[Curve]:
    """The runs of folders, run folders or such that hold some, as they are now. A second of a name is ``name (2)``."""
    found, seen = [], Counter[str]()
    for run in dict.fromkeys(run for folder in folders for run in _runs(folder.resolve())):
        seen[run.name] += 1
        name = run.name if seen[run.name] == 1 else f"{run.name} ({seen[run.name]})"
        found.append(_curve(run, name, (_stamp(run / SETTINGS), _stamp(run / METRICS))))
    return found


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
def _curve(run: Path, name: str, stamps: tuple[tuple[int, int], ...]) -> Curve:
    """The curve of a run whose files have these stamps."""
    try:
        settings = json.loads((run / SETTINGS).read_text(encoding="utf-8"))["settings"] if stamps[0][1] else {}
        recipe, sizes = settings.get("recipe", {}), settings.get("shape")
        shape = f"{sizes['layers']}/{sizes['hidden']}" if sizes else None
        steps = recipe.get("steps")
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return Curve(name, problem=f"{SETTINGS} is none of `weixing pretrain`")
    try:
        reports = thinned(read_metrics(run))
        readings = {key: [_number(report.get(key)) for report in reports] for key in READINGS}
    except UserError as error:
        return Curve(name, problem=f"{METRICS}: {error.what}")
    except (OSError, ValueError, AttributeError):
        return Curve(name, problem=f"{METRICS} cannot be read")
    done = readings["step"][-1] if reports else None
    finished = bool(steps and done and done >= steps)
    return Curve(name, shape, recipe.get("name"), steps, finished, readings)


def thinned(reports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Reports of training thinned evenly to `MOST_POINTS`, the first and the last among them; all evaluations."""
    training = [number for number, report in enumerate(reports) if "eval_loss" not in report]
    if len(training) <= MOST_POINTS:
        return reports
    gap = (len(training) - 1) / (MOST_POINTS - 1)
    kept = {training[round(place * gap)] for place in range(MOST_POINTS)}
    return [report for number, report in enumerate(reports) if number in kept or "eval_loss" in report]


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
