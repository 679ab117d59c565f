"""Learning-rate schedules: pure functions of the step, giving the factor on the peak learning rate.

A step is one optimizer update; the first one is step 0.
"""


def warmup_hold_decay(step: int, *, warmup_steps: int, decay_steps: int, total_steps: int) -> float:
    """Rise linearly from 0, hold at 1, fall linearly to 0 at `total_steps`.

    Step 0 has factor 0 where there is a warm-up, as in UER (uer/utils/optimizers.py:79-86). Warm-up wins where the
    two parts overlap.
    """
    if step < warmup_steps:
        return step / warmup_steps
    return max(0.0, min(1.0, (total_steps - step) / max(1, decay_steps)))


def linear_schedule(step: int, warmup_steps: int, total_steps: int) -> float:
    """Rise linearly to 1 over the warm-up, then fall linearly to 0 at `total_steps`: the published schedule."""
    return warmup_hold_decay(
        step, warmup_steps=warmup_steps, decay_steps=total_steps - warmup_steps, total_steps=total_steps
    )
