"""What the speed costs: held-out loss of bf16 beside float32, dev accuracy of quick beside plain fine-tuning."""

import json
from collections.abc import Callable
from functools import partial

from bench.children import weixing, worker
from bench.measure import Case, Measured, Reading, Side, bound, interleave
from bench.setting import NO_BF16, Setting

SHAPE = "2/128"
BF16_STEPS, PRETRAINING_STEPS = 500, 4_000
SEEDS = (7, 8, 9)
CELLS = ((3, 32, 3e-4), (3, 64, 1e-4))  # epochs, batch size, learning rate
LONGEST = 3_600.0  # seconds of a child
QUICK, PLAIN = "weixing", "plain: float32, autograd, shuffled, padded to 128"


def cases(setting: Setting) -> dict[str, Callable[[], Case]]:
    """Pretraining in two precisions, and fine-tuning in two ways."""
    return {
        f"bf16 beside float32, {SHAPE}": partial(_precisions, setting),
        f"fine-tuning, {SHAPE}": partial(_fine_tuning, setting),
    }


def _precisions(setting: Setting) -> Case:
    if not setting.bf16:
        return Case({}, [], {"bf16": NO_BF16})
    steps = 20 if setting.quick else BF16_STEPS
    sides = [Side(name, partial(_pretrain, setting, name, steps, 64), rounds=1) for name in ("bf16", "float32")]
    measured = interleave("precision", sides, 1)
    difference = _difference(measured, "bf16", "float32", "eval_loss")
    name = f"held-out loss after {steps} steps of 64 × 128, bf16 - float32 (size)"
    return Case(measured, [bound(name, difference, "eval_loss", "nats", at_most=0.02)])


def _pretrain(setting: Setting, precision: str, steps: int, batch_size: int, out: str = "run") -> Reading:
    inputs = setting.inputs
    training, held_out = inputs.parted_shards()
    command = weixing(
        "pretrain", "--data", training, "--eval-data", held_out, "--model", SHAPE, "--steps", steps, "--batch-size",
        batch_size, "--eval-every", steps, "--precision", precision, "--out", out, "--overwrite", "--device", "cpu",
        "--json",
    )  # fmt: skip
    done = inputs.run(command, LONGEST)
    return Reading(done.command, {"eval_loss": done.result["eval_loss"], "seconds": done.result["seconds"]})


def _fine_tuning(setting: Setting) -> Case:
    pretrained = "pretrained"
    _pretrain(setting, "float32", 50 if setting.quick else PRETRAINING_STEPS, 16, pretrained)
    sides = []
    for seed in SEEDS[: 1 if setting.quick else None]:
        for epochs, batch_size, rate in CELLS:
            cell = (pretrained, epochs, batch_size, rate, seed)
            sides.append(Side(_name(QUICK, *cell[1:]), partial(_quick, setting, *cell), rounds=1))
            sides.append(Side(_name(PLAIN, *cell[1:]), partial(_plain, setting, *cell), rounds=1))
    measured = interleave("fine-tuning", sides, 1)
    means = {
        way: Measured(values={"dev_accuracy": [_mean(measured, way)]}) for way in (QUICK, PLAIN)
    }  # over cells and seeds
    difference = _difference(means, QUICK, PLAIN, "dev_accuracy", size=False)
    check = bound("mean dev accuracy, quick - plain", difference, "dev_accuracy", "points", at_least=-0.3)
    return Case(measured | {f"{way}, mean": mean for way, mean in means.items()}, [check])


def _name(way: str, epochs: int, batch_size: int, rate: float, seed: int) -> str:
    return f"{way}: {epochs} epochs, batch {batch_size}, rate {rate:g}, seed {seed}"


def _quick(setting: Setting, model: str, epochs: int, batch_size: int, rate: float, seed: int) -> Reading:
    inputs = setting.inputs
    command = weixing(
        "finetune", "--model", model, "--train", f"{inputs.task}/train.tsv", "--dev", f"{inputs.task}/dev.tsv",
        "--epochs", epochs, "--batch-sizes", batch_size, "--learning-rates", rate, "--seeds", seed, "--device", "cpu",
        "--out", "tuned", "--json",
    )  # fmt: skip
    try:
        done = inputs.run(command, LONGEST)
        result = json.loads((inputs.folder / "tuned" / "results.jsonl").read_text(encoding="utf-8"))
    finally:
        inputs.remove("tuned")
    return Reading(done.command, {"dev_accuracy": result["score"], "seconds": result["seconds"]})


def _plain(setting: Setting, model: str, epochs: int, batch_size: int, rate: float, seed: int) -> Reading:
    inputs = setting.inputs
    done = inputs.run(worker("plain_finetune", model, inputs.task, epochs, batch_size, rate, seed), LONGEST)
    return Reading(done.command, done.result)


def _mean(measured: dict[str, Measured], way: str) -> float:
    """Of the dev accuracies of one way; NaN if a run failed."""
    values = [side.median("dev_accuracy") for name, side in measured.items() if name.startswith(way)]
    return sum(float("nan") if value is None else value for value in values) / len(values)


def _difference(measured: dict[str, Measured], one: str, other: str, figure: str, size: bool = True) -> Measured:
    pair = [measured[name].median(figure) for name in (one, other)]
    if None in pair:
        return Measured(failure="one of the two is missing")
    difference = (pair[0] or 0.0) - (pair[1] or 0.0)
    return Measured(values={figure: [abs(difference) if size else difference]})
