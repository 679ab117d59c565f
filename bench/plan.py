"""What `weixing plan` says of memory beside what a run takes: the most resident memory of a process, or of a GPU."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch

from bench.children import weixing, worker
from bench.inputs import SEQUENCE_LENGTH
from bench.measure import Case, Check, Measured, Reading, Side, interleave
from bench.setting import Setting
from weixing.planning.memory import CUDA_BASE, training_memory
from weixing.recipes import recipe_for
from weixing.training.devices import has_bf16
from weixing.zoo import ZOO

# Shape, rows an update, recipe.
ON_CORES = (
    ("2/128", 16, "weixing"), ("2/128", 64, "uer"), ("4/256", 64, "weixing"), ("8/512", 16, "weixing"),
    ("12/768", 16, "weixing"), ("12/768", 16, "uer"),
)  # fmt: skip
ON_A_GPU = (
    ("2/128", 512, "weixing"), ("4/256", 512, "uer"), ("8/512", 512, "weixing"), ("12/768", 512, "weixing"),
    ("12/768", 64, "uer"),
)  # fmt: skip
STEPS_ON_CORES = 3  # the optimizers have their states after the first
STEPS_ON_A_GPU = 20  # some of them captured
MOST_APART = 0.1
TIMEOUT = 1_800.0
FIGURE = "peak_mb"


def cases(setting: Setting) -> dict[str, Callable[[], Case]]:
    """A case for each run."""
    sets = [(False, ON_CORES), *([(True, ON_A_GPU)] if torch.cuda.is_available() else [])]
    return {
        f"{shape}, {rows} × {SEQUENCE_LENGTH}, recipe {recipe}, on {'a GPU' if gpu else 'cores'}": partial(
            _measure, setting, gpu, shape, rows, recipe
        )
        for gpu, runs in sets
        for shape, rows, recipe in (runs[:2] if setting.quick else runs)
    }


def _measure(setting: Setting, gpu: bool, shape: str, rows: int, recipe: str) -> Case:
    inputs = setting.inputs
    shards = inputs.shards(recipe_for(recipe, SEQUENCE_LENGTH).layout)
    planned = planned_mb(setting, gpu, shape, rows, recipe, inputs.reached_entries(shards))
    options = [
        "--data", shards, "--model", shape, "--recipe", recipe, "--batch-size", rows,
        "--steps", STEPS_ON_A_GPU if gpu else STEPS_ON_CORES, "--device", "cuda" if gpu else "cpu", "--out", "run",
    ]  # fmt: skip

    def read() -> Reading:
        try:
            if gpu:
                done = inputs.run(worker("gpu_memory", *options), TIMEOUT)
                return Reading(done.command, {FIGURE: done.result["peak_bytes"] / 1e6, "planned_mb": planned})
            done = inputs.run(weixing("pretrain", *options), TIMEOUT)
            return Reading(done.command, {FIGURE: done.peak_memory_mb, "planned_mb": planned})
        finally:
            inputs.remove("run")

    where = f"{shape}, {rows} × {SEQUENCE_LENGTH}, recipe {recipe}"
    return apart(
        f"memory on {'a GPU' if gpu else 'cores'}, {where}, planned from measured",
        interleave(f"plan {where}", [Side("weixing", read)], setting.rounds),
    )


def planned_mb(setting: Setting, gpu: bool, shape: str, rows: int, recipe: str, entries: int) -> float:
    """10⁶ bytes; of a GPU without what its context takes, which torch does not count."""
    device = torch.device("cuda" if gpu else "cpu")
    memory = training_memory(
        replace(ZOO[shape], vocabulary_size=setting.inputs.vocabulary_size),
        replace(recipe_for(recipe, SEQUENCE_LENGTH), batch_size=rows),
        devices=1 if gpu else torch.get_num_threads(), cores=not gpu, entries=entries,
        precision="bf16" if has_bf16(device) else "float32",
    )  # fmt: skip
    return (memory.total - (CUDA_BASE if gpu else 0)) / 1e6


def apart(name: str, measured: dict[str, Measured]) -> Case:
    """How far the plan is from what was measured, as a share of that, whatever the direction."""
    side = measured["weixing"]
    planned, peaks = side.values.get("planned_mb", []), side.values.get(FIGURE, [])
    shares = [abs(mb / peak - 1) for mb, peak in zip(planned, peaks, strict=True)]
    value = sorted(shares)[len(shares) // 2] if shares else None
    low, high = (min(shares), max(shares)) if shares else (None, None)
    return Case(measured, [Check(name, value, low, high, "", MOST_APART, at_least=False)])
