"""Starting or resuming a family from options: opens shards and the teacher, makes a run folder for each shape."""

import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from weixing.data.shards import ShardSet, check_same_vocabulary
from weixing.errors import UserError
from weixing.files import read_json, require_new, write_json
from weixing.model.heads import MaskedLanguageModel
from weixing.progress import say
from weixing.training.checkpoint_files import check_files, list_checkpoints, step_of
from weixing.training.devices import pick_device, pick_precision
from weixing.training.family import Family
from weixing.training.inputs import (
    Load,
    first_model,
    named_shape,
    open_held_out,
    open_shards,
    require_inputs_elsewhere,
    trained_model,
)  # fmt: skip
from weixing.training.pretraining import Export, Pretrained, Run
from weixing.training.ranks import ALONE
from weixing.training.record import note_end, note_resumption, write_run_record
from weixing.training.runlog import read_metrics
from weixing.training.settings import Settings, new_settings, plain, resumed_settings
from weixing.training.sharding import NOTHING_SAVED
from weixing.training.teaching import Teacher, model_sha256
from weixing.zoo import parse_shape

RECORD = "family.json"
LEAST_KEPT = 3  # checkpoints: while one run writes its newest, another may be two behind
TEACHER_SHARE = 0.5


def pretrain_family(
    given: dict[str, Any],
    models: Sequence[str],
    output: Path,
    *,
    load: Load,
    export: Export,
    device_name: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> list[Pretrained]:
    """Start a family, or go on with one.

    Args:
        given: option values as `weixing.training.start.pretrain` takes them, without a model; ``--teacher`` and
            ``--teacher-share`` among them.
        models: shapes, none twice; may be empty when resuming.
        output: the folder; each shape has a run folder in it (`folder_of`).
        load: reads the teacher.
        export: writes each finished model.

    Returns:
        What each run came to, in the order of the shapes.

    Raises:
        UserError: anything wrong with options, shards, the teacher or the output.
    """
    if resume and overwrite:
        raise UserError("--resume goes on with a family, --overwrite replaces it", accepted="one of the two")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("a family is trained by one process", action="Start it without torchrun")
    device = pick_device(device_name)
    settings = _resumed(given, models, output) if resume else _new(given, models, output, device, load, overwrite)
    first, folders = settings[0], [output / folder_of(one.shape.name) for one in settings]
    shards, held_out = open_shards(first.data, "--data"), open_held_out(first.eval_data)
    hashes = (shards.manifest.sha256, held_out.manifest.sha256 if held_out else None)
    if hashes != (first.data_sha256, first.eval_data_sha256):
        raise UserError("these are not the shards that the family began with", where=first.data)
    teacher_model = _teacher(first, shards, load)
    if not resume:
        _make_folders(output, settings, device)
    step = agreed_step(folders)
    runs = []
    for one, folder in zip(settings, folders, strict=True):
        if resume:
            note_resumption(folder, device, 1, False)
        model = first_model(one, load) if step is None else MaskedLanguageModel(one.shape)
        runs.append(Run(one, folder, model, shards, held_out, device, export, ALONE, NOTHING_SAVED))
    teacher = None
    if teacher_model:
        reach = runs[0].reach
        teacher = Teacher(
            teacher_model, first.teacher_share, reach.entries if reach else None, first.precision,
            first.micro_batch_size, device,
        )  # fmt: skip
    with _ends_noted(folders):
        done = Family(runs, teacher).train()
    if stopped_by := done[0].stopped_by:
        for folder in folders:
            note_end(folder, signal.Signals(stopped_by).name)
        say(f"stopped after step {done[0].steps:,}; go on with: weixing pretrain-family --out {output} --resume")
    return done


def folder_of(shape: str) -> str:
    """Name of the run folder of a shape: ``2/128`` is trained in ``2x128``."""
    return shape.replace("/", "x")


def _new(
    given: dict[str, Any], models: Sequence[str], output: Path, device: torch.device, load: Load, overwrite: bool
) -> list[Settings]:
    """Settings of each run; nothing is written yet."""
    require_new(output, overwrite)
    shards, held_out = open_shards(given["--data"], "--data"), open_held_out(given["--eval-data"])
    if held_out:
        check_same_vocabulary(held_out.vocabulary, shards, held_out.folder)
    shapes = [named_shape(name, shards) for name in models]
    names = tuple(shape.name for shape in shapes)
    if not names or len(set(names)) < len(names):
        raise UserError(
            f"shapes {', '.join(names) or 'not named'}", where="--models", accepted="one or more, none twice"
        )
    share = TEACHER_SHARE if given["--teacher-share"] is None else given["--teacher-share"]
    if not 0 < share <= 1:
        raise UserError(f"--teacher-share {share}", accepted="above 0, at most 1")
    if not given["--teacher"] and given["--teacher-share"] is not None:
        raise UserError("--teacher-share without a teacher", action="Name one with --teacher")
    precision = pick_precision(given["--precision"], device)
    settings = [new_settings(given, shards, held_out, shape, precision) for shape in shapes]
    settings = [replace(one, family=names) for one in settings]
    if settings[0].keep < LEAST_KEPT:
        raise UserError(
            f"--keep {settings[0].keep}",
            accepted=f"{LEAST_KEPT} or more: runs that are killed must have a checkpoint of one step in common",
        )
    if name := given["--teacher"]:
        model = trained_model(name, "--teacher", shards, load)
        identity = model_sha256(model, shards.vocabulary)
        settings = [replace(one, teacher=plain(name), teacher_sha256=identity, teacher_share=share) for one in settings]
    for one in settings:
        require_inputs_elsewhere(output, one)
    return settings


def _teacher(settings: Settings, shards: ShardSet, load: Load) -> MaskedLanguageModel | None:
    """The model that teaches, checked to be the one of the settings."""
    if settings.teacher is None:
        return None
    model = trained_model(settings.teacher, "--teacher", shards, load)
    if model_sha256(model, shards.vocabulary) != settings.teacher_sha256:
        raise UserError("this is no longer the teacher that the family began with", where=settings.teacher)
    if (length := shards.manifest.sequence_length) > model.encoder.shape.positions:
        raise UserError(
            f"rows of {length} positions", where=shards.folder,
            accepted=f"at most {model.encoder.shape.positions}, the positions of the teacher {settings.teacher}",
        )  # fmt: skip
    return model


def _make_folders(output: Path, settings: Sequence[Settings], device: torch.device) -> None:
    if output.exists():
        shutil.rmtree(output)
    output.mkdir(parents=True)
    write_json(output / RECORD, {"models": list(settings[0].family)})
    for one in settings:
        folder = output / folder_of(one.shape.name)
        folder.mkdir()
        write_run_record(one, folder, device, 1, False)


def _resumed(given: dict[str, Any], models: Sequence[str], output: Path) -> list[Settings]:
    """Settings of each run in `output`."""
    names = read_json(output / RECORD, "the record of a family to resume")["models"]
    asked = [shape.name if (shape := parse_shape(name)) else name for name in models]
    if asked and asked != names:
        raise UserError(f"--resume with other shapes: {','.join(asked)} (the family: {','.join(names)})", where=output)
    folders = [output / folder_of(name) for name in names]
    if missing := [folder.name for folder in folders if not (folder / "run.json").is_file()]:
        raise UserError(
            f"there is no run in {', '.join(missing)}", where=output, action="Start the family again with --overwrite"
        )
    settings = [resumed_settings(folder, {**given, "--model": None}) for folder in folders]
    if settings[0].keep < LEAST_KEPT:
        raise UserError(f"--keep {settings[0].keep}", accepted=f"{LEAST_KEPT} or more")
    return settings


def agreed_step(folders: Sequence[Path]) -> int | None:
    """The newest step of which every run in `folders` has a whole checkpoint; newer ones are removed.

    They would come again, the same. None if no run has got as far as its first report.

    Raises:
        UserError: there is no such step.
    """
    saved = [{step_of(path): path for path in list_checkpoints(folder / "checkpoints")} for folder in folders]
    for step in sorted(set(saved[0]).intersection(*saved), reverse=True):
        if all(_is_whole(of_run[step]) for of_run in saved):
            for of_run in saved:
                for newer in (number for number in of_run if number > step):
                    shutil.rmtree(of_run[newer])
            return step
    if any(read_metrics(folder) for folder in folders):
        raise UserError(
            "no step of which every run of this family has a whole checkpoint", where=folders[0].parent,
            action="Start the family again with --overwrite",
        )  # fmt: skip
    for of_run in saved:  # killed while the very first ones were written
        for path in of_run.values():
            shutil.rmtree(path)
    return None


def _is_whole(checkpoint: Path) -> bool:
    try:
        check_files(checkpoint)
    except UserError as error:
        say(f"warning: {checkpoint} is damaged and not used: {error.what}")
        return False
    return True


@contextmanager
def _ends_noted(folders: Sequence[Path]) -> Iterator[None]:
    """What ends the runs is noted in their records."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        for folder in folders:
            note_end(folder, error.what if isinstance(error, UserError) else str(error) or type(error).__name__)
        raise
