"""Muon promises torch.optim.Muon's numbers in its original form, one matrix a core or stacked, and exact resumption."""

import io
import math

import pytest
import torch
from torch import Tensor, nn

from weixing.model.compiled.workers import Workers
from weixing.training.muon import Muon, orthogonalisation_interval
from weixing.zoo import Shape

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
    return 0.02 * (1.5 + math.sin(step))  # as a schedule sets it


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


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("workers", FORMS)
def test_saved_and_loaded_it_goes_on_bit_for_bit(workers, every):
    whole, stopped = matrices(), matrices()
    run(Muon(whole, 0.02, MOMENTUM, DECAY, every, workers=workers), whole, range(9))
    first = Muon(stopped, 0.02, MOMENTUM, DECAY, every, workers=workers)
    run(first, stopped, range(5))
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = Muon(stopped, 0.02, MOMENTUM, DECAY, every, workers=workers)
    second.load_state_dict(torch.load(file, weights_only=True))
    run(second, stopped, range(5, 9))
    assert all(torch.equal(a, b) for a, b in zip(whole, stopped, strict=True))


@pytest.mark.parametrize("workers", FORMS)
def test_between_two_turns_a_matrix_goes_on_in_its_last_direction_and_turns_are_spread_evenly(workers):
    every, updates, params = 3, 13, matrices()
    optimizer = Muon(params, 0.02, MOMENTUM, 0.0, every, workers=workers, dtype=torch.float32)
    turned, last = [], None
    for step in range(updates):
        before = [p.detach().clone() for p in params]
        run(optimizer, params, range(step, step + 1))
        moved = [(p.detach() - start) / learning_rate(step) for p, start in zip(params, before, strict=True)]
        if last:
            # The matrix itself, of size 1, rounds what it is moved by.
            turned.append([not torch.allclose(a, b, rtol=0, atol=1e-3) for a, b in zip(moved, last, strict=True)])
        last = moved
    per_matrix = [sum(turns) for turns in zip(*turned, strict=True)]
    assert per_matrix == [4] * len(SHAPES)  # of the 12 updates after the first
    assert {sum(turns) for turns in turned} <= {1, 2}  # of 5 matrices


@pytest.mark.parametrize("every", [1, 3])
def test_the_three_forms_give_the_same_updates(every):
    results = []
    for form in FORMS:
        params = matrices()
        run(Muon(params, 0.02, MOMENTUM, DECAY, every, workers=form.values[0], dtype=torch.float32), params, range(8))
        results.append([p.detach() for p in params])
    one, two, stacked = results
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    for a, b in zip(one, stacked, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


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


@pytest.mark.parametrize(("layers", "hidden"), [(2, 128), (8, 512), (12, 768)])
def test_orthogonalising_takes_a_tenth_of_the_work_or_comes_every_eighth_update(layers, hidden):
    shape = Shape(layers, hidden)
    matrices = [(hidden, 3 * hidden), (hidden, hidden), (hidden, 4 * hidden), (hidden, 4 * hidden)]
    work = layers * 5 * sum(4 * m * m * n + 2 * m**3 for m, n in matrices)  # three products in each of 5 steps
    intervals = []
    for rows in (1, 16, 64, 4096):
        every = orthogonalisation_interval(shape, rows * 128, 0.15, 128)
        allowed = 0.1 * rows * 128 * shape.training_flops_per_token(128, 0.15)
        assert every == 8 or work / every <= allowed
        assert every == 1 or work / (every - 1) > allowed  # and no more seldom than that needs
        intervals.append(every)
    assert intervals == sorted(intervals, reverse=True)
    assert intervals[-1] == 1
