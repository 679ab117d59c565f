"""Everything that a model card states, gathered from the model's own files, its runs and its results. Opens files.

Every number is read from a file or computed from one; what is not known is None or empty.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from weixing.errors import UserError
from weixing.files import sha256_of
from weixing.formats.huggingface import read_folder
from weixing.formats.huggingface_description import short_card, task_of
from weixing.formats.naming import describe_model, find_model_folder, weights_sha256
from weixing.formats.sentence_transformers import pooling_in, sentence_card
from weixing.formats.source import Source
from weixing.formats.tensorflow_h5 import H5_WEIGHTS
from weixing.formats.weight_files import shard_names, weights_in
from weixing.hub import is_hub_id
from weixing.inference.model import Model
from weixing.reporting.card_training import FineTuning, Training, read_fine_tuning, read_training, run_of
from weixing.tasks.results import Result
from weixing.zoo import Shape, parse_shape

QUESTION = "中国的首都是[MASK]京。"  # the one that the published cards ask
SENTENCES = "sentence-similarity"  # what the hub calls the task of sentence vectors
HERE = "."  # how examples name a model that has no hub id: they run in its folder


@dataclass(frozen=True)
class Facts:
    """What a card states.

    Attributes:
        name: of the model; id: what examples call it, a hub id or ``.``.
        folder: of its files; short_card: the README.md that export wrote there.
        shape, task: of the model; task as the hub calls it.
        parameters: trained numbers, a tied matrix counted once, an identity pooler not at all.
        weights: file names and sizes in bytes; weights_file_sha256: of the file that is read first.
        dtype: of the weights; labels: of a classifier's outputs, in order.
        lower_case: whether the tokenizer ignores capitals.
        for_tensorflow: whether weights for transformers' TensorFlow classes lie beside the others.
        answers: the five likeliest tokens for `QUESTION`, as `fill-mask` gives them; empty without a masked-LM head.
        training: what its runs record.
        results: all that the table shows; own: those of this model.
        license, datasets: as whoever publishes it states them.
    """

    name: str
    id: str
    folder: Path
    short_card: str
    shape: Shape
    task: str
    parameters: int
    weights: dict[str, int]
    weights_file_sha256: str
    dtype: str
    labels: list[str] | None
    lower_case: bool
    for_tensorflow: bool
    answers: list[dict[str, Any]]
    training: Training
    results: list[Result]
    own: list[Result]
    license: str | None
    datasets: list[str]


def gather(
    model: str,
    *,
    repository: str | None = None,
    run: Path | None = None,
    results: Sequence[Result] = (),
    license: str | None = None,
    datasets: Sequence[str] = (),
) -> Facts:
    """The facts about the model called `model`.

    Args:
        model: a model folder, run folder or hub id; a shape has nothing to tell.
        repository: hub id that the model has or will have, ``owner/name``.
        run: the pretraining run that it comes from; None: the one that it lies in, if it does.
        results: of fine-tuning, this model's among them.
        license: identifier of the hub; datasets: hub ids of what it was trained on.

    Raises:
        UserError: there is no such model, or its files are wrong; `run` is not its run; none of `results` are its
            own; the repository, licence or a data set is not of the hub's form.
    """
    if repository is not None and ("@" in repository or not is_hub_id(repository)):
        raise UserError(f"--repo {repository}", accepted="a hub id, OWNER/NAME")
    if parse_shape(model) is not None and not Path(model).is_dir():
        raise UserError(f"--model {model} is a shape", accepted="a model that was trained: a folder, a run, a hub id")
    folder = find_model_folder(model)
    source = read_folder(folder, any_head=True)
    pooling = pooling_in(folder) if not source.bert.labels else None
    run = run_of(folder) if run is None else run
    training = Training(fine_tuning=read_fine_tuning(folder)) if run is None else read_training(run)
    if training.stages:
        _require_same_shape(training, source.bert.shape, run)
    return Facts(
        name=repository.partition("/")[2] if repository else describe_model(model).rpartition("/")[2],
        id=repository or (model.partition("@")[0] if is_hub_id(model) and not Path(model).exists() else HERE),
        folder=folder,
        short_card=sentence_card(source.bert.shape, pooling) if pooling else short_card(source.bert),
        shape=source.bert.shape,
        task=SENTENCES if pooling else task_of(source.bert),
        parameters=sum(parameter.numel() for parameter in source.bert.parameters()),
        weights=_sizes(folder),
        weights_file_sha256=weights_file_sha256(folder),
        dtype=str(source.dtype).removeprefix("torch."),
        labels=source.labels,
        lower_case=source.lower_case,
        for_tensorflow=(folder / H5_WEIGHTS).is_file(),
        answers=_answers(source),
        training=training,
        results=list(results),
        own=_own(describe_model(model), source, training.fine_tuning, results) if results else [],
        license=license,
        datasets=list(datasets),
    )


def weights_file_sha256(folder: Path) -> str:
    """SHA-256 of the file that the weights in `folder` are read by; of weights in shards, of their index."""
    file = weights_in(folder)
    assert file is not None, "read_folder has refused a folder without weights"
    return sha256_of(file)


def _sizes(folder: Path) -> dict[str, int]:
    file = weights_in(folder)
    assert file is not None, "read_folder has refused a folder without weights"
    files = sorted(set(shard_names(file).values())) if file.name.endswith(".index.json") else [file.name]
    if (folder / H5_WEIGHTS).is_file():
        files.append(H5_WEIGHTS)
    return {name: (folder / name).stat().st_size for name in files}


def _require_same_shape(training: Training, shape: Shape, run: Path | None) -> None:
    recorded = training.stages[-1].settings.get("shape")
    expected = {"layers": shape.layers, "hidden": shape.hidden, "vocabulary_size": shape.vocabulary_size}
    if isinstance(recorded, dict):
        found = {key: recorded.get(key) for key in expected}
        if found != expected:
            raise UserError(
                f"this run trained a model of {found}, not of {expected}", where=run, action="Name the model's own run"
            )


@torch.inference_mode()
def _answers(source: Source) -> list[dict[str, Any]]:
    if source.bert.head is None:
        return []
    assert source.vocabulary
    answers = Model(source.bert.masked_lm().eval(), source.vocabulary, backend="torch").fill_mask(QUESTION, top_k=5)
    return [answer for answer in answers if isinstance(answer, dict)]


def _own(name: str, source: Source, fine_tuning: FineTuning | None, results: Sequence[Result]) -> list[Result]:
    """The results of this model: of its weights, where they are recorded, else of its name.

    Those of a classifier that came out of a grid are the grid's: it is the best of them.
    """
    assert source.vocabulary
    if fine_tuning is not None:
        weights, task = fine_tuning.weights, fine_tuning.task
    else:
        weights, task = weights_sha256(str(source.where.resolve()), source.bert.encoder, source.vocabulary), None
    own = [
        result
        for result in results
        if (weights.startswith(result.weights) if result.weights else result.model == name)
        and task in (None, result.task)
    ]
    if not own:
        models = ", ".join(dict.fromkeys(result.model for result in results))
        raise UserError(
            f"none of these results are of the model {name} with these weights, but of: {models}",
            where="--results",
            accepted="results of `weixing finetune --model` with this very model",
        )
    return own
