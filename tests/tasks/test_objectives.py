"""What each kind of label asks for: targets, losses and divergences beside plain formulas, predictions, scores."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from weixing.model.encoder import Encoder
from weixing.model.heads import Classifier, TokenClassifier
from weixing.tasks.files import Examples, Task
from weixing.tasks.kinds import objective_for
from weixing.tasks.objectives import IGNORED, ManyClasses, Number, Objective, OneClass, Tags
from weixing.tasks.rows import Kind, Label

NAMES = ("a", "b", "c")
TAGS = ("O", "B-X", "I-X")
ONE, MANY, NUMBER, WORDS = OneClass(NAMES), ManyClasses(NAMES), Number((), mean=3.0, scale=2.0), Tags(TAGS)


def logits(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def examples(labels: list[Label]) -> Examples:
    return Examples(Path("t.tsv"), ["天"] * len(labels), None, labels, list(range(len(labels))), 0)


@pytest.mark.parametrize(
    ("kind", "labels", "expected"),
    [
        ("class", ("a", "b"), OneClass(("a", "b"))),
        ("multi-label", ("a", "b"), ManyClasses(("a", "b"))),
        ("tags", TAGS, Tags(TAGS)),
        ("number", (), Number((), 3.0, math.sqrt(8 / 3))),
    ],
)
def test_the_kind_of_a_task_decides(kind: Kind, labels: tuple[str, ...], expected: Objective) -> None:
    train = examples([1.0, 3.0, 5.0])
    assert objective_for(Task("t", train, train, labels, kind)) == expected


def test_numbers_that_are_all_the_same_have_a_scale() -> None:
    train = examples([4.0, 4.0])
    assert objective_for(Task("t", train, train, (), "number")) == Number((), 4.0, 1.0)


def test_targets_of_each_kind() -> None:
    assert ONE.targets(["c", "a"]).tolist() == [2, 0]
    assert MANY.targets([("c", "a"), (), ("b",)]).tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    assert MANY.targets([(), ()]).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert NUMBER.targets([5.0, 2.0]).tolist() == [[1.0], [-0.5]]
    assert WORDS.targets([("B-X", "I-X"), (), ("O",)]).tolist() == [1, 2, 0]


def test_the_loss_of_one_class_is_the_sum_of_minus_log_probability() -> None:
    x = logits(2, 3)
    p = x.exp() / x.exp().sum(1, keepdim=True)
    torch.testing.assert_close(ONE.loss(x, torch.tensor([2, 0])), -(p[0, 2].log() + p[1, 0].log()))
    assert ONE.count(torch.tensor([2, 0])) == 2


def test_the_loss_of_several_is_a_binary_cross_entropy_each() -> None:
    x, y = logits(2, 3), torch.tensor([[1.0, 0, 1], [0, 0, 0]], dtype=torch.float64)
    p = 1 / (1 + (-x).exp())
    torch.testing.assert_close(MANY.loss(x, y), -(y * p.log() + (1 - y) * (1 - p).log()).sum())
    assert MANY.count(y) == 6


def test_the_loss_of_numbers_is_the_squared_error() -> None:
    x, y = logits(2, 1), torch.tensor([[1.0], [-0.5]], dtype=torch.float64)
    torch.testing.assert_close(NUMBER.loss(x, y), ((x - y) ** 2).sum())
    assert NUMBER.count(y) == 2


def test_tags_have_a_loss_where_a_word_begins_alone() -> None:
    x, y = logits(2, 3, 3), torch.tensor([[IGNORED, 1, IGNORED], [IGNORED, 0, 2]])
    expected = ONE.loss(torch.stack([x[0, 1], x[1, 1], x[1, 2]]), torch.tensor([1, 0, 2]))
    torch.testing.assert_close(WORDS.loss(x, y), expected)
    torch.testing.assert_close(WORDS.loss(x.flatten(0, 1), y), expected)
    assert WORDS.count(y) == 3
    assert WORDS.count(torch.full((2, 3), IGNORED)) == 1
    assert WORDS.loss(x, torch.full((2, 3), IGNORED)) == 0


def test_divergences_are_those_of_the_distributions() -> None:
    one, other = logits(2, 3), logits(2, 3, seed=2)
    p, q = one.softmax(1), other.softmax(1)
    torch.testing.assert_close(ONE.divergence(one, other, torch.zeros(2)), (p * (p / q).log()).sum())
    p, q = one.sigmoid(), other.sigmoid()
    expected = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).sum()
    torch.testing.assert_close(MANY.divergence(one, other, torch.zeros(2, 3)), expected)
    torch.testing.assert_close(
        NUMBER.divergence(one[:, :1], other[:, :1], torch.zeros(2, 1)), ((one - other)[:, 0] ** 2).sum()
    )
    y = torch.tensor([[IGNORED, 1], [2, IGNORED]])
    x, z = logits(2, 2, 3), logits(2, 2, 3, seed=2)
    begun = [torch.stack([t[0, 1], t[1, 0]]) for t in (x, z)]
    torch.testing.assert_close(WORDS.divergence(x, z, y), ONE.divergence(*begun, torch.zeros(2)))
    for objective in (ONE, MANY, NUMBER):
        assert objective.divergence(one, one, torch.zeros(2)) == 0


def test_one_class_is_predicted_with_probabilities_and_scored_by_accuracy() -> None:
    found = ONE.predictions(torch.tensor([[0.0, 2.0, 1.0], [3.0, 0.0, 0.0], [0.0, 0.0, 9.0]]), None)
    assert ONE.score(found, ["b", "a", "a"]) == (pytest.approx(200 / 3), 2, 3)
    described = list(ONE.described(found))
    assert [row["predicted"] for row in described] == ["b", "a", "c"]
    assert described[0]["probabilities"] == pytest.approx([0.090031, 0.665241, 0.244728])


def test_several_classes_are_those_above_one_half() -> None:
    found = MANY.predictions(torch.tensor([[1.0, -1.0, 2.0], [-1.0, -1.0, -0.1], [0.1, 0.1, -5.0]]), None)
    described = list(MANY.described(found))
    assert [row["predicted"] for row in described] == [["a", "c"], [], ["a", "b"]]
    assert described[0]["probabilities"] == pytest.approx([0.731059, 0.268941, 0.880797])
    # 3 of 4 gold and 3 of 4 predicted labels; the first two rows are wholly right.
    assert MANY.score(found, [("c", "a"), (), ("b", "c")]) == (pytest.approx(75.0), 2, 3)


def test_numbers_are_given_in_their_own_units_and_scored_by_rank() -> None:
    found = NUMBER.predictions(torch.tensor([[-1.0], [0.5], [0.0]]), None)
    assert list(NUMBER.described(found)) == [{"predicted": 1.0}, {"predicted": 4.0}, {"predicted": 3.0}]
    assert NUMBER.score(found, [10.0, 30.0, 20.0]) == (pytest.approx(100.0), 0, 0)
    assert NUMBER.score(found, [10.0, 20.0, 30.0]).percent == pytest.approx(50.0)


def test_a_word_that_was_cut_off_is_outside() -> None:
    tokens = torch.eye(3)[[0, 1, 2, 1]]
    found = WORDS.predictions(tokens, [torch.tensor([1, 2, -1]), torch.tensor([3])])
    assert found == [("B-X", "I-X", "O"), ("B-X",)]
    assert WORDS.score(found, [("B-X", "I-X", "O"), ("O",)]) == (pytest.approx(200 / 3), 1, 2)
    assert next(WORDS.described(found)) == {"predicted": ["B-X", "I-X", "O"]}


def test_an_exported_model_gives_the_number_itself_and_in_training_what_was_standardised(encoder: Encoder) -> None:
    model = NUMBER.model(encoder).eval()
    ids = torch.tensor([[2, 6, 7, 3], [2, 9, 8, 3]])
    with torch.no_grad():
        before = model(ids)
        after = NUMBER.exported(model)(ids)
    torch.testing.assert_close(after, 3 + 2 * before)
    torch.testing.assert_close(NUMBER.soft(after), before)
    np.testing.assert_allclose(NUMBER.predictions(before, None), after[:, 0], rtol=1e-6)


def test_each_kind_has_its_head(encoder: Encoder) -> None:
    for objective, outputs in ((ONE, 3), (MANY, 3), (NUMBER, 1)):
        model = objective.model(encoder)
        assert isinstance(model, Classifier)
        assert (model.problem_type, model.output.out_features) == (objective.problem_type, outputs)
        assert len(objective.output_names) == outputs
    assert isinstance(WORDS.model(encoder), TokenClassifier)
