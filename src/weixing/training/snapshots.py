"""The model of a run as one of its checkpoints has it, finished or not. Opens run.json, shards and weights."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from weixing.data.reach import reach_of
from weixing.data.shards import ShardSet
from weixing.errors import UserError
from weixing.model.heads import MaskedLanguageModel
from weixing.text.vocabulary import Vocabulary
from weixing.training.checkpoint_files import STATE, WEIGHTS, check_files
from weixing.training.settings import resumed_settings
from weixing.training.unreached import fill_unreached


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
    shards = ShardSet(Path(settings.data))
    model = MaskedLanguageModel(settings.shape)
    try:
        model.load_state_dict(load_file(checkpoint / WEIGHTS))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise UserError(
            f"this checkpoint cannot be read: {str(error).splitlines()[0]}", where=checkpoint / WEIGHTS
        ) from None
    if settings.recipe.reached_only and not settings.init:
        fill_unreached(model, reach_of(shards))
    return model.eval(), shards.vocabulary
