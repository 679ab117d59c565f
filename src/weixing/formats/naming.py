"""What a model is called, everywhere in the same way. Opens files; downloads if a hub id is named."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch

import weixing
from weixing.errors import UserError
from weixing.formats.bert import bert_of, encoder_of
from weixing.formats.huggingface import FILES_READ, import_model, import_source, require_masked_lm
from weixing.formats.huggingface_description import CONFIG, TOKENIZER_CONFIG, VOCABULARY
from weixing.formats.source import Source
from weixing.formats.weight_files import IN_ORDER, shard_names
from weixing.hub import cached, download, is_hub_id
from weixing.model.encoder import Encoder
from weixing.model.heads import MaskedLanguageModel
from weixing.model.initialisation import initialise
from weixing.progress import say
from weixing.text.vocabulary import TOKENIZER, Vocabulary, load_vocabulary
from weixing.zoo import parse_shape

SEED = 7  # of fresh weights
BUILTIN = "builtin"
BUILTIN_FOLDER = Path(weixing.__file__).parent / BUILTIN
"""The model that comes with the package, in Hugging Face layout, its matrices in 8 bits."""
ACCEPTED = (
    "a shape (2/128 … 12/768, tiny, mini, small, medium, base), a model folder in Hugging Face layout, "
    "a run folder of `weixing pretrain`, builtin, or a hub id such as uer/chinese_roberta_L-8_H-512, @revision behind "
    "it or not"
)


def load_masked_lm(
    name: str, *, vocabulary: Vocabulary | None = None, seed: int = SEED
) -> tuple[MaskedLanguageModel, Vocabulary]:
    """The masked language model called `name` and its vocabulary, as `load_model` gives them.

    Raises:
        UserError: as `load_model`; or the model has no masked-LM head.
    """
    model, vocabulary = load_model(name, vocabulary=vocabulary, seed=seed)
    return require_masked_lm(model, name), vocabulary


def load_encoder(name: str, *, vocabulary: Vocabulary | None = None, seed: int = SEED) -> tuple[Encoder, Vocabulary]:
    """The encoder of the model called `name`, whatever it was trained for, and its vocabulary; as `load_model`."""
    model, vocabulary = load_model(name, vocabulary=vocabulary, seed=seed)
    return encoder_of(model), vocabulary


def load_model(
    name: str, *, vocabulary: Vocabulary | None = None, seed: int = SEED
) -> tuple[MaskedLanguageModel | Encoder, Vocabulary]:
    """The model called `name`, or its encoder if it has no masked-LM head, and its vocabulary; CPU, float32, dropout 0.

    Args:
        name: a shape means fresh random weights, which is said on stderr; everything else is read.
        vocabulary: for fresh weights, None meaning the built-in one; for weights that are read, the one they must have.
        seed: of fresh weights.

    Raises:
        UserError: no model has this name, or both a shape and a folder have it; its files are wrong; or its vocabulary
            is not `vocabulary`.
    """
    shape = parse_shape(name)
    if shape is not None:
        _refuse_a_folder_called(name)
        vocabulary = vocabulary or load_vocabulary(None)
        with torch.device("meta"):
            fresh = MaskedLanguageModel(replace(shape, vocabulary_size=len(vocabulary)))
        fresh.to_empty(device="cpu")
        initialise(fresh, seed=seed)
        say(f"note: {shape.name} has fresh random weights")
        return fresh, vocabulary
    folder = find_model_folder(name)
    model, its_vocabulary = import_model(folder)
    if vocabulary is not None and vocabulary != its_vocabulary:
        raise UserError(
            f"the model's vocabulary is {its_vocabulary}, not {vocabulary}",
            where=folder,
            action=f"Prepare the data with this model's own vocabulary: --vocab {name}",
        )
    return model, its_vocabulary


def load_source(name: str) -> Source:
    """The model called `name` with its vocabulary and every part that can be put to use; else as `load_model`."""
    if parse_shape(name) is not None:
        model, vocabulary = load_model(name)
        return Source(bert_of(model).eval(), "fresh weights", Path(name), vocabulary)
    return import_source(find_model_folder(name), used=["head", "pooler", "classifier"])


def _refuse_a_folder_called(name: str) -> None:
    """UserError if a model folder or run folder has the name of a shape: neither of the two is a safe guess."""
    path = Path(name)
    if any((path / file).is_file() for file in (CONFIG, f"model/{CONFIG}", "run.json")):
        raise UserError(
            f"{name} is a shape, which would have fresh random weights, and also a folder with a model",
            where=path.resolve(),
            action=f"Write ./{name} for the folder",
        )


def weights_sha256(name: str, encoder: Encoder, vocabulary: Vocabulary) -> str:
    """What tells the encoder of one model called `name` from another: SHA-256 of its vocabulary and weights.

    Fresh weights are named by their shape and seed in place of their bytes, so that they are the same everywhere.
    """
    digest = hashlib.sha256(vocabulary.sha256.encode())
    if parse_shape(name) is not None:
        digest.update(f"{encoder.shape.name} fresh, seed {SEED}".encode())
        return digest.hexdigest()
    for key, tensor in encoder.state_dict().items():
        digest.update(key.encode())
        digest.update(tensor.contiguous().numpy())
    return digest.hexdigest()


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
        if (path / "uer_model.bin").is_file():
            raise UserError(
                "this is a checkpoint of UER-py",
                where=path,
                action=f"Convert it: weixing convert {name} FOLDER --to hf",
            )
        raise UserError(
            "this run has not exported its model yet" if unfinished else "there is no model in this folder",
            where=path,
            accepted=f"a folder with {', '.join(FILES_READ)}, or one whose folder `model` has them",
            action="Let it come to its end: weixing pretrain … --resume" if unfinished else None,
        )
    if path.is_file():
        raise UserError(
            "this is a file, not a model folder",
            where=path,
            accepted=ACCEPTED,
            action=f"Make one of it: weixing convert {name} FOLDER --to hf",
        )
    if name == BUILTIN:
        return BUILTIN_FOLDER
    # A path into a folder that exists (runs/tny) is a slip of the pen, not a hub id: nothing is downloaded for it.
    if not is_hub_id(name) or path.parent.is_dir():
        raise UserError(f"there is no model {name!r}", accepted=ACCEPTED)
    if cached(name, CONFIG) is None:
        say(f"note: there is no folder {name} here; asking the hub for it")
    folder = download(name, CONFIG).parent
    _download_first(name, IN_ORDER)
    _download_first(name, (VOCABULARY, TOKENIZER))
    with suppress(UserError):  # many have none
        download(name, TOKENIZER_CONFIG)
    return folder


def _download_first(name: str, files: Sequence[str]) -> None:
    """Download the first of these files that the repository has, and the shards that it is an index of.

    What is in the cache is taken first: no server is asked again for what it did not have.
    """
    path = next((path for file in files if (path := cached(name, file))), None)
    first_error: UserError | None = None
    for file in files if path is None else ():
        try:
            path = download(name, file)
            break
        except UserError as error:
            first_error = first_error or error
    if path is None:
        assert first_error
        raise first_error
    if path.name.endswith(".index.json"):
        for shard in sorted(set(shard_names(path).values())):
            download(name, shard)


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
