"""How a model came to be, as its run folders record it: what the card says of training. Opens files, no sockets.

Nothing here is guessed: what a file does not say is None, or left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weixing.data.shards import Manifest, read_manifest
from weixing.errors import UserError
from weixing.files import read_json
from weixing.hub import is_hub_id
from weixing.training.runlog import METRICS, read_metrics

RECORD = "run.json"
NUMBERS = (
    *("sequence_length", "batch_size", "peak_learning_rate", "matrix_learning_rate", "weight_decay", "dropout"),
    *("matrix_weight_decay", "warmup_share", "decay_share", "masking_rate"),
    *("step", "tokens", "seconds", "tokens_per_second", "train_loss", "eval_loss", "eval_accuracy"),
)  # of run.json's recipe, and of reports


@dataclass(frozen=True)
class Stage:
    """One pretraining run.

    Attributes:
        name: of the run folder.
        settings, recipe, machine: of run.json, under its names.
        version: of weixing; started: date and time; resumed: how often the run went on after a stop.
        corpus, held_out: manifests of the shards, where they are still there and are still the same.
        report: the last one of training in metrics.jsonl; evaluation: the last one on held-out shards.
    """

    name: str
    settings: Mapping[str, Any]
    recipe: Mapping[str, Any]
    machine: Mapping[str, Any]
    version: str | None
    started: str | None
    resumed: int
    corpus: Manifest | None
    held_out: Manifest | None
    report: Mapping[str, Any]
    evaluation: Mapping[str, Any]

    @property
    def passes(self) -> float | None:
        """How often each row was fed, on average; None where the shards are not there to be counted."""
        tokens = self.report.get("tokens")
        if self.corpus is None or tokens is None:
            return None
        return tokens / (self.corpus.rows * self.corpus.sequence_length)


@dataclass(frozen=True)
class FineTuning:
    """What the record of a grid says of the classifier in it: its task, the model it began from, rows of its data.

    `weights` is what tells that model from others (`formats.naming.weights_sha256`).
    """

    task: str
    model: str
    model_name: str
    weights: str
    train_rows: int | None
    dev_rows: int | None

    @property
    def base_model(self) -> str | None:
        """Hub id of the model that it began from, or None."""
        return _hub_id(self.model_name)


@dataclass(frozen=True)
class Training:
    """All of it: `stages` of pretraining in order, and `began_from`, the model without a record whose weights the first
    one took; of a classifier its `fine_tuning` instead."""

    stages: tuple[Stage, ...] = ()
    began_from: str | None = None
    fine_tuning: FineTuning | None = None

    @property
    def base_model(self) -> str | None:
        """Hub id of the model that it all began from, or None."""
        return self.fine_tuning.base_model if self.fine_tuning else _hub_id(self.began_from)


def _hub_id(name: str | None) -> str | None:
    return name.partition("@")[0] if name and is_hub_id(name) and not Path(name).exists() else None


def run_of(folder: Path) -> Path | None:
    """The pretraining run that `folder` is, or whose ``model`` it is; None where no run.json says so."""
    folder = folder.resolve()
    for run in (folder, folder.parent) if folder.name == "model" else (folder,):
        if (run / RECORD).is_file() and _settings_of(run / RECORD) is not None:
            return run
    return None


def read_training(run: Path) -> Training:
    """The run in the folder `run`, and before it the runs that it began from, as far as their folders are there.

    Raises:
        UserError: the folder holds no run of `weixing pretrain`, or its records are damaged.
    """
    stages: list[Stage] = []
    seen: set[Path] = set()
    began_from: str | None = None
    folder: Path | None = run.resolve()
    while folder is not None and folder not in seen:
        seen.add(folder)
        stages.insert(0, _stage(folder))
        began_from, folder = _origin(stages[0].settings.get("init"))
    return Training(tuple(stages), began_from)


def read_fine_tuning(folder: Path) -> FineTuning | None:
    """The record of the grid whose ``model`` is in `folder`; None where there is none."""
    file = folder.resolve().parent / RECORD
    if folder.resolve().name != "model" or not file.is_file():
        return None
    record = read_json(file, "run.json of a grid")
    names = ("task", "model", "model_name", "weights_sha256")
    if not isinstance(record, dict) or not all(isinstance(record.get(name), str) for name in names):
        return None
    rows = [record[part].get("rows") if isinstance(record.get(part), dict) else None for part in ("train", "dev")]
    return FineTuning(*(record[name] for name in names), *rows)


def _origin(init: Any) -> tuple[str | None, Path | None]:
    """Of what a run began from: its name where no record of it is there, its run folder where there is one."""
    if not isinstance(init, str):
        return None, None
    run = run_of(Path(init)) if Path(init).is_dir() else None
    if run is not None:
        return None, run
    # A folder's path is nobody's business but that of the machine it is on.
    return Path(init).name if Path(init).is_absolute() else init, None


def _settings_of(file: Path) -> Mapping[str, Any] | None:
    record = read_json(file, "run.json of a run")
    settings = record.get("settings") if isinstance(record, dict) else None
    return settings if isinstance(settings, dict) and isinstance(settings.get("recipe"), dict) else None


def _stage(run: Path) -> Stage:
    file = run / RECORD
    settings = _settings_of(file)
    if settings is None:
        raise UserError("this is no record of a pretraining run", where=file, accepted="a run of `weixing pretrain`")
    record = read_json(file, "run.json of a run")
    reports = read_metrics(run)
    for values, where in ((settings["recipe"], file), *((report, run / METRICS) for report in reports)):
        _require_numbers(values, where)
    return Stage(
        run.name,
        settings,
        settings["recipe"],
        record.get("machine") or {},
        record.get("weixing"),
        record.get("started"),
        len(record.get("resumed") or ()),
        _manifest(settings, "data"),
        _manifest(settings, "eval_data"),
        next((report for report in reversed(reports) if "train_loss" in report), {}),
        next((report for report in reversed(reports) if "eval_loss" in report), {}),
    )


def _require_numbers(values: Mapping[str, Any], where: Path) -> None:
    for name in NUMBERS:
        if name in values and (isinstance(values[name], bool) or not isinstance(values[name], int | float)):
            raise UserError(f"{name} is {values[name]!r}", where=where, accepted="a number, as `pretrain` wrote it")


def _manifest(settings: Mapping[str, Any], name: str) -> Manifest | None:
    """Of the shards in settings[`name`]; None where they are gone, or are no longer those that the run read."""
    if not settings.get(name):
        return None
    try:
        manifest = read_manifest(Path(settings[name]))
    except UserError:
        return None
    return manifest if manifest.sha256 == settings.get(f"{name}_sha256") else None
