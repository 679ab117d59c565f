"""Curves of many runs as one picture. Needs matplotlib; writes an SVG or PNG file."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from weixing.errors import UserError
from weixing.files import atomic_file
from weixing.reporting.runs import RecordedRun, number, thinned
from weixing.reporting.watching import Watched

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".svg", ".png")
SIZE_INCHES, DOTS_PER_INCH = (11.0, 4.6), 160


def draw_runs(runs: Sequence[RecordedRun], seen: Sequence[Watched], path: Path) -> None:
    """Draw training and held-out losses over tokens, and over steps the speed; open rings are spikes.

    Raises:
        UserError: matplotlib is not installed, or `path` is neither ``.svg`` nor ``.png``.
    """
    require_plot(path)
    with atomic_file(path) as beside:
        runs_figure(runs, seen).savefig(
            beside, dpi=DOTS_PER_INCH, format=path.suffix.lower()[1:],
            metadata={"Date": None} if path.suffix.lower() == ".svg" else {"Software": None},
        )  # fmt: skip


def require_plot(path: Path) -> None:
    """Raises UserError if `draw_runs` could not write `path`."""
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"--plot {path}", accepted="a name that ends in .svg or .png")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise UserError("a plot needs matplotlib", action="Install it: pip install 'weixing[plot]'") from None


def runs_figure(runs: Sequence[RecordedRun], seen: Sequence[Watched]) -> "Figure":
    """The figure that `draw_runs` saves."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    loss, speed = figure.subplots(1, 2, width_ratios=(3, 2))
    loss.set(xlabel="tokens", ylabel="loss, nats (dots: held-out; open rings: spikes)")
    speed.set(xlabel="step", ylabel="tokens/s")
    for at, (run, watched) in enumerate(zip(runs, seen, strict=True)):
        _curves(loss, speed, run, watched, f"C{at % 10}", "-" if at < 10 else "--")
    for axes in (loss, speed):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.set_major_formatter(EngFormatter())
    speed.yaxis.set_major_formatter(EngFormatter())
    speed.set_ylim(bottom=0)  # after the curves: before them it would end the search for an upper bound
    figure.legend(*loss.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure


def _curves(loss: "Axes", speed: "Axes", run: RecordedRun, watched: Watched, colour: str, style: str) -> None:
    reports = thinned(run.reports)
    label = f"{run.name} ({watched.state})"
    loss.plot(*_points(reports, "tokens", "train_loss"), style, color=colour, linewidth=1, label=label)
    loss.plot(*_points(reports, "tokens", "eval_loss"), "o", color=colour, markersize=4)
    steps = {spike.step for spike in watched.spikes}
    high = [report for report in run.reports if report.get("step") in steps]
    loss.plot(*_points(high, "tokens", "train_loss"), "o", color=colour, markersize=10, fillstyle="none")
    timed = [report for report in reports if report.get("tokens_per_second")]  # 0: start-up
    speed.plot(*_points(timed, "step", "tokens_per_second"), style, color=colour, linewidth=1)


def _points(reports: Sequence, across: str, up: str) -> tuple[list[float], list[float]]:
    pairs = [(number(report.get(across)), number(report.get(up))) for report in reports]
    whole = [(x, y) for x, y in pairs if x is not None and y is not None]
    return [x for x, _ in whole], [y for _, y in whole]
