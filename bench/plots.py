"""The plots of docs/performance.md, from the result files' medians. Writes PNG files."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from bench.tables import Cases

SIDES = {
    "weixing": ("C0", "o"),
    "weixing, recipe uer": ("C1", "^"),
    "UER-py": ("C3", "s"),
    "transformers": ("C2", "D"),
}
PLAIN = FuncFormatter(lambda value, _: f"{value:,g}")
PEAKS = {"bf16_gflops": ("measured bf16 peak", "-"), "float32_gflops": ("measured float32 peak", "--")}


@dataclass(frozen=True)
class Plot:
    """A plot of the page: its file, the section and the case (None: any) that it needs, and how it is drawn."""

    file: str
    title: str
    section: str
    case: str | None
    draw: Callable[[Cases], Figure]

    def has(self, results: dict[str, Cases]) -> bool:
        """Whether there are results to draw."""
        cases = results.get(self.section, {})
        return bool(cases) and (self.case is None or self.case in cases)


def write_all(results: dict[str, Cases], folder: Path) -> None:
    """Every plot whose cases have results."""
    for plot in PLOTS:
        if plot.has(results):
            figure = plot.draw(results[plot.section])
            figure.savefig(folder / plot.file, dpi=110)
            plt.close(figure)


def roofline(cases: Cases) -> Figure:
    """GFLOP/s by shape, one panel a batch size, below the rate at which this machine multiplies matrices."""
    batches = sorted({name.split(", ")[1] for name in cases}, key=lambda batch: -int(batch.split()[0]))
    figure, panels = plt.subplots(
        1, len(batches), figsize=(4.2 * len(batches) + 1.8, 4.2), sharey=True, squeeze=False, layout="constrained"
    )
    for axes, batch in zip(panels[0], batches, strict=True):
        own = {name.split(", ")[0]: case for name, case in cases.items() if name.endswith(f", {batch}")}
        shapes = sorted(own, key=lambda shape: tuple(map(int, shape.split("/"))))
        axes.set(title=f"batch {batch}", xlabel="shape", yscale="log")

        def line(side: str, figure: str, *, own: Cases = own, shapes: list[str] = shapes) -> list[float | None]:
            return [median(own[shape], side, figure) for shape in shapes]

        for side, (colour, marker) in SIDES.items():
            if any(rates := line(side, "gflops")):
                axes.plot(shapes, rates, f"{marker}-", color=colour, label=side)
        for name, (label, style) in PEAKS.items():
            if any(rates := line("matrix products", name)):
                axes.plot(shapes, rates, style, color="black", linewidth=1, label=label)
        axes.yaxis.set_major_formatter(PLAIN)
    panels[0][0].set_ylabel("useful GFLOP/s")
    figure.legend(*panels[0][-1].get_legend_handles_labels(), loc="outside right center", fontsize="small")
    return figure


def growth_plot(cases: Cases) -> Figure:
    """Prepare against corpus size, and a training step against batch and length."""
    figure, ((seconds, memory), (batch, length)) = plt.subplots(2, 2, figsize=(9, 7), layout="constrained")
    if case := cases.get("prepare by corpus size"):
        for axes, name, label in ((seconds, "seconds", "seconds"), (memory, "peak_memory_mb", "peak memory, MB")):
            axes.plot(*points(case, name, lambda side: float(side.split()[0])), "o-")
            axes.set(xlabel="corpus, MB", ylabel=label, title="prepare, one worker")
            axes.set_ylim(0, 1.15 * axes.get_ylim()[1])
    for axes, name, label in ((batch, "batch", "rows of 128 a step"), (length, "length", "positions a row, 16 rows")):
        if case := cases.get(f"step by {name}"):
            _steps(axes, case, float)
            places, _ = points(case, "step_ms", float)
            axes.set_xticks(places, [f"{place:g}" for place in places])
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set(xlabel=label, title=f"a training step of 2/128 by {name}")
    return figure


def shapes(cases: Cases) -> Figure:
    """A training step by shape, against what it computes."""
    case = cases["step by shape"]
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")

    def work(side: str) -> float:
        return (median(case, side, "gflops") or 0.0) * (median(case, side, "step_ms") or 0.0) / 1e3

    _steps(axes, case, work)
    for side in case["sides"]:
        if step := median(case, side, "step_ms"):
            axes.annotate(side, (work(side), step), textcoords="offset points", xytext=(4, -10), fontsize=8)
    axes.margins(x=0.12)
    axes.xaxis.set_major_formatter(PLAIN)
    axes.set(xlabel="useful GFLOP a step of 16 × 128", title="a training step by shape")
    return figure


def _steps(axes: Axes, case: dict[str, Any], x: Callable[[str], float]) -> None:
    """Step times, and what they would be at the measured peak of the matrix products."""
    places, steps = points(case, "step_ms", x)
    _, shares = points(case, "peak_fraction", x)
    axes.loglog(places, steps, "o-", label="measured")
    at_peak = [step * share for step, share in zip(steps, shares, strict=True)]
    axes.loglog(places, at_peak, "--", color="black", linewidth=1, label="at the measured matrix peak")
    axes.set_ylabel("ms a step")
    axes.yaxis.set_major_formatter(PLAIN)
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.legend(fontsize="small")


def points(case: dict[str, Any], figure: str, x: Callable[[str], float]) -> tuple[list[float], list[float]]:
    """Places and medians of the sides that have the figure, from left to right."""
    values = ((side, median(case, side, figure)) for side in case["sides"])
    found = sorted((x(side), value) for side, value in values if value is not None)
    return [place for place, _ in found], [value for _, value in found]


def median(case: dict[str, Any], side: str, figure: str) -> float | None:
    """Of a side's figure; None where it was not measured."""
    return case["sides"].get(side, {}).get("figures", {}).get(figure, {}).get("median")


PLOTS = [
    Plot("performance-pretrain.png", "GFLOP/s by shape", "pretrain", None, roofline),
    Plot("performance-growth.png", "prepare by size, a step by batch and length", "growth", None, growth_plot),
    Plot("performance-shapes.png", "a step by shape", "growth", "step by shape", shapes),
]
