"""A cheaper search over the cells of a grid, and how it would have done on grids that were run in full.

Reads one file, the record that comes with the package.

Successive halving (Jamieson & Talwalkar 2016, arXiv 1502.07943), over batch sizes and learning rates. The schedule of
a cell ends with its last epoch, so that a cell of three epochs is no beginning of one of eight: nothing is trained
further. Every batch size and learning rate is run with the fewest epochs, the better half of them with the next number
of epochs, and so on. What was best with few epochs need not be so with many, which is how the search can miss the
grid's best; how often it does is found by `replay` on complete grids.
"""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from statistics import fmean
from typing import Literal

from weixing.errors import UserError
from weixing.tasks.cells import Cell
from weixing.tasks.results import Result

Search = Literal["halving"]

Setting = tuple[int, float]  # batch size and learning rate
Score = Callable[[Cell], float | None]
"""Of a cell that has been run; None if it failed."""


def halving(cells: Sequence[Cell], score: Score) -> Iterator[list[Cell]]:
    """The rounds of the search over `cells`: `score` is asked for those of a round after it.

    Where there are several seeds, a setting is as good as their mean.

    Raises:
        UserError: all cells have the same number of epochs, so that there is nothing to leave out.
    """
    numbers = sorted({cell.epochs for cell in cells})
    if len(numbers) < 2:
        raise UserError("a search over one number of epochs", where="--search", accepted="several --epochs")
    settings = list(dict.fromkeys(_setting(cell) for cell in cells))
    for epochs in numbers:
        some = [cell for cell in cells if cell.epochs == epochs and _setting(cell) in settings]
        yield some
        scores: dict[Setting, list[float]] = defaultdict(list)
        for cell in some:
            if (value := score(cell)) is not None:
                scores[_setting(cell)].append(value)
        ranked = sorted(scores, key=lambda setting: -fmean(scores[setting]))  # of equal ones the first in the grid
        settings = ranked[: math.ceil(len(settings) / 2)]


@dataclass(frozen=True)
class Searched:
    """What a search ran of a grid, and how its like has done before, in words."""

    name: Search
    cells_run: int
    cells: int
    epochs_run: int
    epochs: int
    record: str


def searched(name: Search, run: Sequence[Cell], cells: Sequence[Cell]) -> Searched:
    """What the search `name` is, that runs some of `cells`."""
    record = known_record()
    return Searched(
        name, len(run), len(cells), sum(cell.epochs for cell in run), sum(cell.epochs for cell in cells),
        in_words(record) if record else "how often it finds the best score has not been recorded yet",
    )  # fmt: skip


@dataclass(frozen=True)
class Replay:
    """How the search would have done on a complete grid of one seed. Scores in percent.

    `found` is the best score among the cells that the search runs, `best` that of the whole grid.
    """

    model: str
    task: str
    seed: int
    cells: int
    cells_run: int
    epochs: int
    epochs_run: int
    best: float
    found: float


def replay(results: Sequence[Result]) -> list[Replay]:
    """Search every complete grid among `results` by the scores that it gave; grids of one number of epochs are none.

    Raises:
        UserError: there is no complete grid.
    """
    grids: dict[tuple[str, ...], dict[Cell, Result]] = defaultdict(dict)
    for result in results:
        grids[result.model, result.weights or "", result.task, result.split, str(result.seed)][result.cell] = result
    replays = [_replay(one) for one in grids.values() if _is_complete(list(one))]
    if not replays:
        raise UserError(
            "there is no complete grid here",
            accepted="results of every combination of some batch sizes, learning rates and two or more --epochs",
        )
    return replays


def in_words(replays: Sequence[Replay]) -> str:
    """One sentence on how the search did."""
    below = [one.best - one.found for one in replays]
    missed = [points for points in below if points > 0]
    share = fmean(one.epochs_run / one.epochs for one in replays)
    far = f"; where it did not, it was {fmean(missed):.2f} points below ({max(missed):.2f} at most)" if missed else ""
    return (
        f"in {len(below) - len(missed)} of {len(below)} complete grids halving found the best score, "
        f"with {100 * share:.0f} % of the epochs{far}"
    )


def known_record() -> list[Replay]:
    """The replays of the complete grids that this project has recorded (docs/experiments.md says which), or none."""
    text = resources.files("weixing.tasks").joinpath("halving_record.json").read_text(encoding="utf-8")
    return [Replay(**values) for values in json.loads(text)]


def _replay(results: Mapping[Cell, Result]) -> Replay:
    cells = list(results)
    run = [cell for some in halving(cells, lambda cell: results[cell].score) for cell in some]
    any_result = results[cells[0]]
    return Replay(
        any_result.model, any_result.task, any_result.seed, len(cells), len(run),
        sum(cell.epochs for cell in cells), sum(cell.epochs for cell in run),
        max(results[cell].score for cell in cells), max(results[cell].score for cell in run),
    )  # fmt: skip


def _is_complete(cells: Sequence[Cell]) -> bool:
    """Whether `cells`, which are distinct and of one seed, are every combination."""
    epochs, settings = {cell.epochs for cell in cells}, {_setting(cell) for cell in cells}
    batch_sizes, learning_rates = {size for size, _ in settings}, {rate for _, rate in settings}
    return len(epochs) > 1 and len(cells) == len(epochs) * len(batch_sizes) * len(learning_rates)


def _setting(cell: Cell) -> Setting:
    return cell.batch_size, cell.learning_rate
