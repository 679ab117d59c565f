"""Pretraining on the CPU: tokens/s by shape and batch, and the share of the measured matrix peak."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from bench.children import weixing, worker
from bench.inputs import SEQUENCE_LENGTH
from bench.measure import Case, Figures, Reading, Side, bound, interleave, ratio
from bench.setting import Setting
from bench.uer import NAME as UER
from bench.uer import Uer
from weixing.recipes import recipe_for
from weixing.zoo import ZOO

SHAPES = ("2/128", "4/256", "8/512", "12/768")
BATCH_SIZES = (64, 16)
OURS, OURS_UER, TRANSFORMERS, PEAK = "weixing", "weixing, recipe uer", "transformers", "matrix products"
SECONDS = 15.0  # of timed training in one run, where a step is not longer than that
UNTIMED_STEPS, FEWEST_TIMED_STEPS = 10, 3  # weixing leaves out its first ten steps
ROUNDS_OF_SLOW, SLOW_STEP_FLOPS = 2, 3e12  # a step of UER-py takes the better part of a minute there
TIMEOUT = 1_800.0


def cases(setting: Setting) -> dict[str, Callable[[], Case]]:
    """A case for each shape and batch size."""
    shapes, batch_sizes = (SHAPES[:2], BATCH_SIZES[1:]) if setting.quick else (SHAPES, BATCH_SIZES)
    return {
        f"{shape}, {batch_size} × {SEQUENCE_LENGTH}": partial(_measure, setting, shape, batch_size)
        for batch_size in batch_sizes
        for shape in shapes
    }


def _measure(setting: Setting, shape: str, batch_size: int) -> Case:
    where = f"{shape}, {batch_size} × {SEQUENCE_LENGTH}"
    seconds = 1.0 if setting.quick else SECONDS
    step_flops = flops_per_token(shape, setting.inputs.vocabulary_size) * batch_size * SEQUENCE_LENGTH
    rounds = min(setting.rounds, ROUNDS_OF_SLOW) if step_flops > SLOW_STEP_FLOPS else setting.rounds
    sides = [
        Side(PEAK, lambda: _read_peak(setting)),
        Side(OURS, WeixingTraining(setting, shape, batch_size, seconds=seconds)),
        Side(OURS_UER, WeixingTraining(setting, shape, batch_size, recipe="uer", seconds=seconds)),
    ]
    uer, skipped = setting.uer, {}
    if isinstance(uer, Uer):
        sides.append(Side(UER, lambda: _read_uer(setting, uer, shape, batch_size, seconds)))
    else:
        skipped = {UER: uer}
    sides.append(Side(TRANSFORMERS, lambda: _read_transformers(setting, shape, batch_size, seconds)))
    measured = interleave(f"pretrain {where}", sides, rounds)
    ours, ours_uer, theirs = measured[OURS], measured[OURS_UER], measured.get(UER)
    large, figure = batch_size == 64, "tokens_per_second"
    checks = [
        ratio(f"pretrain {where}", ours, theirs, figure, at_least=5 if large else 4, peer=UER),
        ratio(f"pretrain {where}, recipe uer", ours_uer, theirs, figure, at_least=3.5 if large else None, peer=UER),
        ratio(f"pretrain {where}", ours, measured[TRANSFORMERS], figure, peer=TRANSFORMERS),
        bound(f"pretrain {where}, share of the matrix peak", ours, "peak_fraction", ""),
    ]
    return Case(measured, checks, skipped)


def flops_per_token(shape: str, vocabulary_size: int, sequence_length: int = SEQUENCE_LENGTH) -> float:
    """Of training, by this project's own count (`weixing.zoo`), for every side, also one that computes more than that.

    Where a recipe leaves out the vocabulary entries that the corpus does not reach, `vocabulary_size` is what is left.
    """
    shape_of = replace(ZOO[shape], vocabulary_size=vocabulary_size)
    return shape_of.training_flops_per_token(sequence_length, recipe_for("weixing", sequence_length).masking_rate)


def figures(tokens_per_second: float, flops: float) -> Figures:
    """The speed, and what it is in floating-point operations."""
    return {"tokens_per_second": tokens_per_second, "gflops": flops * tokens_per_second / 1e9}


class WeixingTraining:
    """`weixing pretrain`, its number of steps chosen for `seconds` of timed training by the speed of the run before.

    The first goes by that of a short run, which counts only where its few steps are as long as that already.
    """

    def __init__(
        self, setting: Setting, shape: str, batch_size: int,
        *, recipe: str = "weixing", sequence_length: int = SEQUENCE_LENGTH, seconds: float,
    ) -> None:  # fmt: skip
        self.setting, self.shape, self.batch_size, self.recipe = setting, shape, batch_size, recipe
        self.sequence_length, self.seconds = sequence_length, seconds
        self.tokens_per_second = 0.0  # of the run before

    def steps(self) -> int:
        """Of the next run."""
        timed = self.seconds * self.tokens_per_second / (self.batch_size * self.sequence_length)
        return UNTIMED_STEPS + max(FEWEST_TIMED_STEPS, round(timed))

    def __call__(self) -> Reading:
        fewest = UNTIMED_STEPS + FEWEST_TIMED_STEPS
        if not self.tokens_per_second:
            short = self._run(fewest)
            if self.steps() == fewest:
                return short
        return self._run(self.steps())

    def _run(self, steps: int) -> Reading:
        inputs = self.setting.inputs
        recipe = recipe_for(self.recipe, self.sequence_length)
        shards = inputs.shards(recipe.layout, self.sequence_length)
        entries = inputs.reached_entries(shards) if recipe.reached_only else inputs.vocabulary_size
        command = weixing(
            "pretrain", "--data", shards, "--model", self.shape,
            "--recipe", self.recipe, "--batch-size", self.batch_size, "--steps", steps,
            "--out", "run", "--device", "cpu", "--json",
        )  # fmt: skip
        try:
            done = inputs.run(command, TIMEOUT)
        finally:
            inputs.remove("run")
        result = done.result
        speed = self.tokens_per_second = result["tokens_per_second"]
        return Reading(
            done.command,
            {
                **figures(speed, flops_per_token(self.shape, entries, self.sequence_length)),
                "vocabulary_trained": entries,
                "step_ms": 1e3 * self.batch_size * self.sequence_length / speed,
                "peak_fraction": result["peak_fraction"],
                "peak_memory_mb": done.peak_memory_mb,
            },
        )


def _read_uer(setting: Setting, uer: Uer, shape: str, batch_size: int, seconds: float) -> Reading:
    done, speed = uer.pretrain(shape, batch_size, seconds, TIMEOUT)
    return Reading(
        done.command,
        {
            **figures(speed.tokens_per_second, flops_per_token(shape, setting.inputs.vocabulary_size)),
            "steps": speed.steps,
            "peak_memory_mb": done.peak_memory_mb,
        },
    )


def _read_transformers(setting: Setting, shape: str, batch_size: int, seconds: float) -> Reading:
    inputs = setting.inputs
    done = inputs.run(worker("hf_pretrain", inputs.model(shape), inputs.shards("packed"), batch_size, seconds), TIMEOUT)
    result = done.result
    return Reading(
        done.command,
        {
            **figures(result["tokens_per_second"], flops_per_token(shape, inputs.vocabulary_size)),
            "steps": result["steps"],
            "peak_memory_mb": done.peak_memory_mb,
        },
    )


def _read_peak(setting: Setting) -> Reading:
    done = setting.inputs.run(worker("peak"))
    return Reading(done.command, done.result)
