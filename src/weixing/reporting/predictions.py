"""Dev predictions as `weixing finetune` writes them: which files belong to a model's best setting, and what they say.
Opens files.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weixing.errors import UserError
from weixing.reporting.metrics import Metric
from weixing.reporting.table import best_setting, name_of
from weixing.tasks.folder import PREDICTIONS
from weixing.tasks.results import FILE_NAME, Result, read_results, result_files

ACCEPTED = f"a folder of finetune, its {FILE_NAME}, a folder that holds such folders, or a file of {PREDICTIONS}/"

Key = tuple[str, str, str]  # task, split, metric


@dataclass(frozen=True)
class Predictions:
    """The predictions of one run: for each dev row its line in the dev file, its label, and what was predicted."""

    path: Path
    lines: list[int]
    labels: list[Any]
    predicted: list[Any]


def runs_in(source: Path, model: str | None = None) -> dict[Key, list[tuple[Result, Path]]]:
    """The runs of one model that stand for it on each task, and their files of predictions.

    These are the runs of its best setting, one a seed. A file of predictions stands for itself.

    Args:
        source: what `ACCEPTED` says.
        model: the model, where `source` has results of several.

    Raises:
        UserError: there are no results or several models, or no results of `model`.
    """
    alone = source if source.parent.name == PREDICTIONS and source.is_file() else None
    files = [alone.parents[1] / FILE_NAME] if alone else result_files([source])
    if alone and not files[0].is_file():
        raise UserError(f"there is no {files[0]} to say what these predictions are of", where=source, accepted=ACCEPTED)
    found = {result: _file(file, result) for file in files for result in read_results([file])}
    runs = [result for result in found if alone is None or found[result].name == alone.name]
    models = dict.fromkeys((name_of(result), result.weights) for result in runs if model in (None, name_of(result)))
    if not models:
        names = ", ".join(dict.fromkeys(map(name_of, runs)))
        what = f"there is no result of {model}" if model else "its results have no such run"
        raise UserError(what, where=source, accepted=names or ACCEPTED)
    if len(models) > 1:
        raise UserError(
            f"results of {len(models)} models",
            where=source,
            accepted="one model: " + ", ".join(f"{name} ({weights or 'weights unknown'})" for name, weights in models),
            action="Name its own folder, or say which (--model-a, --model-b)",
        )
    own = [result for result in runs if (name_of(result), result.weights) in models]
    chosen: dict[Key, list[tuple[Result, Path]]] = {}
    for key in sorted({(r.task, r.split, r.metric) for r in own}):
        one_a_seed: dict[int, Result] = {}
        for result in best_setting([r for r in own if (r.task, r.split, r.metric) == key]):
            one_a_seed.setdefault(result.seed, result)
        chosen[key] = [(result, found[result]) for _, result in sorted(one_a_seed.items())]
    return chosen


def _file(results: Path, result: Result) -> Path:
    return results.parent / PREDICTIONS / f"{result.cell.name}.jsonl"


def read_predictions(path: Path, metric: Metric) -> Predictions:
    """The predictions in one file.

    Raises:
        UserError: the file is missing, or a line is no prediction of such a task (``file:line``).
    """
    accepted = f"predictions of `weixing finetune`: line, label and predicted, the last two {metric.accepted} each"
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise UserError("there are no predictions of this run", where=path, accepted=accepted) from None
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8: {error.reason} at byte {error.start}", where=path, accepted=accepted) from None
    read = Predictions(path, [], [], [])
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            row = json.loads(line)
            place, label, predicted = row["line"], row["label"], row["predicted"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            what = f"no {error}" if isinstance(error, KeyError) else f"not a JSON object: {error}"
            raise UserError(what, where=f"{path}:{number}", accepted=accepted) from None
        if not isinstance(place, int) or not metric.is_label(label) or not metric.is_label(predicted):
            what = f"line {json.dumps(place)}, label {json.dumps(label)}, predicted {json.dumps(predicted)}"
            raise UserError(what, where=f"{path}:{number}", accepted=accepted)
        read.lines.append(place)
        read.labels.append(label)
        read.predicted.append(predicted)
    if not read.lines:
        raise UserError("the file is empty", where=path, accepted=accepted)
    return read


def require_same_rows(runs: Sequence[Predictions]) -> None:
    """Make sure that all runs predicted the same rows of the same dev file.

    Raises:
        UserError: they did not; the message names the first row that differs.
    """
    first, accepted = runs[0], "predictions of the same dev file"
    for other in runs[1:]:
        rows = zip(first.lines, first.labels, other.lines, other.labels, strict=False)
        for number, (our_line, our_label, line, label) in enumerate(rows, 1):
            if (our_line, our_label) != (line, label):
                said, expected = (json.dumps(value, ensure_ascii=False) for value in (label, our_label))
                raise UserError(
                    f"this row is of line {line} of the dev file, with the label {said}; "
                    f"in {first.path} of line {our_line}, with {expected}",
                    where=f"{other.path}:{number}",
                    accepted=accepted,
                )
        if len(other.lines) != len(first.lines):
            what = f"{len(other.lines):,} rows; {first.path} has {len(first.lines):,}"
            raise UserError(what, where=other.path, accepted=accepted)
