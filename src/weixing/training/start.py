"""Starting or resuming a run from options: opens shards, checks that all fits, makes the run folder."""

import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from weixing.data.shards import ShardSet, check_same_vocabulary
from weixing.errors import UserError
from weixing.files import require_new
from weixing.model.heads import MaskedLanguageModel
from weixing.progress import say
from weixing.training.checkpoint_files import list_checkpoints
from weixing.training.devices import Precision, pick_device, pick_precision
from weixing.training.facts import facts_of
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
from weixing.training.ranks import Ranks, joined
from weixing.training.record import begun_by_this_launch, note_end, note_resumption, write_run_record
from weixing.training.runlog import read_metrics
from weixing.training.settings import Settings, new_settings, resumed_settings
from weixing.training.sharding import NOTHING_SAVED, Memory, require_possible
from weixing.training.tensorboard import require_tensorboard, wants_event_files


def pretrain(
    given: dict[str, Any],
    output: Path,
    *,
    load: Load,
    export: Export,
    device_name: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    stall_seconds: float = 600.0,
    tensorboard: bool = False,
    memory: Memory = NOTHING_SAVED,
) -> Pretrained:
    """Start a run, or go on with one.

    Args:
        given: option values under the command line's names (``--data``, ``--steps``, …), None where not given.
        output: the run folder.
        load: reads the model that ``--init`` names.
        export: writes the finished model.
        memory: what is done without to save memory.
        stall_seconds: how long several processes may stand still, before they end and say which one is behind it.
        tensorboard: whether to write event files; a run that has some goes on with them when it is resumed.

    Raises:
        UserError: anything wrong with options, shards, models or the output.
        RanksError: another process of the run has ended.
    """
    if resume and overwrite:
        raise UserError("--resume goes on with a run, --overwrite replaces it", accepted="one of the two")
    if tensorboard:
        require_tensorboard()

    def facts(ranks: Ranks) -> dict[str, str]:
        data, eval_data = given["--data"], given["--eval-data"]
        rows = None if resume and not data else open_shards(data, "--data")
        options = {**given, "--resume": resume or None, "--overwrite": overwrite or None, **vars(memory)}
        return facts_of(options, rows, open_held_out(eval_data), _device(device_name, ranks))

    with joined(facts, stall_seconds) as ranks:
        require_possible(memory, _device(device_name, ranks), ranks)
        restarted = not resume and ranks.by_first(lambda: begun_by_this_launch(output))
        if restarted and not ranks.by_first(lambda: list_checkpoints(output / "checkpoints")):
            restarted, overwrite = False, True  # nothing was lost
        if resume or restarted:
            parts = _to_resume(given, output, load, device_name, ranks, memory)
        else:
            parts = _to_begin(given, output, load, device_name, overwrite, ranks, memory)
        try:
            events = ranks.first and wants_event_files(output, tensorboard)
            done = Run(
                output=output, export=export, ranks=ranks, memory=memory, tensorboard=events, **vars(parts)
            ).train()  # fmt: skip
        except OSError as error:  # a full disk, most likely
            if ranks.first and not list_checkpoints(output / "checkpoints"):
                shutil.rmtree(output)  # there is nothing in it to go on from
            elif ranks.first:
                note_end(output, str(error))
            raise
        except (Exception, KeyboardInterrupt) as error:
            if ranks.first:
                note_end(output, error.what if isinstance(error, UserError) else str(error) or type(error).__name__)
            raise
        if done.stopped_by and ranks.first:
            note_end(output, signal.Signals(done.stopped_by).name)
        return done


@dataclass(frozen=True)
class _Parts:
    """What a `Run` is made of on this rank."""

    settings: Settings
    model: MaskedLanguageModel
    shards: ShardSet
    held_out: ShardSet | None
    device: torch.device


