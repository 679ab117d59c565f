"""What R-Drop and teachers add to a loss, beside plain formulas."""

import pytest
import torch
from torch import Tensor

from weixing.errors import UserError
from weixing.tasks.losses import Loss
from weixing.tasks.objectives import Number, OneClass
from weixing.tasks.tuning import Tuning

OBJECTIVE = OneClass(("a", "b", "c"))
TARGETS = torch.tensor([2, 0])


def logits(rows: int, seed: int) -> Tensor:
    return torch.randn(rows, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cross_entropy(p: Tensor) -> Tensor:
    return -(p[0, 2].log() + p[1, 0].log())


def kl(p: Tensor, q: Tensor) -> Tensor:
    return (p * (p / q).log()).sum()


def test_by_default_a_row_passes_once_and_has_the_objectives_loss() -> None:
    loss = Loss(OBJECTIVE)
    x = logits(2, 1)
    assert loss.passes == 1
    assert torch.equal(loss.sum(x, TARGETS, None), OBJECTIVE.loss(x, TARGETS))


def test_r_drop_adds_half_of_both_divergences_to_the_mean_of_both_losses() -> None:
    loss = Loss(OBJECTIVE, Tuning(r_drop=3.0))
    x = logits(4, 1)  # rows 0 and 1 in their first pass, then both in their second
    p, q = x[:2].softmax(1), x[2:].softmax(1)
    expected = (cross_entropy(p) + cross_entropy(q)) / 2 + 3 * (kl(p, q) + kl(q, p)) / 2
    assert loss.passes == 2
    torch.testing.assert_close(loss.sum(x, TARGETS, None), expected)
    same = torch.cat([x[:2], x[:2]])
    torch.testing.assert_close(loss.sum(same, TARGETS, None), OBJECTIVE.loss(x[:2], TARGETS))


def test_teachers_have_a_share_at_a_temperature() -> None:
    loss = Loss(OBJECTIVE, Tuning(teachers=("t",), teacher_weight=0.7, temperature=2.0))
    x, soft = logits(2, 1), logits(2, 2)
    expected = 0.3 * cross_entropy(x.softmax(1)) + 0.7 * 4 * kl((soft / 2).softmax(1), (x / 2).softmax(1))
    torch.testing.assert_close(loss.sum(x, TARGETS, soft), expected)
    alone = Loss(OBJECTIVE, Tuning(teachers=("t",), teacher_weight=1.0, temperature=1.0))
    torch.testing.assert_close(alone.sum(soft, TARGETS, soft), torch.zeros((), dtype=torch.float64))


def test_teachers_and_r_drop_together() -> None:
    tuning = Tuning(r_drop=1.0, teachers=("t",), teacher_weight=0.4, temperature=3.0)
    x, soft = logits(4, 1), logits(2, 2)
    one_pass = Loss(OBJECTIVE, Tuning(teachers=("t",), teacher_weight=0.4, temperature=3.0))
    each = [one_pass.sum(half, TARGETS, soft) for half in x.chunk(2)]
    p, q = x[:2].softmax(1), x[2:].softmax(1)
    expected = sum(each) / 2 + (kl(p, q) + kl(q, p)) / 2
    torch.testing.assert_close(Loss(OBJECTIVE, tuning).sum(x, TARGETS, soft), expected)


def test_the_temperature_means_nothing_to_numbers() -> None:
    x, soft, y = logits(2, 1)[:, :1], logits(2, 2)[:, :1], torch.zeros(2, 1, dtype=torch.float64)
    for temperature in (1.0, 4.0):
        tuning = Tuning(teachers=("t",), teacher_weight=0.5, temperature=temperature)
        expected = 0.5 * (x**2).sum() + 0.5 * ((x - soft) ** 2).sum()
        torch.testing.assert_close(Loss(Number(()), tuning).sum(x, y, soft), expected)


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("layer_decay", 0.0, "--layer-decay: 0.0. Accepted: more than 0, at most 1"),
        ("layer_decay", 1.1, "--layer-decay: 1.1"),
        ("r_drop", -1.0, "--r-drop: -1.0"),
        ("r_drop", float("nan"), "--r-drop: nan"),
        ("teacher_weight", 1.5, "--teacher-weight: 1.5. Accepted: 0 to 1"),
        ("temperature", 0.0, "--temperature: 0.0"),
        ("patience", 0, "--patience: 0. Accepted: 1 or more epochs"),
    ],
)
def test_options_out_of_range_are_refused(option: str, value: float, named: str) -> None:
    with pytest.raises(UserError) as caught:
        Tuning(**{option: value})
    assert str(caught.value).startswith(named)
