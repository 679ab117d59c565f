"""The model of a run as one of its checkpoints has it, finished or not. Opens run.json, shards and weights."""

from functools import lru_cache
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from weixing.data.reach import Reach, reach_of
from weixing.data.shards import ShardSet
from weixing.errors import UserError
from weixing.model.heads import MaskedLanguageModel
from weixing.text.vocabulary import Vocabulary
from weixing.training.checkpoint_files import STATE, WEIGHTS, check_files
from weixing.training.settings import resumed_settings
from weixing.training.unreached import fill_unreached


@lru_cache(1)  # several checkpoints of one run follow each other, and both look through all rows
def _shards(folder: str) -> ShardSet:
    return ShardSet(folder)


@lru_cache(1)
def _reach(folder: str) -> Reach:
    return reach_of(_shards(folder))


def is_checkpoint(folder: Path) -> bool:
    """Whether `folder` is a checkpoint ``step-NNNNNNN`` of a run."""
    return (folder / WEIGHTS).is_file() and (folder / STATE).is_file()


def model_at(checkpoint: Path) -> tuple[MaskedLanguageModel, Vocabulary]:
    """The model in `checkpoint` (``RUN/checkpoints/step-NNNNNNN``), complete as an exported one is, and its vocabulary.

    Raises:
        UserError: no run around it, the run's shards are gone, or its weights cannot be read.
    """
    check_files(checkpoint)
    run = checkpoint.resolve().parents[1]
    settings = resumed_settings(run, {"--model": None})
    shards = _shards(settings.data)
    if shards.manifest.sha256 != settings.data_sha256:
        raise UserError("these are not the shards that the run was made with", where=settings.data)
    model = MaskedLanguageModel(settings.shape)
    try:
        model.load_state_dict(load_file(checkpoint / WEIGHTS))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise UserError(
            f"this checkpoint cannot be read: {str(error).splitlines()[0]}", where=checkpoint / WEIGHTS
        ) from None
    if settings.recipe.reached_only and not settings.init:
        fill_unreached(model, _reach(settings.data))
    return model.eval(), shards.vocabulary
