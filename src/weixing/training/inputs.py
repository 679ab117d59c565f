"""What a run begins with: shards, shapes, models, by their names; each checked. Opens shards and models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from weixing.data.shards import ShardSet, check_same_vocabulary
from weixing.errors import UserError
from weixing.model.heads import MaskedLanguageModel
from weixing.model.initialisation import initialise
from weixing.text.vocabulary import Vocabulary
from weixing.training.settings import Settings
from weixing.zoo import Shape, parse_shape

Load = Callable[[str], tuple[MaskedLanguageModel, Vocabulary]]
"""Reads the model of a name, and its vocabulary."""


def require_inputs_elsewhere(output: Path, settings: Settings) -> None:
    """Raise UserError if what the run needs lies in the folder that is to be replaced."""
    for source in (settings.data, settings.eval_data, settings.init, settings.teacher):
        if source and Path(source).exists() and Path(source).resolve().is_relative_to(output.resolve()):
            raise UserError(f"--overwrite would delete {source}, which the run needs", where=output)


def first_model(settings: Settings, load: Load) -> MaskedLanguageModel:
    """With the weights that a run of these settings begins with."""
    if settings.init:
        model, _ = load(settings.init)
        if model.encoder.shape != settings.shape:
            raise UserError("this is no longer the model that the run was to start from", where=settings.init)
        return model
    model = MaskedLanguageModel(settings.shape)
    initialise(model, settings.recipe.initialisation, settings.seed)
    return model


def trained_model(name: str, option: str, shards: ShardSet, load: Load) -> MaskedLanguageModel:
    """The model called `name`, which `option` names; its vocabulary is that of `shards`.

    Raises:
        UserError: there is no such model, a shape has this name, or its vocabulary is another.
    """
    if parse_shape(name) and not Path(name).is_dir():
        raise UserError(
            f"{option} {name} names a shape", accepted="a trained model: a folder, a run or a hub id",
            action=f"For fresh weights: --model {name}" if option == "--init" else None,
        )  # fmt: skip
    model, vocabulary = load(name)
    check_same_vocabulary(vocabulary, shards, name)
    return model


def named_shape(name: str, shards: ShardSet) -> Shape:
    """The shape called `name`, with the vocabulary of `shards`.

    Raises:
        UserError: no shape is called so.
    """
    shape = parse_shape(str(name), shards.manifest.vocabulary_size)
    if shape is None:
        raise UserError(
            f"no shape is called {name!r}", where="--model",
            accepted="2/128 … 12/768, tiny mini small medium base, or any L/H with H a multiple of 64",
            action="To go on from a trained model, name it with --init",
        )  # fmt: skip
    return shape


def open_shards(folder: Any, option: str) -> ShardSet:
    """The shards in `folder`, which `option` names.

    Raises:
        UserError: there are none, or none with a row.
    """
    if not folder:
        raise UserError("no shards named", where=option, action="Make them with: weixing prepare CORPUS --out DIR")
    shards = ShardSet(folder)
    if not len(shards):
        raise UserError("a set of shards without rows", where=folder)
    return shards


def open_held_out(folder: Any) -> ShardSet | None:
    """The same of ``--eval-data``; None if it was not given."""
    return open_shards(folder, "--eval-data") if folder else None
