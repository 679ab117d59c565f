"""What a task asks for: targets made of labels, the loss, predictions made of logits, their score. Pure tensor code.

One class a kind of label. Losses and divergences are sums, over what `Objective.count` counts, so that parts of a batch
add up. Shapes: N rows, B rows of a batch, T positions, W words of all rows, L outputs.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from weixing.model.encoder import Encoder
from weixing.model.heads import Classifier, ProblemType, TaskModel, TokenClassifier
from weixing.tasks.bio import OUTSIDE
from weixing.tasks.files import Examples
from weixing.tasks.rows import Label
from weixing.tasks.scores import entity_f1, micro_f1, spearman

IGNORED = -100  # the target of a position that has none
THRESHOLD = 0.5  # of the probability from which on a label is predicted

Predictions = np.ndarray | list[tuple[str, ...]]


class Score(NamedTuple):
    """`percent` of the metric; `correct` of `total` rows exactly right, both 0 for numbers."""

    percent: float
    correct: int
    total: int


@dataclass(frozen=True)
class Objective(ABC):
    """What is learnt from labels of one kind.

    Attributes:
        labels: in the order of their ids.
        each_token: whether it is tokens that have targets and logits, [tokens, …] of all rows, or rows, [N, …].
        apart: whether the two texts of a row are read apart; each has targets and logits then, [2N, …], those of all
            first texts and behind them those of the second.
        whole_batch: whether the loss of a batch is more than the sum of those of its parts.
    """

    labels: tuple[str, ...]

    each_token: ClassVar[bool] = False
    apart: ClassVar[bool] = False
    whole_batch: ClassVar[bool] = False
    problem_type: ClassVar[ProblemType] = "single_label_classification"

    @property
    @abstractmethod
    def metric(self) -> str:
        """Name of the score."""

    @property
    def output_names(self) -> tuple[str, ...]:
        """A name for each output of the model."""
        return self.labels

    def model(self, encoder: Encoder) -> TaskModel:
        """A new model on `encoder`; torch's random state decides its head: uniform in ±1/√H, PyTorch's default.

        Starting the first layer of a `Classifier` from the identity was tried (a 2/128 in mid-training, 2,000 rows,
        3 epochs, 3 seeds): -1.4 and +3.6 points on chnsenticorp, +0.5 and 0.0 on tnews at learning rates 1e-4 and
        3e-4, all within the spread.
        """
        return Classifier(encoder, len(self.output_names), self.problem_type)

    def trained_on(self, examples: Examples) -> Examples:
        """What of a training file is trained on."""
        return examples

    @abstractmethod
    def targets(self, labels: Sequence[Label]) -> Tensor:
        """Of the labels of N rows: [N, …], or of tags one for each word, [W]."""

    @abstractmethod
    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Sum of the losses of logits [B, L] ([B·T, L] or [B, T, L] where each token has some)."""

    @abstractmethod
    def divergence(self, of: Tensor, given: Tensor, targets: Tensor) -> Tensor:
        """Sum of the divergences of what the logits `given` say from what the logits `of` say; they are as in `loss`.

        That is KL(of ‖ given), in nats, of the distributions; of numbers the squared difference.
        """

    def count(self, targets: Tensor) -> int | Tensor:
        """What the sums are over, so that they can be made means."""
        return len(targets)

    def soft(self, logits: Tensor) -> Tensor:
        """The logits of an exported model of this kind (see `exported`) as those of one in training."""
        return logits

    @abstractmethod
    def predictions(self, logits: Tensor, words: Sequence[Tensor] | None) -> Predictions:
        """What float32 logits [N, L] say of each row, in the form of the kind.

        Args:
            logits: of all rows, or tokens.
            words: of tags, for each row where in the logits its words are (-1: nowhere).
        """

    @abstractmethod
    def score(self, predictions: Predictions, labels: Sequence[Label]) -> Score:
        """How right the predictions are."""

    @abstractmethod
    def described(self, predictions: Predictions) -> Iterator[dict[str, Any]]:
        """For each row what is to be written: ``predicted``, of the type of a label, and more."""

    def exported(self, model: TaskModel) -> TaskModel:
        """What was trained, changed in place into what is exported."""
        return model


