"""Muon promises torch.optim.Muon's numbers in its original form, one matrix a core or stacked, and exact resumption."""

import io
import math

import pytest
import torch
from torch import Tensor, nn

from weixing.model.compiled.workers import Workers
from weixing.training.muon import Muon

SHAPES = [(96, 32), (32, 32), (128, 32), (32, 128), (96, 32)]  # as a layer has them; two of one shape
MOMENTUM, DECAY = 0.95, 0.1
FORMS = [
    pytest.param(Workers(1), id="one worker"),
    pytest.param(Workers(2), id="two workers"),
    pytest.param(None, id="stacked"),
]


def matrices() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(1)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def gradients(step: int) -> list[Tensor]:
    """Of falling singular values, and of very different sizes, to which Muon is blind."""
    generator = torch.Generator().manual_seed(100 + step)
    made = []
    for number, (rows, columns) in enumerate(SHAPES):
        spectrum = torch.logspace(0, -2, min(rows, columns))
        left, right = (torch.randn(n, len(spectrum), generator=generator) for n in (rows, columns))
        made.append(10.0 ** (2 - 2 * number) * (left * spectrum) @ right.T)
    return made


def learning_rate(step: int) -> float:
    return 0.02 * (1 + math.sin(step))  # as a schedule sets it


def run(optimizer: torch.optim.Optimizer, params: list[nn.Parameter], steps: range) -> None:
    for step in steps:
        for p, gradient in zip(params, gradients(step), strict=True):
            p.grad = gradient
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        optimizer.step()


def written_out(steps: range) -> list[Tensor]:
    """The rule of the original, in float64."""
    params = [p.detach().double() for p in matrices()]
    averages = [torch.zeros_like(p) for p in params]
    for step in steps:
        for p, average, gradient in zip(params, averages, gradients(step), strict=True):
            g = gradient.double()
            average += (1 - MOMENTUM) * (g - average)
            x = (1 - MOMENTUM) * g + MOMENTUM * average
            x = x / x.norm()
            for _ in range(5):
                gram = x @ x.T
                x = 3.4445 * x - 4.7750 * gram @ x + 2.0315 * gram @ gram @ x
            p *= 1 - learning_rate(step) * DECAY
            p -= learning_rate(step) * math.sqrt(max(1, p.shape[0] / p.shape[1])) * x
    return params


def errors(own: list[nn.Parameter], expected: list[Tensor]) -> list[float]:
    """Relative to how far each matrix has moved."""
    return [((a - b).norm() / (b - start).norm()).item() for a, b, start in zip(own, expected, matrices(), strict=True)]


@pytest.mark.parametrize("workers", FORMS)
def test_in_float32_updates_follow_the_rule_of_the_original(workers):
    params = matrices()
    run(Muon(params, 0.02, MOMENTUM, DECAY, workers=workers, dtype=torch.float32), params, range(10))
    assert max(errors(params, written_out(range(10)))) < 1e-4


@pytest.mark.parametrize("workers", FORMS)
def test_in_bf16_updates_are_those_of_torchs_muon(workers):
    params, plain = matrices(), matrices()
    run(Muon(params, 0.02, MOMENTUM, DECAY, workers=workers, dtype=torch.bfloat16), params, range(10))
    torchs = torch.optim.Muon(
        plain, lr=0.02, momentum=MOMENTUM, weight_decay=DECAY, adjust_lr_fn="original", ns_steps=5
    )
    run(torchs, plain, range(10))
    # Both round to 8 bits between steps, in an order of their own: neither is nearer to the rule than the other.
    rounding = max(errors(plain, written_out(range(10))))
    assert max(errors(params, [p.detach() for p in plain])) < 1.5 * rounding < 0.1


@pytest.mark.parametrize("workers", FORMS)
def test_saved_and_loaded_it_goes_on_bit_for_bit(workers):
    whole, stopped = matrices(), matrices()
    run(Muon(whole, 0.02, MOMENTUM, DECAY, workers=workers), whole, range(7))
    first = Muon(stopped, 0.02, MOMENTUM, DECAY, workers=workers)
    run(first, stopped, range(4))
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = Muon(stopped, 0.02, MOMENTUM, DECAY, workers=workers)
    second.load_state_dict(torch.load(file, weights_only=True))
    run(second, stopped, range(4, 7))
    assert all(torch.equal(a, b) for a, b in zip(whole, stopped, strict=True))


@pytest.mark.parametrize("workers", FORMS)
def test_a_gradient_of_zeros_moves_nothing_and_a_missing_one_not_even_decay(workers):
    params = matrices()
    for p in params:
        p.grad = torch.zeros_like(p)
    params[1].grad = None
    Muon(params, 0.02, MOMENTUM, DECAY, workers=workers).step()
    for number, (p, start) in enumerate(zip(params, matrices(), strict=True)):
        torch.testing.assert_close(p, start if number == 1 else start * (1 - 0.02 * DECAY), rtol=1e-6, atol=0)


@pytest.mark.parametrize("workers", FORMS)
def test_every_updated_matrix_is_named_once_after_its_update(workers):
    params, named = matrices(), []
    optimizer = Muon(params, 0.02, workers=workers, updated=lambda p: named.append((id(p), p.detach().clone())))
    run(optimizer, params, range(1))
    assert sorted(which for which, _ in named) == sorted(map(id, params))
    values = dict(named)
    assert all(torch.equal(values[id(p)], p) for p in params)
