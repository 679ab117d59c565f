"""A grid of fine-tuning cells in one output folder, cell after cell, so that a stop loses one cell at most.

Writes ``run.json`` (the settings, first), ``predictions/<cell>.jsonl``, ``model/`` (the best so far, Hugging Face
layout) and ``results.jsonl`` (a cell's line comes last: what it names is there). A cell is trained in
`weixing.tasks.finetune`.
"""

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from weixing.errors import UserError
from weixing.files import atomic_file, read_json, require_new, sha256_of, write_json
from weixing.formats.huggingface import export_classifier
from weixing.formats.naming import describe_model, load_encoder, weights_sha256
from weixing.progress import Progress, say
from weixing.tasks.cells import Cell
from weixing.tasks.encoding import encode_examples
from weixing.tasks.files import Examples, Task
from weixing.tasks.finetune import Outcome, fine_tune
from weixing.tasks.results import FILE_NAME, Result, read_results, write_results
from weixing.text.tokenizer import Tokenizer
from weixing.text.vocabulary import Vocabulary
from weixing.training.devices import Precision, describe_machine

PREDICTIONS, MODEL, SETTINGS = "predictions", "model", "run.json"
WEIGHTS_DIGITS = 12  # of their SHA-256, in a result
SHORTEST = 8  # tokens; room for [CLS] a [SEP] b [SEP] with something in it


@dataclass(frozen=True)
class Summary:
    """What a grid came to; `best` and `cells` (a count) are over all that its results.jsonl holds."""

    task: str
    model: str
    best: Result
    cells: int
    seconds: float
    output: str


def run_grid(
    model_name: str,
    task: Task,
    cells: Sequence[Cell],
    out: Path,
    *,
    device: torch.device,
    precision: Precision,
    vocabulary: Vocabulary | None = None,
    max_length: int = 128,
    overwrite: bool = False,
    resume: bool = False,
) -> Summary:
    """Fine-tune `model_name` on `task` once for each cell and keep everything in `out`.

    Args:
        vocabulary: of an untrained shape (None: the built-in one); for any other model, the one that it must have.
        max_length: longest row, in tokens; longer texts are truncated.
        overwrite: replace what an earlier grid left in `out`.
        resume: leave out the cells that are in `out` already; its settings must be the same.

    Raises:
        UserError: `out` exists; it was made with other settings; the model takes no rows of `max_length`, or no pairs.
    """
    began = time.monotonic()
    _require_folder(out, overwrite, resume)
    encoder, vocabulary = load_encoder(model_name, vocabulary=vocabulary)
    shape = encoder.shape
    if not SHORTEST <= max_length <= shape.positions:
        raise UserError(
            f"rows of {max_length} tokens", where="--max-length", accepted=f"{SHORTEST} to {shape.positions}"
        )
    if task.train.second_texts is not None and shape.token_types < 2:
        raise UserError("pairs of texts for a model of one token type", where=model_name, accepted="a model of two")
    settings: dict[str, Any] = {
        "model": describe_model(model_name),
        "model_name": model_name,
        "vocabulary_sha256": vocabulary.sha256,
        "weights_sha256": weights_sha256(model_name, encoder, vocabulary),
        "task": task.name,
        "labels": list(task.labels),
        "train": _describe(task.train),
        "dev": _describe(task.dev),
        "max_length": max_length,
        "precision": precision,
    }
    results = _open(out, settings, device, overwrite, resume)
    done = {result.cell for result in results}
    left = [cell for cell in cells if cell not in done]
    tokenizer = Tokenizer(vocabulary)
    train = encode_examples(task.train, task.labels, tokenizer, max_length).to(device)
    dev = encode_examples(task.dev, task.labels, tokenizer, max_length).to(device)
    total = len(train) * sum(cell.epochs for cell in left)
    with Progress(f"finetune {task.name}", total=total, unit="texts") as progress:
        for number, cell in enumerate(left, 1):
            outcome = fine_tune(
                encoder, train, dev, len(task.labels), cell,
                max_length=max_length, device=device, precision=precision, report=progress.advance,
            )  # fmt: skip
            result = Result(
                settings["model"], task.name, "dev", "accuracy", outcome.epoch_scores[-1], **asdict(cell),
                seconds=outcome.seconds, steps=outcome.steps, correct=outcome.correct, total=len(dev),
                details={
                    "weights": settings["weights_sha256"][:WEIGHTS_DIGITS],
                    "epoch_scores": outcome.epoch_scores,
                    "train_loss": outcome.epoch_losses[-1],
                    "train_rows": len(train),
                    "max_length": max_length,
                    "shape": shape.name,
                    "precision": precision,
                    "device": device.type,
                    "weixing": version("weixing"),
                },
            )  # fmt: skip
            _write_predictions(out / PREDICTIONS / f"{cell.name}.jsonl", task, outcome)
            if result.score > max((earlier.score for earlier in results), default=-1.0):
                export_classifier(outcome.model.cpu().eval(), vocabulary, task.labels, out / MODEL, overwrite=True)
            results.append(result)
            write_results(out / FILE_NAME, results)
            say(f"cell {number}/{len(left)}, {cell.name}: dev accuracy {result.score:.2f}")
    best = max(results, key=lambda result: result.score)
    return Summary(task.name, best.model, best, len(results), time.monotonic() - began, str(out))


