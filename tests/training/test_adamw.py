"""The compiled AdamW promises torch's and UER's numbers, on any number of cores, and copies that follow."""

import io
import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from weixing.model.compiled.buffers import numbers
from weixing.model.compiled.workers import Workers
from weixing.training.adamw import CompiledAdamW
from weixing.training.optimizers import UncorrectedAdamW, decay_groups

LONG = 300_000  # more than one worker takes at a time
NONE: Mapping[Tensor, np.ndarray] = MappingProxyType({})
NUMBERS = {"lr": 1e-2, "betas": (0.9, 0.98), "eps": 1e-6}


def parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(1)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((3, LONG // 3), (7,), (20, 30), (1,))]


def set_gradients(params: list[nn.Parameter], step: int) -> None:
    generator = torch.Generator().manual_seed(100 + step)
    for number, p in enumerate(params):
        size = 10.0 ** (-2 * number)  # down to the size of eps
        p.grad = size * torch.randn(p.shape, generator=generator)


def run(optimizer: torch.optim.Optimizer, params: list[nn.Parameter], steps: range) -> None:
    for step in steps:
        set_gradients(params, step)
        for group in optimizer.param_groups:
            group["lr"] = NUMBERS["lr"] * (1 + math.sin(step))  # as a schedule sets it
        optimizer.step()


def compiled(
    params: list[nn.Parameter], corrected: bool, workers: int = 2, copies: Mapping[Tensor, np.ndarray] = NONE
) -> CompiledAdamW:
    return CompiledAdamW(
        decay_groups(params, 0.1), **NUMBERS, bias_correction=corrected, workers=Workers(workers), copies=copies
    )


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("corrected", [True, False])
def test_twenty_steps_are_those_of_the_plain_optimizer(corrected, workers):
    plain, own = parameters(), parameters()
    make = torch.optim.AdamW if corrected else UncorrectedAdamW
    run(make(decay_groups(plain, 0.1), **NUMBERS), plain, range(20))
    run(compiled(own, corrected, workers), own, range(20))
    for a, b, start in zip(own, plain, parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)
        assert (b - start).abs().max() > 5e-4


@pytest.mark.parametrize("corrected", [True, False])
def test_copies_hold_the_new_values_rounded_to_the_nearest_bf16(corrected):
    params = parameters()
    copied = [p for p in params if p.dim() == 2]
    copies: dict[Tensor, Tensor] = {p: p.detach().bfloat16() for p in copied}
    run(compiled(params, corrected, copies={p: numbers(c).array for p, c in copies.items()}), params, range(3))
    for p, start in zip(copied, (p for p in parameters() if p.dim() == 2), strict=True):
        assert not torch.equal(p, start)
        assert torch.equal(copies[p], p.detach().bfloat16())


@pytest.mark.parametrize("corrected", [True, False])
def test_what_is_left_out_for_having_no_gradient_catches_up_with_its_decay(corrected):
    pieces = [slice(10, 40), slice(90_000, LONG - 7)]
    plain, own = parameters(), parameters()

    def run_without_the_rest(optimizer: torch.optim.Optimizer, params: list[nn.Parameter], caught_up: int) -> None:
        for step in range(20):
            set_gradients(params, step)
            had = torch.zeros(LONG, dtype=torch.bool)
            for piece in pieces:
                had[piece] = True
            params[0].grad[~had.view_as(params[0])] = 0
            optimizer.param_groups[0]["lr"] = NUMBERS["lr"] * (1 + math.sin(step))
            optimizer.step()
            if caught_up and step % caught_up == 4:
                optimizer.catch_up()

    make = torch.optim.AdamW if corrected else UncorrectedAdamW
    run_without_the_rest(make(decay_groups(plain, 0.1), **NUMBERS), plain, 0)
    optimizer = CompiledAdamW(decay_groups(own, 0.1), **NUMBERS, bias_correction=corrected, workers=Workers(2),
                              copies=NONE, pieces={own[0]: pieces})  # fmt: skip
    run_without_the_rest(optimizer, own, caught_up=9)
    assert not torch.allclose(own[0].view(-1)[:10], plain[0].view(-1)[:10], rtol=1e-4)  # 6 steps behind
    optimizer.catch_up()
    for a, b in zip(own, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("corrected", [True, False])
def test_saved_and_loaded_it_goes_on_bit_for_bit(corrected):
    whole, stopped = parameters(), parameters()
    run(compiled(whole, corrected), whole, range(9))
    first = compiled(stopped, corrected)
    run(first, stopped, range(5))
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = compiled(stopped, corrected)
    second.load_state_dict(torch.load(file, weights_only=True))
    run(second, stopped, range(5, 9))
    assert all(torch.equal(a, b) for a, b in zip(whole, stopped, strict=True))


def test_a_parameter_without_a_gradient_stays_as_it_is():
    params = parameters()
    optimizer = compiled(params, corrected=True)
    set_gradients(params, 0)
    params[2].grad = None
    optimizer.step()
    moved = [not torch.equal(p, start) for p, start in zip(params, parameters(), strict=True)]
    assert moved == [True, True, False, True]


def test_the_number_of_workers_changes_no_bit():
    results = []
    for workers in (1, 2, 5):
        params = parameters()
        run(compiled(params, True, workers), params, range(3))
        results.append(params)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))
