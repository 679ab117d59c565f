"""Every kind of label, with R-Drop and teachers: compiled passes promise the gradients that autograd gives."""

from dataclasses import replace

import pytest
import torch

from weixing.model.compiled.workers import Workers
from weixing.model.encoder import Encoder
from weixing.model.heads import AnyClassifier
from weixing.model.initialisation import initialise
from weixing.tasks.encoding import Batch, encode_examples
from weixing.tasks.files import Task
from weixing.tasks.logits import plain_logits
from weixing.tasks.losses import Loss
from weixing.tasks.objectives import IGNORED, ManyClasses, Number, Objective, OneClass, Tags
from weixing.tasks.steps import AutogradSteps, CompiledSteps, Steps
from weixing.tasks.tuning import Tuning
from weixing.text.tokenizer import Tokenizer
from weixing.text.vocabulary import Vocabulary
from weixing.zoo import Shape

NAMES = ("a", "b", "c")
OBJECTIVES = [OneClass(NAMES), ManyClasses(NAMES), Number((), 1.0, 2.0), Tags(NAMES)]
TAUGHT = Tuning(teachers=("t",), teacher_weight=0.3, temperature=2.0)

every_objective = pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: type(objective).__name__)


def model_for(objective: Objective, vocabulary: Vocabulary) -> AnyClassifier:
    """2/64, every number of which is one that chance drew."""
    encoder = Encoder(Shape(2, 64, len(vocabulary), positions=64))
    initialise(encoder)
    torch.manual_seed(3)
    model = objective.model(encoder)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return model


def batches_for(objective: Objective, task: Task, tokenizer: Tokenizer) -> list[Batch]:
    """5 rows, one row alone, 7 rows, of several lengths; targets and teachers' logits by chance."""
    encoded = encode_examples(task.train, OneClass(task.labels), tokenizer, 32)
    chance = torch.Generator().manual_seed(9)
    batches = []
    for rows in ((0, 5), (5, 6), (6, 13)):
        batch = encoded.batch(torch.arange(*rows), 40)
        places = batch.ids.shape if objective.each_token else (len(batch.ids),)
        outputs = len(objective.output_names)
        targets = torch.randint(3, places, generator=chance)
        if isinstance(objective, ManyClasses):
            targets = torch.randint(2, (*places, outputs), generator=chance).float()
        elif isinstance(objective, Number):
            targets = torch.randn(*places, outputs, generator=chance)
        elif objective.each_token:
            begun = batch.attention & (torch.rand(places, generator=chance) < 0.7)
            targets = torch.where(begun, targets, IGNORED)
        soft = 2 * torch.randn(*places, outputs, generator=chance)
        batches.append(replace(batch, targets=targets, soft=soft))
    return batches


def gradients(steps: Steps, model: AnyClassifier, batch: Batch, key: int = 0) -> tuple[float, dict[str, torch.Tensor]]:
    loss = steps.gradients(batch, key).item()
    return loss, {name: p.grad.clone() for name, p in model.named_parameters()}


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """Relative; where the gradient should be zero, against 1e-4."""
    return ((one - other).norm() / other.norm().clamp(min=1e-4)).item()


@every_objective
@pytest.mark.parametrize("tuning", [Tuning(), TAUGHT, replace(TAUGHT, r_drop=2.0)], ids=["plain", "taught", "both"])
@pytest.mark.parametrize(
    ("precision", "cores", "limit"), [("float32", 1, 1e-5), ("float32", 3, 1e-5), ("bf16", 2, 0.05)]
)
def test_loss_and_every_gradient_are_those_of_autograd(
    objective, tuning, precision, cores, limit, pairs_task, tokenizer, vocabulary
):
    model, loss = model_for(objective, vocabulary), Loss(objective, tuning)
    batches = batches_for(objective, pairs_task, tokenizer)
    if not tuning.teachers:
        batches = [replace(batch, soft=None) for batch in batches]
    expected = [gradients(AutogradSteps(model, loss, "float32"), model, batch) for batch in batches]
    steps = CompiledSteps(model, loss, precision, Workers(cores), dropout=0.0)
    for batch, (its_loss, by_name) in zip(batches, expected, strict=True):
        own_loss, own = gradients(steps, model, batch)
        assert own_loss == pytest.approx(its_loss, rel=limit)
        for name, gradient in by_name.items():
            assert difference(own[name], gradient) < limit, name


@every_objective
def test_the_mean_is_over_what_counts_in_the_batch(objective, pairs_task, tokenizer, vocabulary):
    model = model_for(objective, vocabulary)
    batch = replace(batches_for(objective, pairs_task, tokenizer)[2], soft=None)
    steps = AutogradSteps(model, Loss(objective), "float32")
    logits = model(batch.ids, batch.token_types, batch.attention)
    count = {OneClass: 7, ManyClasses: 21, Number: 7, Tags: int((batch.targets != IGNORED).sum())}[type(objective)]
    expected = objective.loss(logits, batch.targets) / count
    assert steps.gradients(batch, 0).item() == pytest.approx(expected.item(), rel=1e-6)


@every_objective
@pytest.mark.parametrize("way", ["autograd", "compiled"])
def test_with_dropout_the_two_passes_of_r_drop_differ_and_both_have_their_part_in_the_gradient(
    objective, way, pairs_task, tokenizer, vocabulary
):
    """The gradient's norm is the slope of the loss along it; what is dropped is the same for one key or seed."""
    model = model_for(objective, vocabulary)
    batch = replace(batches_for(objective, pairs_task, tokenizer)[0], soft=None)

    def steps(r_drop: float) -> Steps:
        loss = Loss(objective, Tuning(r_drop=r_drop))
        if way == "compiled":
            return CompiledSteps(model, loss, "float32", Workers(2), dropout=0.1)
        model.encoder.set_dropout(0.1)
        return AutogradSteps(model, loss, "float32")

    def of(r_drop: float) -> tuple[float, dict[str, torch.Tensor]]:
        torch.manual_seed(5)
        return gradients(steps(r_drop), model, batch, key=5)

    (low, _), (loss, by_name) = of(1e-9), of(4.0)
    assert loss > low * 1.001  # the divergence is there
    norm = sum(float(gradient.square().sum()) for gradient in by_name.values()) ** 0.5
    losses = []
    for sign in (1, -2):
        with torch.no_grad():
            for name, p in model.named_parameters():
                p.add_(sign * 2e-3 * by_name[name] / norm)
        losses.append(of(4.0)[0])
    assert (losses[0] - losses[1]) / 4e-3 == pytest.approx(norm, rel=0.02)


@every_objective
@pytest.mark.parametrize(("precision", "limit"), [("float32", 1e-5), ("bf16", 0.05)])
def test_logits_are_those_of_autograd(objective, precision, limit, pairs_task, tokenizer, vocabulary):
    model, batches = model_for(objective, vocabulary), batches_for(objective, pairs_task, tokenizer)
    steps = CompiledSteps(model, Loss(objective), precision, Workers(2), dropout=0.1)
    for own, batch, expected in zip(
        steps.logits(batches), batches, plain_logits(model, "float32", batches), strict=True
    ):
        real = batch.attention if objective.each_token else slice(None)
        assert own.shape == expected.shape
        torch.testing.assert_close(own[real], expected[real], rtol=limit, atol=limit)
