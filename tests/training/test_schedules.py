"""Schedules promise: the published linear schedule and warm-up – hold – decay, exactly."""

import pytest

from weixing.training.schedules import linear_schedule, warmup_hold_decay


def test_linear_schedule_is_uers():
    # uer/utils/optimizers.py:79-86, get_linear_schedule_with_warmup
    for step in range(1_000):
        expected = step / 100 if step < 100 else (1_000 - step) / 900
        assert linear_schedule(step, 100, 1_000) == pytest.approx(expected)


def test_warmup_hold_decay_holds_between_the_two_and_ends_at_zero():
    factors = [warmup_hold_decay(s, warmup_steps=10, decay_steps=40, total_steps=100) for s in range(101)]
    assert factors[0] == 0
    assert factors[5] == 0.5
    assert factors[10:61] == [1.0] * 51
    assert factors[80] == 0.5
    assert factors[100] == 0


def test_without_warmup_the_first_step_is_at_the_peak():
    assert linear_schedule(0, 0, 10) == 1.0
