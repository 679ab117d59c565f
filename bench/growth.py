"""How cost grows with the work: prepare against corpus size; a training step against batch, length and shape."""

from collections.abc import Callable
from functools import partial

from bench.measure import Case, Check, Measured, Side, bound, interleave, straightness
from bench.prepare import read_prepare
from bench.pretrain import WeixingTraining
from bench.setting import Setting

COPIES = (1, 2, 4, 8, 16, 32, 64, 100)  # of 8 MB
BATCH_SIZES = (4, 8, 16, 32, 64, 128, 256)
LENGTHS = (64, 128, 256, 512)
SHAPES = ("2/128", "4/128", "4/256", "8/256", "4/512", "8/512", "6/768", "12/768")
SHAPE, BATCH_SIZE = "2/128", 16  # of what is not varied
SECONDS = 6.0  # of timed training in one run


def cases(setting: Setting) -> dict[str, Callable[[], Case]]:
    """A case for each thing that grows."""
    few = 2 if setting.quick else None
    seconds = 0.5 if setting.quick else SECONDS

    def training(shape: str = SHAPE, batch_size: int = BATCH_SIZE, sequence_length: int = 128) -> WeixingTraining:
        return WeixingTraining(setting, shape, batch_size, sequence_length=sequence_length, seconds=seconds)

    def steps(what: str, runs: dict[str, WeixingTraining]) -> Case:
        sides = [Side(name, run) for name, run in runs.items()]
        return Case(interleave(what, sides, setting.rounds), [])

    return {
        "prepare by corpus size": lambda: _prepare(setting, COPIES[:few]),
        "step by batch": lambda: steps("batch", {str(n): training(batch_size=n) for n in BATCH_SIZES[:few]}),
        "step by length": lambda: steps("length", {str(n): training(sequence_length=n) for n in LENGTHS[:few]}),
        "step by shape": lambda: steps("shape", {shape: training(shape=shape) for shape in SHAPES[:few]}),
    }


def _prepare(setting: Setting, copies: tuple[int, ...]) -> Case:
    setting.inputs.shards("packed")  # whatever is compiled at the first use is compiled now
    sizes = {f"{setting.inputs.corpus_bytes(n) / 1e6:.1f} MB": n for n in copies}
    sides = [Side(name, partial(read_prepare, setting, n, workers=1)) for name, n in sizes.items()]
    measured = interleave("prepare by corpus size", sides, setting.rounds)
    for n in copies:
        setting.inputs.remove(setting.inputs.corpus(n))
    return Case(measured, _straight_and_flat(measured))


def _straight_and_flat(measured: dict[str, Measured]) -> list[Check]:
    points = {float(name.split()[0]): side.median("seconds") for name, side in measured.items()}
    known = {size: seconds for size, seconds in points.items() if seconds is not None}
    largest = measured[list(measured)[-1]]
    checks = [bound("peak memory of prepare, largest corpus", largest, "peak_memory_mb", "MB", at_most=500)]
    if len(known) > 2:
        slope, _, r_squared = straightness(list(known), list(known.values()))
        checks.append(Check("prepare seconds against corpus size, R² of a straight line", r_squared, unit=""))
        checks.append(Check("prepare, MB/s along that line", 1 / slope, unit="MB/s"))
    return checks
