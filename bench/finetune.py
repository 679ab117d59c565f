"""Fine-tuning on the CPU: seconds of an epoch and of the dev evaluation, and the published grid extrapolated from them.

The grid of UER-py's run_classifier_grid.py: epochs 3, 5, 8 × batch 32, 64 × 3 learning rates, which makes 48 epochs at
each batch size. It evaluates once a cell, after the last epoch; `weixing finetune` after each epoch, which is counted
against it here. Start-up, tokenization of the training file and writing of results are counted for no one.
"""

import json
from collections.abc import Callable
from functools import partial

from bench.children import weixing, worker
from bench.measure import Case, Check, Measured, Reading, Side, interleave, ratio
from bench.setting import Setting
from bench.uer import NAME as UER
from bench.uer import Uer, epoch_seconds

SHAPE = "2/128"
BATCH_SIZES = (32, 64)
EPOCHS, RATES = (3, 5, 8), 3  # of the grid
OURS, TRANSFORMERS, GRID = "weixing", "transformers", "grid, extrapolated"
WITH_DEV, DEV = "epoch_and_dev_seconds", "dev_seconds"


def cases(setting: Setting) -> dict[str, Callable[[], Case]]:
    """One case of all cells, since the grid is extrapolated from them together."""
    return {f"{setting.inputs.task_name}, {SHAPE}": lambda: _measure(setting)}


def _measure(setting: Setting) -> Case:
    _read_weixing(setting, BATCH_SIZES[0], setting.inputs.small_task)  # whatever is compiled at first use is so now
    sides: list[Side] = []
    uer, skipped = setting.uer, {}
    for size in BATCH_SIZES:
        sides.append(Side(f"{OURS}, batch {size}", partial(_read_weixing, setting, size, setting.inputs.task)))
        if isinstance(uer, Uer):
            sides.append(Side(f"{UER}, batch {size}", partial(_read_uer, uer, size)))
        else:
            skipped = {UER: uer}
        sides.append(Side(f"{TRANSFORMERS}, batch {size}", partial(_read_transformers, setting, size)))
    measured = interleave("finetune", sides, setting.rounds)
    peers = [UER, TRANSFORMERS] if not skipped else [TRANSFORMERS]
    for name in [OURS, *peers]:
        measured[f"{name}, {GRID}"] = grid([measured[f"{name}, batch {size}"] for size in BATCH_SIZES])
    checks: list[Check] = []
    for peer in (UER, TRANSFORMERS):
        for size in BATCH_SIZES:
            over, under = measured.get(f"{peer}, batch {size}"), measured[f"{OURS}, batch {size}"]
            checks.append(ratio(f"fine-tune one epoch, batch {size}", over, under, WITH_DEV, peer=peer))
        over, under = measured.get(f"{peer}, {GRID}"), measured[f"{OURS}, {GRID}"]
        target = 6 if peer == UER else None
        checks.append(ratio("fine-tune 18 cells, extrapolated", over, under, "seconds", at_least=target, peer=peer))
    return Case(measured, checks, skipped)


def grid(cells: list[Measured]) -> Measured:
    """The grid's seconds, round by round, from those of one epoch at each batch size."""
    if failed := [cell.failure for cell in cells if cell.failure]:
        return Measured(failure=failed[0])
    seconds = []
    for number in range(len(cells[0].values[WITH_DEV])):
        one_rate = 0.0
        for cell in cells:
            with_dev = cell.values[WITH_DEV][number]
            if DEV in cell.values:
                dev = cell.values[DEV][number]
                one_rate += sum(EPOCHS) * (with_dev - dev) + len(EPOCHS) * dev
            else:
                one_rate += sum(EPOCHS) * with_dev
        seconds.append(RATES * one_rate)
    return Measured(values={"seconds": seconds})


def _reading(command: str, train: float, dev: float) -> Reading:
    return Reading(command, {WITH_DEV: train + dev, DEV: dev})


def _read_weixing(setting: Setting, batch_size: int, task: str) -> Reading:
    inputs = setting.inputs
    command = weixing(
        "finetune", "--model", SHAPE, "--vocab", inputs.vocabulary, "--train", f"{task}/train.tsv",
        "--dev", f"{task}/dev.tsv", "--epochs", 1, "--batch-sizes", batch_size, "--learning-rates", "1e-4",
        "--device", "cpu", "--out", "tuned", "--json",
    )  # fmt: skip
    try:
        done = inputs.run(command)
        result = json.loads((inputs.folder / "tuned" / "results.jsonl").read_text(encoding="utf-8"))
    finally:
        inputs.remove("tuned")
    return Reading(done.command, {WITH_DEV: result["seconds"]})


def _read_uer(uer: Uer, batch_size: int) -> Reading:
    done = uer.finetune(SHAPE, batch_size)
    return _reading(done.command, *epoch_seconds(done.lines))


def _read_transformers(setting: Setting, batch_size: int) -> Reading:
    inputs = setting.inputs
    done = inputs.run(worker("hf_finetune", inputs.model(SHAPE), inputs.task, batch_size))
    return _reading(done.command, done.result["train_seconds"], done.result["dev_seconds"])