def _to_resume(
    given: dict[str, Any], output: Path, load: Load, device_name: str | None, ranks: Ranks, memory: Memory
) -> _Parts:
    """Rank 0 alone reads the run folder, and notes in it that the run is resumed.

    A run that was killed before its first checkpoint, and so before its first report, begins as it began.
    """
    settings = ranks.by_first(lambda: resumed_settings(output, given))
    if settings.family:
        raise UserError(
            f"this run is one of a family, {', '.join(settings.family)}", where=output,
            action=f"Resume them together: weixing pretrain-family --out {output.parent} --resume",
        )  # fmt: skip
    saved = ranks.by_first(lambda: bool(list_checkpoints(output / "checkpoints")))

    def prepare() -> _Parts:
        shards, held_out = open_shards(settings.data, "--data"), open_held_out(settings.eval_data)
        hashes = (shards.manifest.sha256, held_out.manifest.sha256 if held_out else None)
        if hashes != (settings.data_sha256, settings.eval_data_sha256):
            raise UserError("these are not the shards that the run began with", where=settings.data)
        _require_rows_for(settings, ranks)
        model = MaskedLanguageModel(settings.shape) if saved else first_model(settings, load)
        return _Parts(settings, model, shards, held_out, _device(device_name, ranks))

    def note(device: torch.device) -> None:
        if not saved and read_metrics(output):
            raise UserError(
                "this run has no checkpoint to go on from", where=output, action="Start it again with --overwrite"
            )
        note_resumption(output, device, ranks.count, memory.shard)

    parts = ranks.together(prepare)
    ranks.by_first(lambda: note(parts.device))
    return parts


def _to_begin(
    given: dict[str, Any],
    output: Path,
    load: Load,
    device_name: str | None,
    overwrite: bool,
    ranks: Ranks,
    memory: Memory,
) -> _Parts:
    """Rank 0 alone makes the run folder."""

    def prepare() -> _Parts:
        device = _device(device_name, ranks)
        if ranks.first:
            require_new(output, overwrite)
        shards, held_out = open_shards(given["--data"], "--data"), open_held_out(given["--eval-data"])
        model, settings = _new(given, shards, held_out, load, pick_precision(given["--precision"], device))
        if settings.recipe.layout != shards.manifest.layout:
            say(f"note: recipe {settings.recipe.name} was made for layout {settings.recipe.layout}, "
                f"these shards have layout {shards.manifest.layout}")  # fmt: skip
        _require_rows_for(settings, ranks)
        require_inputs_elsewhere(output, settings)
        return _Parts(settings, model, shards, held_out, device)

    def make_folder(parts: _Parts) -> None:
        if output.exists():
            shutil.rmtree(output)
        output.mkdir(parents=True)
        write_run_record(parts.settings, output, parts.device, ranks.count, memory.shard)

    parts = ranks.together(prepare)
    ranks.follow_first(parts.model)  # --init may name other files there
    ranks.by_first(lambda: make_folder(parts))
    return parts


def _device(name: str | None, ranks: Ranks) -> torch.device:
    device = pick_device(name, ranks.local if ranks.count > 1 else None)
    if device.type == "cuda" and ranks.count > 1:
        torch.cuda.set_device(device)  # NCCL takes the current one
    return device


def _require_rows_for(settings: Settings, ranks: Ranks) -> None:
    if settings.recipe.batch_size % ranks.count:
        raise UserError(
            f"an update of {settings.recipe.batch_size} rows on {ranks.count} processes",
            accepted="--batch-size a multiple of the number of processes, which have as many rows each",
        )


def _new(
    given: dict[str, Any], shards: ShardSet, held_out: ShardSet | None, load: Load, precision: Precision
) -> tuple[MaskedLanguageModel, Settings]:
    if held_out:
        check_same_vocabulary(held_out.vocabulary, shards, held_out.folder)
    if given["--init"]:
        model = trained_model(given["--init"], "--init", shards, load)
        shape = model.encoder.shape
        if given["--model"] and named_shape(given["--model"], shards).name != shape.name:
            raise UserError(f"--model {given['--model']}, but {given['--init']} has shape {shape.name}")
        return model, new_settings(given, shards, held_out, shape, precision)
    if not given["--model"]:
        raise UserError("no model named", action="Give --model L/H (say 2/128), or --init MODEL to go on from one")
    settings = new_settings(given, shards, held_out, named_shape(given["--model"], shards), precision)
    return first_model(settings, load), settings