class OneClass(Objective):
    """One of several classes: softmax, mean cross entropy, accuracy. Predictions: probabilities, float32 [N, L]."""

    metric = "accuracy"

    def targets(self, labels: Sequence[Label]) -> Tensor:
        """int64 [N]."""
        return _ids(self.labels, cast(Sequence[str], labels))

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Cross entropy."""
        return F.cross_entropy(logits, targets, reduction="sum")

    def divergence(self, of: Tensor, given: Tensor, targets: Tensor) -> Tensor:
        """As in `Objective`."""
        return F.kl_div(given.log_softmax(-1), of.log_softmax(-1), reduction="sum", log_target=True)

    def predictions(self, logits: Tensor, words: Sequence[Tensor] | None) -> Predictions:
        """As in `Objective`."""
        return logits.softmax(dim=1).numpy()

    def score(self, predictions: Predictions, labels: Sequence[Label]) -> Score:
        """As in `Objective`."""
        ids = self.targets(labels).numpy()
        correct = int((cast(np.ndarray, predictions).argmax(axis=1) == ids).sum())
        return Score(100 * correct / len(labels), correct, len(labels))

    def described(self, predictions: Predictions) -> Iterator[dict[str, Any]]:
        """As in `Objective`; ``probabilities`` by label id."""
        for row in cast(np.ndarray, predictions):
            yield {"predicted": self.labels[int(np.argmax(row))], "probabilities": _rounded(row)}


class ManyClasses(Objective):
    """Any number of classes at once: a sigmoid and a binary cross entropy each, micro-F1 at probability 0.5.

    The loss is the mean over rows and labels. Predictions: probabilities, float32 [N, L].
    """

    metric = "micro_f1"
    problem_type = "multi_label_classification"

    def targets(self, labels: Sequence[Label]) -> Tensor:
        """float32 [N, L], 1 where a row has a label."""
        rows = [cast(tuple[str, ...], some) for some in labels]
        targets = torch.zeros(len(rows), len(self.labels))
        row_of_each = torch.repeat_interleave(torch.tensor([len(row) for row in rows]))
        targets[row_of_each, _ids(self.labels, list(chain.from_iterable(rows)))] = 1
        return targets

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Binary cross entropy."""
        return F.binary_cross_entropy_with_logits(logits, targets, reduction="sum")

    def divergence(self, of: Tensor, given: Tensor, targets: Tensor) -> Tensor:
        """As in `Objective`."""
        return (
            of.sigmoid() * (F.logsigmoid(of) - F.logsigmoid(given))
            + (-of).sigmoid() * (F.logsigmoid(-of) - F.logsigmoid(-given))
        ).sum()

    def count(self, targets: Tensor) -> int | Tensor:
        """Rows × labels."""
        return targets.numel()

    def predictions(self, logits: Tensor, words: Sequence[Tensor] | None) -> Predictions:
        """As in `Objective`."""
        return logits.sigmoid().numpy()

    def score(self, predictions: Predictions, labels: Sequence[Label]) -> Score:
        """As in `Objective`; a row is right if all its labels and no others are predicted."""
        gold = self.targets(labels).numpy() > 0
        predicted = cast(np.ndarray, predictions) > THRESHOLD
        correct = int((predicted == gold).all(axis=1).sum())
        return Score(100 * micro_f1(predicted, gold), correct, len(labels))

    def described(self, predictions: Predictions) -> Iterator[dict[str, Any]]:
        """As in `Objective`; ``probabilities`` by label id."""
        for row in cast(np.ndarray, predictions):
            chosen = [label for label, p in zip(self.labels, row, strict=True) if p > THRESHOLD]
            yield {"predicted": chosen, "probabilities": _rounded(row)}


