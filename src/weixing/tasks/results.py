"""results.jsonl: one object a fine-tuning run. Reads and writes files; the one place that knows the keys."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from weixing.errors import UserError
from weixing.files import atomic_file
from weixing.tasks.cells import Cell
from weixing.zoo import ZOO

FILE_NAME = "results.jsonl"
_VALUES: dict[Any, tuple[str, Callable[[Any], bool]]] = {
    str: ("text", lambda value: isinstance(value, str)),
    int: ("a whole number", lambda value: isinstance(value, int)),
    float: ("a number", lambda value: isinstance(value, int | float) and math.isfinite(value)),
}  # what the keys of a result hold, and how that is told
_DETAILS = {"weights": str, "shape": str, "data": str, "data_note": str, "dev_sha256": str, "tuning": dict}
ACCEPTED = "results.jsonl of `weixing finetune`, or a folder that holds such files"


@dataclass(frozen=True)
class Result:
    """One run. `score` is in percent, `seconds` count training and evaluation, `steps` are optimizer updates.

    `correct` of `total` dev rows are exactly right; of numbers, none is counted as such. `details` are further keys,
    written beside the others: scores after each epoch, device, and so on.
    """

    model: str
    task: str
    split: str
    metric: str
    score: float
    epochs: int
    batch_size: int
    learning_rate: float
    seed: int
    seconds: float
    steps: int
    correct: int
    total: int
    details: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def cell(self) -> Cell:
        """The cell of the grid that gave it."""
        return Cell(self.epochs, self.batch_size, self.learning_rate, self.seed)

    def values(self) -> dict[str, Any]:
        """What a line of results.jsonl holds."""
        values = asdict(self)
        return values | values.pop("details")

    @property
    def weights(self) -> str | None:
        """What tells its weights from others of a model of this name; None where it is not recorded."""
        return self.details.get("weights")

    @property
    def shape(self) -> str | None:
        """``L/H`` of the model where it is known: as recorded, or from a zoo name or an upstream id."""
        names = {name: shape.name for shape in ZOO.values() for name in (shape.name, shape.alias, shape.upstream_id)}
        return self.details.get("shape") or names.get(self.model)


def write_results(file: Path, results: Sequence[Result]) -> None:
    """Replace `file` by `results`, atomically."""
    with atomic_file(file) as beside, open(beside, "w", encoding="utf-8", newline="\n") as stream:
        for result in results:
            stream.write(json.dumps(result.values(), ensure_ascii=False) + "\n")


def result_files(sources: Sequence[Path]) -> list[Path]:
    """The files of results among files and folders (searched through), in order, each once.

    Raises:
        UserError: a folder without such a file.
    """
    found: dict[Path, None] = {}
    for source in sources:
        files = sorted(source.rglob(FILE_NAME)) if source.is_dir() else [source]
        if not files:
            raise UserError(f"there is no {FILE_NAME} in this folder", where=source, accepted=ACCEPTED)
        found.update(dict.fromkeys(files))
    return list(found)


def read_results(sources: Sequence[Path]) -> list[Result]:
    """The results in files and folders (searched through), in order; a run that is met twice counts once.

    Raises:
        UserError: nothing there, or a line that is no result (``file:line``).
    """
    return list(dict.fromkeys(result for file in result_files(sources) for result in _read_file(file)))


def _read_file(file: Path) -> list[Result]:
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise UserError("there is no such file or folder", where=file, accepted=ACCEPTED) from None
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8: {error.reason} at byte {error.start}", where=file, accepted=ACCEPTED) from None
    results = [_parse(line, f"{file}:{number}") for number, line in enumerate(lines, 1) if line.strip()]
    if not results:
        raise UserError("the file is empty", where=file, accepted=ACCEPTED)
    return results


def _parse(line: str, where: str) -> Result:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"not JSON: {error}", where=where, accepted=ACCEPTED) from None
    if not isinstance(values, dict):
        raise UserError("not a JSON object", where=where, accepted=ACCEPTED)
    known: dict[str, Any] = {}
    for key in fields(Result):
        if key.name == "details":
            continue
        value = values.pop(key.name, None)
        accepted, is_one = _VALUES[key.type]
        if isinstance(value, bool) or not is_one(value):
            raise UserError(
                f"{key.name} is {json.dumps(value)}" if value is not None else f"there is no {key.name}",
                where=where,
                accepted=f"{accepted} as {key.name}",
            )
        known[key.name] = value
    for name, kind in _DETAILS.items():
        if not isinstance(values.get(name), kind | None):
            raise UserError(f"{name} is {json.dumps(values[name])}", where=where, accepted=ACCEPTED)
    return Result(**known, details=values)
