"""Any model that this project can read, its format told by what is there. Opens files; may download a hub id."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from weixing.errors import UserError
from weixing.formats import huggingface, tensorflow, uer
from weixing.formats.bert import bert_of
from weixing.formats.huggingface_description import CONFIG, VOCABULARY
from weixing.formats.naming import find_model_folder, load_model
from weixing.formats.source import Source
from weixing.formats.tensorflow_checkpoint import find_checkpoint
from weixing.formats.tensorflow_h5 import H5_WEIGHTS
from weixing.formats.tensors import Tensors
from weixing.formats.weight_files import weights_in
from weixing.hub import is_hub_id
from weixing.text.vocabulary import Vocabulary
from weixing.zoo import parse_shape

Format = Literal["hf", "uer", "tf1", "h5"]
NAMES: dict[Format, str] = {
    "hf": "Hugging Face folder",
    "uer": "UER-py checkpoint",
    "tf1": "TensorFlow 1 checkpoint",
    "h5": "TensorFlow weights of transformers",
}
GOOGLE_CONFIG = "bert_config.json"
ACCEPTED = (
    "a checkpoint of UER-py or TencentPretrain (.bin, .bin-STEP), a folder in Hugging Face layout, a run folder, "
    "a TensorFlow 1 checkpoint (its folder or bert_model.ckpt), tf_model.h5 with its config.json, a hub id, or a shape"
)


@dataclass(frozen=True)
class Found:
    """Where a model is.

    Attributes:
        format: of its weights.
        where: the folder (``hf``), the file of weights, or the common beginning of its files (``tf1``).
        config, vocabulary: files that lie beside it, if they do.
    """

    format: Format
    where: Path
    config: Path | None
    vocabulary: Path | None


def find_model(name: str) -> Found:
    """The model called `name`: a path or a hub id, which is downloaded.

    Raises:
        UserError: there is no model of this name, or several.
    """
    path = Path(name)
    if path.is_dir():
        found = [*_in_folder(path), *_in_folder(path / "model")]
        if len(found) > 1:
            names = ", ".join(f"{NAMES[each.format]} ({each.where.name})" for each in found)
            raise UserError(f"there are several models here: {names}", where=path, action="Name one file of them")
        if found:
            return found[0]
    if (checkpoint := find_checkpoint(path)) is not None:
        return _found("tf1", checkpoint, GOOGLE_CONFIG)
    if path.is_file():
        return _file(path)
    if not path.exists() and parse_shape(name) is not None:
        raise UserError(f"{name} is a shape, not a file", accepted=ACCEPTED, action="Its numbers: weixing zoo")
    if not path.exists() and name != "builtin" and (not is_hub_id(name) or path.parent.is_dir()):
        raise UserError(f"there is no model {name!r}", accepted=ACCEPTED)
    folder = find_model_folder(name)
    return Found("hf", folder, folder / CONFIG, _if_there(folder / VOCABULARY))


def _in_folder(folder: Path) -> list[Found]:
    """Every model that lies in a folder; weights of transformers for TensorFlow are one with those for PyTorch."""
    found = [
        _found("uer", file, uer.CONFIG) for file in (folder / uer.WEIGHTS, folder / uer.SHARDS_INDEX) if file.is_file()
    ]
    if (config := folder / CONFIG).is_file() and weights_in(folder) is not None:
        found.append(Found("hf", folder, config, _if_there(folder / VOCABULARY)))
    elif (file := folder / H5_WEIGHTS).is_file():
        found.append(_found("h5", file, CONFIG))
    if folder.is_dir() and (checkpoint := find_checkpoint(folder)) is not None:
        found.append(_found("tf1", checkpoint, GOOGLE_CONFIG))
    return found


def _file(path: Path) -> Found:
    if path.suffix == ".h5":
        return _found("h5", path, CONFIG)
    if path.suffix == ".safetensors" or path.name == "pytorch_model.bin":
        action = f"Name the folder that has {CONFIG} beside them"
        raise UserError("these are weights alone", where=path, action=action)
    if path.suffix in (".json", ".txt", ".md", ".index") and path.name != uer.SHARDS_INDEX:
        raise UserError("this file is no model", where=path, accepted=ACCEPTED)
    return _found("uer", path, uer.CONFIG)


def tensors_of(found: Found) -> Tensors:
    """All tensors of a model, under Hugging Face names where they have one; UserError as its reader says."""
    if found.format == "hf":
        return huggingface.tensors_of(found.where)
    if found.format == "uer":
        return uer.tensors_of(found.where)
    if found.format == "tf1":
        return tensorflow.checkpoint_tensors_of(found.where)
    return tensorflow.h5_tensors_of(found.where)


def read_model(
    name: str, *, config: Path | None = None, vocabulary: Vocabulary | None = None, as_published: bool = False
) -> Source:
    """The model called `name`, whatever its format.

    Args:
        name: a path, a hub id, or a shape (fresh random weights).
        config: of formats whose weights do not say how many heads there are; by default the file that lies beside them
            under the format's own name.
        vocabulary: to take in place of the vocab.txt that lies beside the weights.
        as_published: as in `uer.read_uer`.

    Raises:
        UserError: there is no such model, or what its reader refuses.
    """
    if parse_shape(name) is not None:
        model, its_vocabulary = load_model(name, vocabulary=vocabulary)
        return Source(bert_of(model).eval(), "fresh weights", Path(name), its_vocabulary)
    found = find_model(name)
    if found.format == "hf":
        return huggingface.read_folder(found.where, vocabulary=vocabulary)
    config = config or found.config
    vocabulary = vocabulary or (Vocabulary.read(found.vocabulary) if found.vocabulary else None)
    if found.format == "uer":
        return uer.read_uer(found.where, config=config, vocabulary=vocabulary, as_published=as_published)
    return tensorflow.read_tensorflow(tensors_of(found), NAMES[found.format], config=config, vocabulary=vocabulary)


def _found(form: Format, file: Path, config: str) -> Found:
    return Found(form, file, _if_there(file.with_name(config)), _if_there(file.with_name(VOCABULARY)))


def _if_there(file: Path) -> Path | None:
    return file if file.is_file() else None
