"""A cell of every kind of label, and every option: it learns, and the option does what it says."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tasks.kinds import task_of
from weixing.errors import UserError
from weixing.formats.huggingface import export_classifier, import_classifier
from weixing.model.encoder import Encoder
from weixing.model.heads import Classifier
from weixing.tasks.cells import Cell
from weixing.tasks.encoding import Encoded, encode_examples
from weixing.tasks.files import Task
from weixing.tasks.finetune import Outcome, fine_tune, parameter_groups
from weixing.tasks.kinds import objective_for
from weixing.tasks.rows import Kind
from weixing.tasks.teachers import CERTAIN, taught, teachers_sha256
from weixing.tasks.tuning import Tuning
from weixing.text.tokenizer import Tokenizer
from weixing.text.vocabulary import Vocabulary
from weixing.training.optimizers import uer_adamw
from weixing.zoo import Shape

CPU = torch.device("cpu")
CELL = Cell(epochs=4, batch_size=8, learning_rate=5e-4, seed=7)
OPTIONS = {"max_length": 16, "device": CPU, "precision": "float32", "threads": 1}
PLAIN = Tuning()
KINDS: tuple[Kind, ...] = ("class", "multi-label", "number", "tags")
METRICS = {"class": "accuracy", "multi-label": "micro_f1", "number": "spearman", "tags": "entity_f1"}


@pytest.fixture
def tune(encoder: Encoder, tokenizer: Tokenizer) -> Callable[..., Outcome]:
    def tune(task: Task, cell: Cell = CELL, tuning: Tuning = PLAIN, **options: object) -> Outcome:
        objective = objective_for(task)
        train, dev = (encode_examples(e, objective, tokenizer, 16) for e in (task.train, task.dev))
        train = taught(train, task.train, objective, tuning.teachers, **OPTIONS)
        return fine_tune(encoder, train, dev, objective, cell, tuning=tuning, **(OPTIONS | options))

    return tune


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, vocabulary: Vocabulary) -> Callable[[Kind, Outcome], str]:
    def export(kind: Kind, outcome: Outcome) -> str:
        folder = tmp_path_factory.mktemp("teachers") / "model"
        export_classifier(outcome.model.eval(), vocabulary, objective_for(task_of(kind)).output_names, folder)
        return str(folder)

    return export


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_learns_and_its_exported_model_predicts_the_same(kind: Kind, tune, exported) -> None:
    task = task_of(kind)
    outcome = tune(task)
    assert outcome.metric == METRICS[kind]
    assert outcome.score == outcome.epoch_scores[-1] > 90
    assert outcome.epoch_losses[-1] < outcome.epoch_losses[0] / 2
    assert outcome.total == (0 if kind == "number" else 60)
    assert len(outcome.predictions) == 60
    model, vocabulary, _ = import_classifier(Path(exported(kind, outcome)))
    objective = objective_for(task)
    dev = encode_examples(task.dev, objective, Tokenizer(vocabulary), 16)
    batch = dev.batch(torch.arange(60), 16)
    with torch.no_grad():
        logits = objective.soft(model(batch.ids, batch.token_types, batch.attention))
    again = objective.predictions(logits[batch.attention] if kind == "tags" else logits, dev.words_of_rows)
    if kind == "tags":
        assert again == outcome.predictions
    else:
        np.testing.assert_allclose(again, outcome.predictions, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("kind", "precision"), [*((kind, "float32") for kind in KINDS), ("class", "bf16")])
def test_every_kind_learns_with_r_drop_and_decaying_rates(kind: Kind, precision: str, tune) -> None:
    outcome = tune(task_of(kind), CELL, Tuning(layer_decay=0.9, r_drop=0.5), precision=precision)
    assert outcome.score > 90
    plain = tune(task_of(kind), replace(CELL, epochs=1), precision=precision)
    assert outcome.epoch_losses[0] != plain.epoch_losses[0]


@pytest.mark.parametrize("layers", [1, 3])
def test_each_layer_has_the_rate_of_the_layer_above_it_times_the_decay(layers: int) -> None:
    encoder = Encoder(Shape(layers, 64, 30, positions=16))
    model = Classifier(encoder, 2)
    groups = parameter_groups(model, 1e-3, 0.5)
    rates = {id(p): (group["peak"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert len(rates) == len(list(model.parameters()))
    for name, p in model.named_parameters():
        rate, weight_decay = rates[id(p)]
        assert weight_decay == (0.01 if p.dim() == 2 else 0)
        if name.startswith("encoder.layers."):
            assert rate == 1e-3 * 0.5 ** (layers - int(name.split(".")[2])), name
        else:
            assert rate == 1e-3 * (0.5 ** (layers + 1) if name.startswith("encoder.embeddings.") else 1), name


def test_without_decay_there_are_the_two_groups_of_the_recipe() -> None:
    groups = parameter_groups(Classifier(Encoder(Shape(2, 64, 30, positions=16)), 2), 1e-3, 1.0)
    assert [(group["peak"], group["weight_decay"]) for group in groups] == [(1e-3, 0.01), (1e-3, 0.0)]


def test_rates_rise_and_fall_together(tune, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[float]] = []

    def recorded(*arguments: object, **options: object) -> torch.optim.Optimizer:
        optimizer = uer_adamw(*arguments, **options)
        optimizer.register_step_pre_hook(lambda *_: seen.append([group["lr"] for group in optimizer.param_groups]))
        return optimizer

    monkeypatch.setattr("weixing.tasks.finetune.uer_adamw", recorded)
    tune(task_of("class", train=160), replace(CELL, epochs=1), Tuning(layer_decay=0.5))
    assert len(seen) == 20
    assert seen[2] == [rate * 5e-4 for rate in (0.25, 0.25, 0.5, 0.5, 1, 1)]  # embeddings, the layer, the head
    for rates in seen:
        assert rates == pytest.approx([rates[-1] * share for share in (0.25, 0.25, 0.5, 0.5, 1, 1)])


def test_a_cell_stops_early_and_keeps_its_best_epoch(tune, monkeypatch: pytest.MonkeyPatch) -> None:
    task, cell = task_of("class", train=80), replace(CELL, epochs=9)
    scores = iter([50.0, 70.0, 70.0, 60.0, 90.0, 80.0, 80.0, 95.0, 96.0])
    honest = type(objective_for(task)).score

    def score(self, predictions, labels):
        return honest(self, predictions, labels)._replace(percent=next(scores))

    monkeypatch.setattr("weixing.tasks.objectives.OneClass.score", score)
    patient = tune(task, cell, Tuning(patience=9))
    assert (patient.best_epoch, patient.score, len(patient.epoch_scores)) == (9, 96.0, 9)
    scores = iter([50.0, 70.0, 70.0, 60.0, 90.0, 80.0, 80.0, 95.0, 96.0])
    outcome = tune(task, cell, Tuning(patience=2))
    # 70 again is no better, and 60 is the second epoch in a row: the fifth is not trained.
    assert outcome.epoch_scores == [50.0, 70.0, 70.0, 60.0]
    assert (outcome.best_epoch, outcome.score, len(outcome.epoch_losses)) == (2, 70.0, 4)
    assert outcome.steps == 4 * 10


def test_what_counts_is_the_model_of_the_best_epoch(tune, tokenizer: Tokenizer) -> None:
    """Of equal ones the first: this task is learnt before the last epoch."""
    task = task_of("class")
    whole = tune(task)
    stopped = tune(task, CELL, Tuning(patience=4))
    assert stopped.epoch_scores == whole.epoch_scores
    assert stopped.epoch_losses == whole.epoch_losses
    best = int(np.argmax(whole.epoch_scores)) + 1
    assert stopped.best_epoch == best < 4
    dev = encode_examples(task.dev, objective_for(task), tokenizer, 16)
    batch = dev.batch(torch.arange(60), 16)
    for outcome, is_last in ((stopped, False), (whole, True)):
        with torch.no_grad():
            logits = outcome.model.eval()(batch.ids, batch.token_types, batch.attention)
        np.testing.assert_allclose(logits.softmax(1), outcome.predictions, rtol=1e-4, atol=1e-4)
        assert (outcome.best_epoch == 4) == is_last
    assert not np.allclose(stopped.predictions, whole.predictions, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pupil_learns_from_a_teacher_alone(kind: Kind, tune, exported) -> None:
    """With the labels' weight at 0 all that it can learn is the teacher's."""
    task = task_of(kind)
    folder = exported(kind, tune(task))
    tuning = Tuning(teachers=(folder,), teacher_weight=1.0)
    pupil = tune(task, replace(CELL, seed=8), tuning)
    assert pupil.score > 90
    assert pupil.epoch_losses[-1] < pupil.epoch_losses[0] / 2


def soft_of(task: Task, tokenizer: Tokenizer, *folders: str, length: int = 16) -> tuple[Encoded, torch.Tensor]:
    objective = objective_for(task)
    train = encode_examples(task.train, objective, tokenizer, 16)
    after = taught(train, task.train, objective, folders, **(OPTIONS | {"max_length": length}))
    assert after.soft is not None
    assert torch.equal(after.ids, train.ids)
    return after, after.soft


@pytest.fixture
def other(tokenizer: Tokenizer) -> tuple[Vocabulary, list[int]]:
    """A vocabulary of the same tokens in another order, and where it has each of ours."""
    tokens = list(tokenizer.vocabulary.tokens)
    order = [*range(5), *range(len(tokens) - 1, 4, -1)]
    return Vocabulary([tokens[place] for place in order]), order


@pytest.mark.parametrize("kind", KINDS)
def test_a_teacher_of_another_vocabulary_and_order_of_labels_says_the_same(
    kind: Kind, tune, exported, tokenizer: Tokenizer, other: tuple[Vocabulary, list[int]], tmp_path: Path
) -> None:
    task, (vocabulary, order) = task_of(kind, train=40), other
    outcome = tune(task, replace(CELL, epochs=1))
    first = exported(kind, outcome)
    names = list(objective_for(task).output_names)
    with torch.no_grad():
        token = outcome.model.encoder.embeddings.token.weight
        token.copy_(token[order].clone())
        outcome.model.output.weight.copy_(outcome.model.output.weight.flip(0).clone())
        outcome.model.output.bias.copy_(outcome.model.output.bias.flip(0).clone())
    export_classifier(outcome.model, vocabulary, names[::-1], tmp_path / "other")
    _, soft = soft_of(task, tokenizer, first)
    _, same = soft_of(task, tokenizer, str(tmp_path / "other"))
    torch.testing.assert_close(same, soft, rtol=1e-4, atol=1e-4)
    assert soft.std() > 0
    assert teachers_sha256((first,)) != teachers_sha256((str(tmp_path / "other"),))


def test_soft_targets_are_the_teachers_own_logits_and_of_several_the_mean(tune, exported, tokenizer) -> None:
    task = task_of("class", train=40)
    folders = [exported("class", tune(task, replace(CELL, epochs=1, seed=seed))) for seed in (1, 2)]
    train, both = soft_of(task, tokenizer, *folders)
    batch = train.batch(torch.arange(40), 16)
    each = []
    for folder in folders:
        with torch.no_grad():
            each.append(import_classifier(Path(folder))[0](batch.ids, batch.token_types, batch.attention))
    assert not torch.allclose(*each, atol=1e-3)
    torch.testing.assert_close(both, (each[0] + each[1]) / 2, rtol=1e-4, atol=1e-5)
    assert torch.equal(batch.soft, both)
    assert torch.equal(train.batch(torch.tensor([3, 1]), 16).soft, both[[3, 1]])


def test_a_number_is_taught_in_the_units_of_training(tune, exported, tokenizer) -> None:
    task = task_of("number")
    folder = exported("number", tune(task))
    train, soft = soft_of(task, tokenizer, folder)
    assert soft.shape == train.targets.shape
    assert (soft - train.targets).abs().mean() < 0.3
    assert train.targets.std().item() == pytest.approx(1, abs=0.01)


def test_words_that_a_teacher_has_not_read_are_taught_by_their_tag(tune, exported, tokenizer) -> None:
    task = task_of("tags", train=40)
    folder = exported("tags", tune(task, replace(CELL, epochs=1)))
    train, whole = soft_of(task, tokenizer, folder)
    _, cut = soft_of(task, tokenizer, folder, length=6)  # [CLS], four words, [SEP]
    assert whole.shape == (len(train.ids), 5)
    begun = train.targets >= 0
    assert torch.equal(whole[~begun], torch.zeros_like(whole[~begun]))
    rows = torch.repeat_interleave(train.lengths)
    unread = begun & (torch.arange(len(train.ids)) - train.starts[rows] > 4)
    assert unread.any()
    assert torch.equal(cut[unread].argmax(1), train.targets[unread])
    assert torch.equal(cut[unread].amax(1), torch.full((int(unread.sum()),), CERTAIN))
    assert (cut[begun & ~unread].amax(1) < CERTAIN).all()


def test_a_teacher_of_other_labels_or_another_kind_is_refused(tune, exported, tokenizer) -> None:
    folder = exported("class", tune(task_of("class", train=40), replace(CELL, epochs=1)))
    task = task_of("class", train=40)
    with pytest.raises(UserError, match=r"a model of the labels bad, good\. Accepted: good, neutral, bad"):
        soft_of(replace(task, labels=("good", "neutral", "bad")), tokenizer, folder)
    with pytest.raises(UserError, match=r"--teacher .*: a model for single_label_classification\. Accepted: one for r"):
        soft_of(task_of("number", train=40), tokenizer, folder)
    with pytest.raises(UserError, match="one for tags of words"):
        soft_of(task_of("tags", train=40), tokenizer, folder)
    with pytest.raises(UserError, match="there is no model"):
        teachers_sha256(("nowhere",))


def test_training_with_teachers_needs_what_they_said(encoder: Encoder, tokenizer: Tokenizer) -> None:
    task = task_of("class", train=40)
    train = encode_examples(task.train, objective_for(task), tokenizer, 16)
    with pytest.raises(AssertionError):
        fine_tune(encoder, train, train, objective_for(task), CELL, tuning=Tuning(teachers=("t",)), **OPTIONS)
