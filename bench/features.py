"""Vectors of a dev file's texts: texts/s against transformers, and how far the two sides' vectors are apart."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from bench.children import worker
from bench.measure import Case, Check, Reading, Side, interleave, ratio
from bench.setting import NO_BF16, Setting

TARGETS = {"2/128": 3.0, "8/512": 4.0}
TRANSFORMERS = "transformers"


@dataclass(frozen=True)
class Way:
    """How this project is run, and how far any number of any vector may be from transformers'."""

    pooling: str
    precision: str
    most_difference: float


WAYS = {
    "float32": Way("mean", "float32", 1e-5),
    "bf16": Way("mean", "bf16", 2e-2),
    "bf16, [CLS] alone": Way("cls", "bf16", 2e-2),
}


def cases(setting: Setting) -> dict[str, Callable[[], Case]]:
    """A case for each shape."""
    return {shape: partial(_measure, setting, shape) for shape in list(TARGETS)[: 1 if setting.quick else None]}


def _measure(setting: Setting, shape: str) -> Case:
    possible = [way for way in WAYS if WAYS[way].precision == "float32" or setting.bf16]
    sides = [Side(f"weixing, {way}", partial(_read_weixing, setting, shape, way)) for way in possible]
    sides.append(Side(TRANSFORMERS, partial(_read_transformers, setting, shape)))
    measured = interleave(f"features {shape}", sides, setting.rounds)
    theirs = measured[TRANSFORMERS]
    speeds, distances = [], []
    for way in WAYS:
        what, ours = f"features {shape}, {way}", measured.get(f"weixing, {way}")
        target = TARGETS[shape] if WAYS[way].pooling == "mean" else None
        speeds.append(ratio(what, ours, theirs, "texts_per_second", at_least=target, peer=TRANSFORMERS))
        if ours and ours.values and theirs.values:
            distances += _distances(setting, what, way)
    skipped = {f"weixing, {way}": NO_BF16 for way in WAYS if way not in possible}
    return Case(measured, speeds + distances, skipped)


def _read_weixing(setting: Setting, shape: str, way: str) -> Reading:
    inputs, chosen = setting.inputs, WAYS[way]
    more = (_out(way), chosen.pooling, chosen.precision)
    done = inputs.run(worker("features", "weixing", inputs.model(shape), inputs.texts, *more))
    return Reading(done.command, done.result)


def _read_transformers(setting: Setting, shape: str) -> Reading:
    inputs = setting.inputs
    done = inputs.run(worker("features", "transformers", inputs.model(shape), inputs.texts, _out(TRANSFORMERS)))
    return Reading(done.command, done.result)


def _out(side: str) -> str:
    return f"vectors-{[*WAYS, TRANSFORMERS].index(side)}"


def _distances(setting: Setting, what: str, way: str) -> list[Check]:
    """The largest difference of any number from transformers' (float32), and the largest of 1 - cosine."""
    ours, theirs = (
        np.load(setting.inputs.folder / f"{_out(side)}.{WAYS[way].pooling}.npy").astype(np.float64)
        for side in (way, TRANSFORMERS)
    )
    difference = float(np.abs(ours - theirs).max())
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    distance = float(1 - ((ours * theirs).sum(1) / norms).min())
    most = WAYS[way].most_difference
    return [
        Check(f"{what}, largest difference", difference, unit="", target=most, at_least=False),
        Check(f"{what}, largest cosine distance", distance, unit=""),
    ]
