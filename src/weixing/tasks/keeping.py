"""What becomes of what cells give: results, predictions, the best model; and how far they are."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from weixing.formats.huggingface import export_classifier
from weixing.formats.sentence_transformers import export_embedder
from weixing.model.heads import Embedder
from weixing.progress import Progress, say
from weixing.tasks.cells import Cell
from weixing.tasks.files import Task
from weixing.tasks.folder import GridFolder
from weixing.tasks.job import Finished, Job
from weixing.tasks.objectives import Predictions
from weixing.tasks.results import Result
from weixing.tasks.search import Search
from weixing.tasks.tuning import Tuning
from weixing.text.vocabulary import Vocabulary

DIGITS = 12  # of a SHA-256, in a result


@dataclass(frozen=True)
class Keeper:
    """Makes results of what cells gave, and puts them into the folder.

    Attributes:
        settings: of run.json.
        search: what chose the cells, if not all of the grid are run.
    """

    folder: GridFolder
    job: Job
    task: Task
    vocabulary: Vocabulary
    settings: Mapping[str, Any]
    search: Search | None

    def keep(self, done: Finished) -> Result:
        """Keep what a cell gave, and return it as a result."""
        job, settings, outcome = self.job, self.settings, done.outcome
        changed = {
            field.name: value for field in fields(Tuning) if (value := getattr(job.tuning, field.name)) != field.default
        }
        details = {
            "weights": settings["weights_sha256"][:DIGITS],
            "data": self.task.data,
            "data_note": self.task.data_note,
            "train_rows": len(job.train),
            "dev_sha256": settings["dev"]["sha256"][:DIGITS],
            "epoch_scores": outcome.epoch_scores,
            "best_epoch": outcome.best_epoch,
            "train_loss": outcome.epoch_losses[outcome.best_epoch - 1],
            "shape": job.shape.name,
            **{key: settings[key] for key in ("max_length", "precision", "device", "threads")},
            **({"tuning": changed} if changed else {}),
            **({"search": self.search} if self.search else {}),
            "weixing": version("weixing"),
        }
        result = Result(
            settings["model"], settings["task"], "dev", outcome.metric, outcome.score, **asdict(done.cell),
            seconds=outcome.seconds, steps=outcome.steps, correct=outcome.correct, total=len(job.dev), details=details,
        )  # fmt: skip
        export = partial(self._export, done) if done.weights is not None else None
        self.folder.add(result, self._predictions(outcome.predictions), export)
        return result

    def _export(self, done: Finished, folder: Path) -> None:
        model = done.model()
        if isinstance(model, Embedder):
            export_embedder(model, self.vocabulary, folder)
        else:
            export_classifier(model, self.vocabulary, self.job.objective.output_names, folder)

    def _predictions(self, predictions: Predictions) -> Iterator[dict[str, Any]]:
        """One object a dev row: `index` among those that are scored, `line` in the file, what was predicted."""
        dev = self.task.dev
        for index, described in enumerate(self.job.objective.described(predictions)):
            yield {"index": index, "line": dev.lines[index], "label": dev.labels[index], **described}


class CellProgress(Progress):
    """Progress over the rows of all cells, in whatever order they are told, and a line for each cell's end."""

    def __init__(self, task: str, cells: Sequence[Cell], rows: int) -> None:
        super().__init__(f"finetune {task}", total=rows * sum(cell.epochs for cell in cells), unit="texts")
        self.rows, self.cells, self.ended = rows, len(cells), 0
        self.told: dict[Cell, int] = {}

    def report(self, cell: Cell, rows: int, note: str) -> None:
        """Some rows of a cell were taken."""
        self.told[cell] = self.told.get(cell, 0) + rows
        self.advance(rows, f"{self.ended}/{self.cells} cells, {note}")

    def end(self, cell: Cell, how: str, failed: bool = False) -> None:
        """A cell has ended; what was not told of it, or not needed, counts as done."""
        self.ended += 1
        self.advance(cell.epochs * self.rows - self.told.get(cell, 0))
        if not (failed and self.cells == 1):  # that error says it all
            say(f"cell {self.ended}/{self.cells}, {cell.name}: {how}")
