"""Every way to compute a model beside transformers in float32: texts/s, latency, memory, and what each way loses.

Vectors of the first 1,000 texts of a dev file by models of random weights; labels by a classifier that is fine-tuned
here, for one epoch. One process a reading.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from bench.children import worker
from bench.measure import Case, Check, Measured, Reading, Side, interleave, ratio
from bench.setting import Setting
from weixing.inference.choosing import AUTO, LEAST_COSINE, WAYS, choose
from weixing.inference.measuring import TRANSFORMERS, ways_here
from weixing.training.devices import pick_device

SHAPES = ("4/256", "8/512")
CLASSIFIER = "4/256"
TEXTS, QUICK_TEXTS = 1_000, 64
TARGET = 6.0  # times transformers' texts/s
MOST_POINTS_LOST = 0.3
EXACT = "compiled float32"
THEIRS = f"{TRANSFORMERS} float32"
NOT_HERE = "this processor, or this installation, cannot"


def cases(setting: Setting) -> dict[str, Callable[[], Case]]:
    """A case of vectors for each shape, and one of labels."""
    shapes = SHAPES[:1] if setting.quick else SHAPES
    vectors: dict[str, Callable[[], Case]] = {
        f"vectors {shape}": partial(_measure_vectors, setting, shape) for shape in shapes
    }
    return vectors | {f"labels {CLASSIFIER}": partial(_measure_labels, setting)}


def names_here() -> list[str]:
    """The ways that can be measured here, each with its precision."""
    return [" ".join(way) for way in ways_here()]


def _skipped() -> dict[str, str]:
    return {name: NOT_HERE for name in map(" ".join, WAYS) if name not in names_here()}


def _speeds(what: str, measured: dict[str, Measured]) -> list[Check]:
    """Texts/s against transformers', with the target for what ``auto`` takes and for int8."""
    aimed_at = (" ".join(choose(AUTO, AUTO, pick_device())), "onnx-int8 int8")
    return [
        ratio(
            f"{what}, {name}", measured[name], measured[THEIRS], "texts_per_second",
            at_least=TARGET if name in aimed_at else None, peer=TRANSFORMERS,
        )
        for name in names_here()
    ]  # fmt: skip


def _measure_vectors(setting: Setting, shape: str) -> Case:
    inputs = setting.inputs
    some = inputs.first_texts(QUICK_TEXTS if setting.quick else TEXTS)
    names = [*names_here(), THEIRS]

    def read(name: str) -> Reading:
        vectors = f"inference-{names.index(name)}.npy"
        done = inputs.run(worker("inference", "features", inputs.model(shape), name, some, vectors))
        return Reading(done.command, done.result)

    sides = [Side(name, partial(read, name)) for name in names]
    measured = interleave(f"inference {shape}", sides, setting.rounds)
    checks = _speeds(f"vectors {shape}", measured)
    for name in names:
        if name != EXACT and measured[name].values and measured[EXACT].values:
            ours, exact = (
                np.load(inputs.folder / f"inference-{names.index(each)}.npy").astype(np.float64)
                for each in (name, EXACT)
            )
            cosines = (ours * exact).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(exact, axis=1)
            what = f"vectors {shape}, {name}, least cosine to {EXACT}"
            checks.append(Check(what, float(cosines.min()), unit="", target=LEAST_COSINE))
    return Case(measured, checks, _skipped())


def _measure_labels(setting: Setting) -> Case:
    inputs, shape = setting.inputs, CLASSIFIER
    tuned = inputs.classifier(shape)

    def read(name: str) -> Reading:
        done = inputs.run(worker("inference", "classify", tuned, name, inputs.task))
        return Reading(done.command, done.result)

    sides = [Side(name, partial(read, name)) for name in [*names_here(), THEIRS]]
    measured = interleave(f"inference, labels {shape}", sides, setting.rounds)
    checks = _speeds(f"labels {shape}", measured)
    exact = measured[EXACT].median("dev_accuracy")
    for name in names_here():
        its = measured[name].median("dev_accuracy")
        if name != EXACT and its is not None and exact is not None:
            what = f"labels {shape}, {name}, dev accuracy - {EXACT}'s (size)"
            checks.append(Check(what, abs(its - exact), unit="points", target=MOST_POINTS_LOST, at_least=False))
    return Case(measured, checks, _skipped())