def _require_folder(out: Path, overwrite: bool, resume: bool) -> None:
    if overwrite and resume:
        raise UserError("--overwrite and --resume contradict each other", accepted="one of them")
    if out.exists() and not out.is_dir():
        raise UserError("this is a file", where=out, accepted="a folder for the results")
    if resume and out.is_dir() and any(out.iterdir()) and not (out / SETTINGS).exists():
        raise UserError(f"nothing to resume: there is no {SETTINGS}", where=out, accepted="a folder of finetune")
    if not resume:
        require_new(out, overwrite)


def _open(out: Path, settings: dict[str, Any], device: torch.device, overwrite: bool, resume: bool) -> list[Result]:
    """Make `out` ready and return the results that are in it already."""
    if overwrite:
        for name in (FILE_NAME, SETTINGS):
            (out / name).unlink(missing_ok=True)
        for name in (PREDICTIONS, MODEL):
            shutil.rmtree(out / name, ignore_errors=True)
    if resume and (out / SETTINGS).exists():
        before = read_json(out / SETTINGS, "the settings of a grid")
        for key, value in settings.items():
            if before.get(key) != value:
                raise UserError(
                    f"the earlier cells had {key} {json.dumps(before.get(key), ensure_ascii=False)}, "
                    f"not {json.dumps(value, ensure_ascii=False)}",
                    where=out / SETTINGS,
                    action="Resume with the same settings, or name another --out",
                )
        return read_results([out / FILE_NAME]) if (out / FILE_NAME).exists() else []
    write_json(out / SETTINGS, settings | {"machine": describe_machine(device), "weixing": version("weixing")})
    return []


def _describe(examples: Examples) -> dict[str, Any]:
    return {
        "file": str(examples.path),
        "sha256": sha256_of(examples.path),
        "rows": len(examples),
        "left_out": examples.left_out,
    }


def _write_predictions(file: Path, task: Task, outcome: Outcome) -> None:
    """One object a dev row: `index` among the rows that are scored, `line` in the file, probabilities by label id."""
    with atomic_file(file) as beside, open(beside, "w", encoding="utf-8", newline="\n") as stream:
        for index, row in enumerate(outcome.probabilities):
            values = {
                "index": index,
                "line": task.dev.lines[index],
                "label": task.dev.labels[index],
                "predicted": task.labels[int(np.argmax(row))],
                "probabilities": [round(float(p), 6) for p in row],
            }
            stream.write(json.dumps(values, ensure_ascii=False) + "\n")
