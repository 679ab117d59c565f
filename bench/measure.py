"""Interleaving, medians, ratios against targets: what is done with readings, whatever they are of.

A section measures *cases* (say 2/128 at 64 × 128). A case has *sides* (this project, `transformers`, UER-py). In each
round every side is run once in turn, so that a machine that grows slower or quicker does so for all of them alike.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.children import SideFailed
from weixing.progress import say

Figures = dict[str, float]
"""Named numbers of one run, units in the names (``tokens_per_second``)."""


@dataclass(frozen=True)
class Reading:
    """One run of a side: the command line that was run, and what it gave."""

    command: str
    figures: Figures


@dataclass(frozen=True)
class Side:
    """One of those compared: `run` measures it once, or raises SideFailed; at most `rounds` times."""

    name: str
    run: Callable[[], Reading]
    rounds: int = 1_000


@dataclass
class Measured:
    """The readings of a side: its last command line, every figure's values in the order of the rounds, and why it
    failed if it did."""

    command: str = ""
    values: dict[str, list[float]] = field(default_factory=dict)
    failure: str | None = None

    def add(self, reading: Reading) -> None:
        """Take one more reading."""
        self.command = reading.command
        for name, value in reading.figures.items():
            self.values.setdefault(name, []).append(value)

    def median(self, figure: str) -> float | None:
        """Of a figure's values; None where there is none."""
        return statistics.median(self.values[figure]) if self.values.get(figure) else None

    def as_json(self) -> dict[str, Any]:
        """As the result files hold it; `spread` is (max - min) / median."""
        figures = {name: summary(values) for name, values in self.values.items()}
        return {"command": self.command, "figures": figures, "failure": self.failure}


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Median, min, max, spread and the values themselves, in six digits."""
    median, low, high = statistics.median(values), min(values), max(values)
    spread = (high - low) / abs(median) if median else 0.0
    numbers = {"median": median, "min": low, "max": high, "spread": spread}
    return {**{key: _digits(value) for key, value in numbers.items()}, "values": [_digits(value) for value in values]}


@dataclass(frozen=True)
class Check:
    """A number that a case comes to, beside its target.

    Args:
        name: what it is, said so that it can stand alone in a table.
        value: None where a side is missing.
        low, high: lowest and highest over the rounds, each round's runs being set against one another.
        unit: ``×`` for ratios.
        target: the bound that the project has set itself, or None; it is met by at least, or at most, that value.
        peer: whom a ratio is against.
    """

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    unit: str = "×"
    target: float | None = None
    at_least: bool = True
    peer: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without a target or a value."""
        if self.value is None or self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target

    def as_json(self) -> dict[str, Any]:
        """As the result files hold it."""
        numbers = {
            key: None if (value := getattr(self, key)) is None else _digits(value) for key in ("value", "low", "high")
        }
        return {
            "name": self.name, **numbers, "unit": self.unit, "target": self.target,
            "at_least": self.at_least, "met": self.met, "peer": self.peer,
        }  # fmt: skip


@dataclass(frozen=True)
class Case:
    """What was measured: the sides by name, those left out with the reason, and the checks."""

    sides: dict[str, Measured]
    checks: list[Check]
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def rounds(self) -> int:
        """How often the side that was run most often was run."""
        return max((len(values) for side in self.sides.values() for values in side.values.values()), default=0)

    def as_json(self) -> dict[str, Any]:
        """As the result files hold it."""
        return {
            "rounds": self.rounds,
            "sides": {name: side.as_json() for name, side in self.sides.items()},
            "skipped": self.skipped,
            "checks": [check.as_json() for check in self.checks],
        }


def interleave(case: str, sides: Sequence[Side], rounds: int) -> dict[str, Measured]:
    """Run each side once in turn, `rounds` times. A side that fails is left out from then on; the rest goes on."""
    measured = {side.name: Measured() for side in sides}
    for number in range(1, rounds + 1):
        for side in sides:
            own = measured[side.name]
            if own.failure or number > side.rounds:
                continue
            where = f"{case} | round {number}/{min(rounds, side.rounds)} | {side.name}: "
            try:
                reading = side.run()
            except Exception as failure:  # whatever is wrong with one side, the others go on
                own.failure = str(failure) if isinstance(failure, SideFailed) else repr(failure)
                say(f"{where}FAILED\n{own.failure}")
            else:
                own.add(reading)
                say(where + ", ".join(f"{value:,.4g} {name}" for name, value in reading.figures.items()))
    return measured


def ratio(
    name: str, over: Measured | None, under: Measured | None, figure: str, *, under_figure: str | None = None,
    at_least: float | None = None, at_most: float | None = None, peer: str = "",
) -> Check:  # fmt: skip
    """The ratio of two sides' medians of a figure; lowest and highest ratio of the two runs of one round."""
    above = over.values.get(figure, []) if over else []
    below = under.values.get(under_figure or figure, []) if under else []
    target, sense = (at_least, True) if at_most is None else (at_most, False)
    if not above or not below:
        return Check(name, None, target=target, at_least=sense, peer=peer)
    rounds = [a / b for a, b in zip(above, below, strict=False)]
    value = statistics.median(above) / statistics.median(below)
    return Check(name, value, min(rounds), max(rounds), target=target, at_least=sense, peer=peer)


def bound(
    name: str, side: Measured | None, figure: str, unit: str,
    *, at_least: float | None = None, at_most: float | None = None,
) -> Check:  # fmt: skip
    """A side's own median of a figure, beside a target."""
    values = side.values.get(figure, []) if side else []
    target, sense = (at_least, True) if at_most is None else (at_most, False)
    if not values:
        return Check(name, None, unit=unit, target=target, at_least=sense)
    return Check(name, statistics.median(values), min(values), max(values), unit, target, sense)


def straightness(x: Sequence[float], y: Sequence[float]) -> tuple[float, float, float]:
    """Slope, intercept and R² of the line of least squares through the points."""
    slope, intercept = statistics.linear_regression(x, y)
    return slope, intercept, statistics.correlation(x, y) ** 2


def _digits(value: float) -> float:
    return float(f"{value:.6g}")