@dataclass(frozen=True)
class Number(Objective):
    """A number: mean squared error, Spearman's correlation. Predictions: float32 [N].

    In training the model gives (number - mean) / scale; the exported one gives the number itself.

    Attributes:
        mean, scale: mean and standard deviation of the training labels.
    """

    mean: float = 0.0
    scale: float = 1.0

    metric = "spearman"
    problem_type = "regression"

    @property
    def output_names(self) -> tuple[str, ...]:
        """As in `Objective`."""
        return ("value",)

    def targets(self, labels: Sequence[Label]) -> Tensor:
        """float32 [N, 1]."""
        numbers = np.array(labels, dtype=np.float64)
        return torch.from_numpy((numbers - self.mean) / self.scale).float()[:, None]

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Squared error."""
        return F.mse_loss(logits, targets, reduction="sum")

    def divergence(self, of: Tensor, given: Tensor, targets: Tensor) -> Tensor:
        """As in `Objective`."""
        return F.mse_loss(given, of, reduction="sum")

    def soft(self, logits: Tensor) -> Tensor:
        """As in `Objective`."""
        return (logits - self.mean) / self.scale

    def predictions(self, logits: Tensor, words: Sequence[Tensor] | None) -> Predictions:
        """As in `Objective`."""
        return (logits[:, 0] * self.scale + self.mean).numpy()

    def score(self, predictions: Predictions, labels: Sequence[Label]) -> Score:
        """As in `Objective`."""
        return Score(100 * spearman(cast(np.ndarray, predictions), np.array(labels, dtype=np.float64)), 0, 0)

    def described(self, predictions: Predictions) -> Iterator[dict[str, Any]]:
        """As in `Objective`."""
        for value in cast(np.ndarray, predictions):
            yield {"predicted": float(f"{value:.7g}")}

    @torch.no_grad()
    def exported(self, model: TaskModel) -> TaskModel:
        """As in `Objective`: its last layer gives the number itself."""
        assert isinstance(model, Classifier)
        model.output.weight *= self.scale
        model.output.bias.mul_(self.scale).add_(self.mean)
        return model


class Tags(OneClass):
    """A tag for each word, which its first token has: cross entropy, entity F1. Predictions: the tags of each row.

    The loss is the mean over the words. A word whose first token is cut off is predicted to be outside of all
    entities.
    """

    metric = "entity_f1"
    each_token = True

    def model(self, encoder: Encoder) -> TaskModel:
        """As in `Objective`."""
        return TokenClassifier(encoder, len(self.labels))

    def targets(self, labels: Sequence[Label]) -> Tensor:
        """int64 [W]."""
        return _ids(self.labels, list(chain.from_iterable(cast(Sequence[tuple[str, ...]], labels))))

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Cross entropy where there are targets."""
        return F.cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction="sum", ignore_index=IGNORED)

    def divergence(self, of: Tensor, given: Tensor, targets: Tensor) -> Tensor:
        """As in `Objective`, where there are targets."""
        tagged = targets.flatten() != IGNORED
        return super().divergence(of.flatten(0, -2)[tagged], given.flatten(0, -2)[tagged], targets)

    def count(self, targets: Tensor) -> int | Tensor:
        """Words; no less than 1, for a batch may have none."""
        return (targets != IGNORED).sum().clamp(min=1)

    def predictions(self, logits: Tensor, words: Sequence[Tensor] | None) -> Predictions:
        """As in `Objective`."""
        assert words is not None
        names = np.array([*self.labels, OUTSIDE])  # -1, where no token is, means the last
        ids = torch.cat([logits.argmax(dim=1), torch.tensor([len(self.labels)])])
        return [tuple(map(str, names[ids[places].numpy()])) for places in words]

    def score(self, predictions: Predictions, labels: Sequence[Label]) -> Score:
        """As in `Objective`; a row is right if all its tags are."""
        ours, gold = cast(list[tuple[str, ...]], predictions), cast(Sequence[tuple[str, ...]], labels)
        correct = sum(one == other for one, other in zip(ours, gold, strict=True))
        return Score(100 * entity_f1(ours, gold), correct, len(gold))

    def described(self, predictions: Predictions) -> Iterator[dict[str, Any]]:
        """As in `Objective`."""
        for tags in cast(list[tuple[str, ...]], predictions):
            yield {"predicted": list(tags)}


def _ids(names: Sequence[str], labels: Sequence[str]) -> Tensor:
    ids = {name: number for number, name in enumerate(names)}
    return torch.tensor([ids[label] for label in labels], dtype=torch.int64)


def _rounded(probabilities: np.ndarray) -> list[float]:
    return [round(float(p), 6) for p in probabilities]
