"""Latency of `fill_mask` on one sentence at a time, in one process, against transformers' pipeline."""

from collections.abc import Callable
from functools import partial

from bench.children import worker
from bench.measure import Case, Reading, Side, interleave, ratio
from bench.setting import NO_BF16, Setting

SHAPES = ("2/128", "8/512")
CALLS, QUICK_CALLS = 200, 40
PRECISIONS = ("float32", "bf16")
TRANSFORMERS = "transformers"


def cases(setting: Setting) -> dict[str, Callable[[], Case]]:
    """A case for each shape."""
    return {shape: partial(_measure, setting, shape) for shape in SHAPES[: 1 if setting.quick else None]}


def _measure(setting: Setting, shape: str) -> Case:
    def read(side: str) -> Reading:
        inputs = setting.inputs
        done = inputs.run(worker("fill_mask", side, inputs.model(shape), QUICK_CALLS if setting.quick else CALLS))
        return Reading(done.command, done.result)

    possible = [precision for precision in PRECISIONS if precision == "float32" or setting.bf16]
    sides = [Side(f"weixing, {precision}", partial(read, precision)) for precision in possible]
    sides.append(Side(TRANSFORMERS, partial(read, TRANSFORMERS)))
    measured = interleave(f"fill_mask {shape}", sides, setting.rounds)
    theirs, checks = measured[TRANSFORMERS], []
    for precision in PRECISIONS:
        what, ours = f"fill-mask {shape}, {precision}", measured.get(f"weixing, {precision}")
        checks += [
            ratio(f"{what}, median latency", ours, theirs, "median_ms", at_most=0.5, peer=TRANSFORMERS),
            ratio(f"{what}, latency of 95 % of calls", ours, theirs, "p95_ms", peer=TRANSFORMERS),
            ratio(f"{what}, calls a second", theirs, ours, "median_ms", peer=TRANSFORMERS),
        ]
    skipped = {f"weixing, {precision}": NO_BF16 for precision in PRECISIONS if precision not in possible}
    return Case(measured, checks, skipped)
