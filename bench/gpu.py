"""Pretraining on a GPU: tokens/s and memory by shape, and what the speed costs: captured beside plain updates."""

from collections.abc import Callable
from functools import partial

import torch

from bench.children import weixing
from bench.inputs import SEQUENCE_LENGTH
from bench.measure import Case, Check, Measured, Reading, Side, bound, interleave
from bench.pretrain import flops_per_token
from bench.setting import Setting

BATCH_SIZE = 512  # rows an update, as the published recipe has it
STEPS = {"2/128": 600, "4/256": 300, "8/512": 100, "12/768": 60}
TARGETS = {"2/128": 20e6, "12/768": 0.73e6}  # tokens/s, of an H200
SMALL = ((64, 400), (16, 600))  # rows, steps, of 2/128: batches that learn most from a token
SAME_STEPS = 200
NO_GPU = "torch sees no GPU"
FIGURE = "tokens_per_second"
TIMEOUT = 900.0


def cases(setting: Setting) -> dict[str, Callable[[], Case]]:
    """A case for each shape, one for small batches, one for what updates come to."""
    if not torch.cuda.is_available():
        return {"pretraining on a GPU": lambda: Case({}, [], {"cuda": NO_GPU})}
    speeds: dict[str, Callable[[], Case]] = {
        name(shape, BATCH_SIZE): partial(_speed, setting, shape, BATCH_SIZE, steps) for shape, steps in STEPS.items()
    }
    small: dict[str, Callable[[], Case]] = {
        name("2/128", rows): partial(_speed, setting, "2/128", rows, steps) for rows, steps in SMALL
    }
    return speeds | small | {"captured beside plain, 2/128, 64 × 128": partial(_same, setting)}


def name(shape: str, rows: int) -> str:
    """Of a case."""
    return f"{shape}, {rows} × {SEQUENCE_LENGTH}"


def _speed(setting: Setting, shape: str, rows: int, steps: int) -> Case:
    def read() -> Reading:
        reading = _pretrain(setting, shape, rows, 30 if setting.quick else steps)
        return Reading(reading.command, reading.figures | share(setting, shape, reading.figures[FIGURE]))

    return speed_case(shape, rows, interleave(f"gpu {name(shape, rows)}", [Side("weixing", read)], setting.rounds))


def share(setting: Setting, shape: str, tokens_per_second: float) -> dict[str, float]:
    """TFLOP/s that is of use: of the entries that are trained alone."""
    entries = setting.inputs.reached_entries(setting.inputs.shards("packed"))
    return {"tflops": tokens_per_second * flops_per_token(shape, entries) / 1e12}


def speed_case(shape: str, rows: int, measured: dict[str, Measured]) -> Case:
    """With its target, if the shape has one at this batch."""
    target = TARGETS.get(shape) if rows == BATCH_SIZE else None
    what = f"pretrain on a GPU {name(shape, rows)}"
    return Case(measured, [bound(what, measured["weixing"], FIGURE, "tokens/s", at_least=target)])


def _same(setting: Setting) -> Case:
    ways = {"captured": [], "plain": ["--no-compile"], "float32": ["--precision", "float32"]}
    sides = [
        Side(way, partial(_pretrain, setting, "2/128", 64, SAME_STEPS, *options), rounds=1)
        for way, options in ways.items()
    ]
    return same_case(interleave("gpu captured beside plain", sides, 1))


def same_case(measured: dict[str, Measured]) -> Case:
    """Differences of held-out losses from the captured bf16 run's."""
    captured = measured["captured"].median("eval_loss")
    checks = []
    for way in ("plain", "float32"):
        other = measured[way].median("eval_loss")
        difference = None if captured is None or other is None else abs(captured - other)
        text = f"held-out loss after {SAME_STEPS} steps of 64 × {SEQUENCE_LENGTH} on a GPU, captured - {way} (size)"
        checks.append(Check(text, difference, difference, difference, "nats", 0.02, at_least=False))
    return Case(measured, checks)


def _pretrain(setting: Setting, shape: str, rows: int, steps: int, *options: str) -> Reading:
    inputs = setting.inputs
    command = weixing(
        "pretrain", "--data", inputs.shards("packed"), "--model", shape, "--batch-size", rows, "--steps", steps,
        "--device", "cuda", *options, "--out", "run", "--overwrite", "--json",
    )  # fmt: skip
    if steps == SAME_STEPS:
        training, held_out = inputs.parted_shards()
        command[command.index("--data") + 1] = training
        command += ["--eval-data", held_out, "--eval-every", str(steps)]
    done = inputs.run(command, TIMEOUT)
    figures = {FIGURE: done.result["tokens_per_second"], "peak_fraction": done.result["peak_fraction"]}
    if done.result["eval_loss"] is not None:
        figures["eval_loss"] = done.result["eval_loss"]
    return Reading(done.command, figures)
