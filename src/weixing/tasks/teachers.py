"""What teachers say of the training rows: logits of fine-tuned models, taught beside the labels. Opens model folders.

A teacher reads the texts with its own vocabulary, so it may be of any other; it must have been fine-tuned for the same
kind of labels and the same labels, in any order.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from weixing.errors import UserError
from weixing.formats.huggingface import import_classifier
from weixing.formats.naming import find_model_folder
from weixing.model.compiled.buffers import Buffers
from weixing.model.compiled.classifier import ClassifierPass
from weixing.model.compiled.parameters import Weights
from weixing.model.compiled.workers import Workers, one_thread
from weixing.model.heads import AnyClassifier, Classifier
from weixing.tasks.encoding import Batch, Encoded, encode_examples
from weixing.tasks.files import Examples
from weixing.tasks.logits import compiled_logits, logits_of, plain_logits
from weixing.tasks.objectives import Objective
from weixing.text.tokenizer import Tokenizer
from weixing.training.devices import Precision, product_type

CERTAIN = 20.0  # the logit of a word's own tag, the others' being 0, where a teacher has not read the word


def taught(
    train: Encoded,
    examples: Examples,
    objective: Objective,
    teachers: tuple[str, ...],
    *,
    max_length: int,
    device: torch.device,
    precision: Precision,
    threads: int | None = None,
) -> Encoded:
    """`train` with the mean of the teachers' logits, or as it is if there are none.

    Args:
        train: `examples`, encoded for `objective` with the pupil's vocabulary.
        teachers: names of model folders, as everywhere, or hub ids.
        max_length: longest row, in tokens; less where a teacher has fewer positions.
        device: where teachers compute; `train` may be elsewhere.
        precision: of their matrix products.
        threads: as in `weixing.tasks.finetune.fine_tune`.

    Raises:
        UserError: there is no such model, or it is for other labels, or it takes no pairs.
    """
    if not teachers:
        return train
    workers = Workers(threads) if device.type == "cpu" else None
    total: Tensor | None = None
    for name in teachers:
        model, tokenizer, order = _teacher(name, objective, pairs=examples.second_texts is not None)
        length = min(max_length, model.encoder.shape.positions)
        encoded = encode_examples(examples, objective, tokenizer, length).to(device)
        with one_thread(workers):
            found = logits_of(_computing(model.to(device), precision, workers), encoded, max_length=length)
        soft = objective.soft(found[:, order])
        if objective.each_token:
            soft = _at_words_of(train, encoded, soft)
        total = soft if total is None else total + soft
    assert total is not None
    return replace(train, soft=(total / len(teachers)).to(train.ids.device))


def teachers_sha256(teachers: tuple[str, ...]) -> list[str]:
    """What tells each teacher from another one of its name: SHA-256 of its vocabulary and weights.

    Raises:
        UserError: there is no such model.
    """
    found = []
    for name in teachers:
        model, vocabulary, _ = import_classifier(find_model_folder(name))
        digest = hashlib.sha256(vocabulary.sha256.encode())
        for key, tensor in model.state_dict().items():
            digest.update(key.encode())
            digest.update(tensor.contiguous().numpy())
        found.append(digest.hexdigest())
    return found


def _teacher(name: str, objective: Objective, pairs: bool) -> tuple[AnyClassifier, Tokenizer, list[int]]:
    """A model, its tokenizer, and for each output of the objective the number of its own."""
    model, vocabulary, labels = import_classifier(find_model_folder(name))
    kind = model.problem_type if isinstance(model, Classifier) else None
    wanted = None if objective.each_token else objective.problem_type
    where = f"--teacher {name}"
    if kind != wanted:
        raise UserError(
            f"a model for {kind or 'tags of words'}", where=where, accepted=f"one for {wanted or 'tags of words'}"
        )
    names = list(objective.output_names) if objective.labels else labels
    if sorted(labels) != sorted(names) or len(labels) != len(objective.output_names):
        raise UserError(f"a model of the labels {', '.join(labels[:20])}", where=where, accepted=", ".join(names[:20]))
    if pairs and model.encoder.shape.token_types < 2:
        raise UserError("a model of one token type for pairs of texts", where=where, accepted="a model of two")
    return model, Tokenizer(vocabulary), [labels.index(name) for name in names]


def _computing(
    model: AnyClassifier, precision: Precision, workers: Workers | None
) -> Callable[[list[Batch]], list[Tensor]]:
    if workers is None:
        return partial(plain_logits, model, precision)
    dtype = product_type(precision)
    weights = Weights(model, dtype, constant=True)
    passes = [ClassifierPass(model, weights, None, Buffers(dtype)) for _ in range(workers.count)]
    return partial(compiled_logits, passes, workers)


def _at_words_of(pupil: Encoded, teacher: Encoded, logits: Tensor) -> Tensor:
    """Logits of the teacher's tokens [tokens, L] → of the pupil's, at the first one of each word."""
    assert pupil.words is not None
    assert teacher.words is not None
    ours, theirs, targets = pupil.words.cpu(), teacher.words.cpu(), pupil.targets.cpu()
    soft = torch.zeros(len(pupil.ids), logits.shape[1])
    read = ours >= 0
    ours, theirs = ours[read], theirs[read]
    unread = CERTAIN * F.one_hot(targets[ours], logits.shape[1]).float()
    soft[ours] = torch.where((theirs >= 0)[:, None], logits[theirs], unread)
    return soft
