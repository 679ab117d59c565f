"""Starting or resuming a run from options: opens shards, checks that all fits, makes the run folder."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from weixing.data.shards import ShardSet, check_same_vocabulary
from weixing.errors import UserError
from weixing.files import require_new
from weixing.model.heads import MaskedLanguageModel
from weixing.model.initialisation import initialise
from weixing.progress import say
from weixing.text.vocabulary import Vocabulary
from weixing.training.checkpoints import list_checkpoints
from weixing.training.devices import Precision, pick_device, pick_precision
from weixing.training.pretraining import Export, Pretrained, Run, note_resumption, write_run_record
from weixing.training.settings import Settings, new_settings, resumed_settings
from weixing.zoo import Shape, parse_shape

Load = Callable[[str], tuple[MaskedLanguageModel, Vocabulary]]


def pretrain(
    given: dict[str, Any],
    output: Path,
    *,
    load: Load,
    export: Export,
    device_name: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Pretrained:
    """Start a run, or go on with one.

    Args:
        given: option values under the command line's names (``--data``, ``--steps``, …), None where not given.
        output: the run folder.
        load: reads the model that ``--init`` names.
        export: writes the finished model.

    Raises:
        UserError: anything wrong with options, shards, models or the output.
    """
    _refuse_several_processes()
    device = pick_device(device_name)
    if resume and overwrite:
        raise UserError("--resume goes on with a run, --overwrite replaces it", accepted="one of the two")
    if resume:
        settings = resumed_settings(output, given)
        shards, held_out = _open(settings.data, "--data"), _open_held_out(settings.eval_data)
        hashes = (shards.manifest.sha256, held_out.manifest.sha256 if held_out else None)
        if hashes != (settings.data_sha256, settings.eval_data_sha256):
            raise UserError("these are not the shards that the run began with", where=settings.data)
        model = MaskedLanguageModel(settings.shape)
        if not list_checkpoints(output / "checkpoints"):
            raise UserError(
                "this run has no checkpoint to go on from", where=output, action="Start it again with --overwrite"
            )
        note_resumption(output, device)
    else:
        require_new(output, overwrite)
        shards, held_out = _open(given["--data"], "--data"), _open_held_out(given["--eval-data"])
        model, settings = _new(given, shards, held_out, load, pick_precision(given["--precision"], device))
        if settings.recipe.layout != shards.manifest.layout:
            say(f"note: recipe {settings.recipe.name} was made for layout {settings.recipe.layout}, "
                f"these shards have layout {shards.manifest.layout}")  # fmt: skip
        _require_inputs_elsewhere(output, settings)
        if output.exists():
            shutil.rmtree(output)
        output.mkdir(parents=True)
        write_run_record(settings, output, device)
    try:
        return Run(settings, output, model, shards, held_out, device, export).train()
    except OSError:  # a full disk, most likely
        if not list_checkpoints(output / "checkpoints"):
            shutil.rmtree(output)  # there is nothing in it to go on from
        raise


def _refuse_several_processes() -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(
            f"{os.environ['WORLD_SIZE']} processes (torchrun)", accepted="one: this version trains on one device"
        )


def _require_inputs_elsewhere(output: Path, settings: Settings) -> None:
    for source in (settings.data, settings.eval_data, settings.init):
        if source and Path(source).exists() and Path(source).resolve().is_relative_to(output.resolve()):
            raise UserError(f"--overwrite would delete {source}, which the run needs", where=output)


def _new(
    given: dict[str, Any], shards: ShardSet, held_out: ShardSet | None, load: Load, precision: Precision
) -> tuple[MaskedLanguageModel, Settings]:
    if held_out:
        check_same_vocabulary(held_out.vocabulary, shards, held_out.folder)
    if given["--init"]:
        if parse_shape(given["--init"]) and not Path(given["--init"]).is_dir():
            raise UserError(
                f"--init {given['--init']} names a shape", accepted="a trained model: a folder, a run or a hub id",
                action=f"For fresh weights: --model {given['--init']}",
            )  # fmt: skip
        model, vocabulary = load(given["--init"])
        check_same_vocabulary(vocabulary, shards, given["--init"])
        shape = model.encoder.shape
        if given["--model"] and _shape(given["--model"], shards).name != shape.name:
            raise UserError(f"--model {given['--model']}, but {given['--init']} has shape {shape.name}")
        return model, new_settings(given, shards, held_out, shape, precision)
    if not given["--model"]:
        raise UserError("no model named", action="Give --model L/H (say 2/128), or --init MODEL to go on from one")
    settings = new_settings(given, shards, held_out, _shape(given["--model"], shards), precision)
    model = MaskedLanguageModel(settings.shape)
    initialise(model, settings.recipe.initialisation, settings.seed)
    return model, settings


def _shape(name: str, shards: ShardSet) -> Shape:
    shape = parse_shape(str(name), shards.manifest.vocabulary_size)
    if shape is None:
        raise UserError(
            f"no shape is called {name!r}", where="--model",
            accepted="2/128 … 12/768, tiny mini small medium base, or any L/H with H a multiple of 64",
            action="To go on from a trained model, name it with --init",
        )  # fmt: skip
    return shape


def _open(folder: Any, option: str) -> ShardSet:
    if not folder:
        raise UserError("no shards named", where=option, action="Make them with: weixing prepare CORPUS --out DIR")
    shards = ShardSet(folder)
    if not len(shards):
        raise UserError("a set of shards without rows", where=folder)
    return shards


def _open_held_out(folder: Any) -> ShardSet | None:
    return _open(folder, "--eval-data") if folder else None
