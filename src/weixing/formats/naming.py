"""What a model is called, everywhere in the same way. Opens files; downloads if a hub id is named."""

from dataclasses import replace
from pathlib import Path

import torch

from weixing.errors import UserError
from weixing.formats.huggingface import CONFIG, FILES_READ, import_masked_lm
from weixing.hub import download, is_hub_id
from weixing.model.heads import MaskedLanguageModel
from weixing.model.initialisation import initialise
from weixing.text.vocabulary import Vocabulary, load_vocabulary
from weixing.zoo import parse_shape

ACCEPTED = (
    "a shape (2/128 … 12/768, tiny, mini, small, medium, base), a model folder in Hugging Face layout, "
    "a run folder of `weixing pretrain`, or a hub id such as uer/chinese_roberta_L-8_H-512"
)


def load_masked_lm(
    name: str, *, vocabulary: Vocabulary | None = None, seed: int = 7
) -> tuple[MaskedLanguageModel, Vocabulary]:
    """The masked language model called `name` and its vocabulary, on the CPU, float32, dropout 0.

    Args:
        name: a shape means fresh random weights; everything else is read.
        vocabulary: for fresh weights, None meaning the built-in one; for weights that are read, the one they must have.
        seed: of fresh weights.

    Raises:
        UserError: no model has this name, its files are wrong, or its vocabulary is not `vocabulary`.
    """
    shape = parse_shape(name)
    if shape is not None:
        vocabulary = vocabulary or load_vocabulary(None)
        with torch.device("meta"):
            model = MaskedLanguageModel(replace(shape, vocabulary_size=len(vocabulary)))
        model.to_empty(device="cpu")
        initialise(model, seed=seed)
        return model, vocabulary
    folder = find_model_folder(name)
    model, its_vocabulary = import_masked_lm(folder)
    if vocabulary is not None and vocabulary != its_vocabulary:
        raise UserError(
            f"the model's vocabulary is {its_vocabulary}, not {vocabulary}",
            where=folder,
            action=f"Prepare the data with this model's own vocabulary: --vocab {name}",
        )
    return model, its_vocabulary


def find_model_folder(name: str) -> Path:
    """The folder with the files of the model called `name`, downloaded first if it is a hub id.

    Raises:
        UserError: no model has this name.
    """
    path = Path(name)
    if path.is_dir():
        for folder in (path, path / "model"):
            if (folder / CONFIG).is_file():
                return folder
        unfinished = (path / "run.json").is_file()
        raise UserError(
            "this run has not exported its model yet" if unfinished else "there is no model in this folder",
            where=path,
            accepted=f"a folder with {', '.join(FILES_READ)}, or one whose folder `model` has them",
            action="Let it come to its end: weixing pretrain … --resume" if unfinished else None,
        )
    if name == "builtin":
        raise UserError("this version comes without a built-in model", where=name, accepted=ACCEPTED)
    # A path into a folder that exists (runs/tny) is a slip of the pen, not a hub id: nothing is downloaded for it.
    if not is_hub_id(name) or path.parent.is_dir():
        raise UserError(f"there is no model {name!r}", accepted=ACCEPTED)
    paths = [download(name, file) for file in FILES_READ]
    return paths[0].parent


def describe_model(name: str) -> str:
    """A short label for tables: ``2/128 untrained``, the folder's or run's name, or the hub id."""
    shape = parse_shape(name)
    if shape is not None:
        return f"{shape.name} untrained"
    path = Path(name)
    if not path.exists():
        return name
    path = path.resolve()
    return path.parent.name if path.name == "model" else path.name
