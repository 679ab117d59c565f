"""The family of 24 as maps, depth by width: score, size, speed. Numbers only; drawn by `page` and `plot`.
Reads the file of speeds.
"""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Literal

from weixing.errors import UserError
from weixing.reporting.published import COMPARED_TASKS, MEANS, SCORE, published_scores
from weixing.reporting.table import PARTIAL, Entry
from weixing.zoo import FLOPS_PREDICTED_SHARE, FLOPS_SEQUENCE_LENGTH, ZOO, parse_shape

ACCEPTED_SPEEDS = "CSV with the columns shape and texts_per_second, such as 8/512,118.5"

Kind = Literal["score", "five", "size", "speed", "compute"]


@dataclass(frozen=True)
class Tile:
    """The number of one shape; `published` where it is not of these results, `partial` where its data are not whole."""

    value: float
    model: str | None = None
    published: bool = False
    partial: bool = False


@dataclass(frozen=True)
class FamilyMap:
    """A number for each shape of the family that has one, by its name.

    `column` is that of the table, for scores; a shape that is not in `tiles` has no number, which is not 0.
    `others` are shapes with a number that are none of the family. `logarithmic`: of numbers that span
    orders of magnitude.
    """

    kind: Kind
    tiles: dict[str, Tile]
    column: str | None = None
    logarithmic: bool = False
    others: tuple[str, ...] = ()


def maps(
    entries: Sequence[Entry], speeds: Mapping[str, float] | None = None, column: str | None = None
) -> list[FamilyMap]:
    """The maps of a set of results: score, size, and speed where `speeds` has it, else compute.

    Args:
        entries: of `weixing.reporting.table.table`.
        speeds: texts per second by shape name.
        column: of the table, for the score. Default: the six tasks together if one of them is there, else the first.

    Raises:
        UserError: there is no such column.
    """
    columns = list(dict.fromkeys(entry.column for entry in entries))
    if column is not None and column not in columns:
        raise UserError(f"there is no column {column!r}", where="--heat-map-of", accepted=", ".join(columns))
    return [score_map(entries, column or columns[0]), size_map(), speed_map(speeds) if speeds else compute_map()]


def score_map(entries: Sequence[Entry], column: str) -> FamilyMap:
    """Scores of one column: the best model of each shape, else the published score where it may stand beside ours.

    For the column ``score`` it is the mean over the five tasks whose published scores compare, so that no shape has an
    advantage from other texts. Beside scores of altered data, or of another dev set, no published score stands.
    """
    parts = tuple(part for part in MEANS[column] if part in COMPARED_TASKS) if column in MEANS else (column,)
    tiles: dict[str, Tile] = {}
    comparable = all(set(entry.remarks) <= {PARTIAL} for entry in entries if entry.column in parts)
    if comparable and set(parts) <= set(COMPARED_TASKS):
        for shape, scores in published_scores().items():
            tiles[shape] = Tile(fmean(scores[COMPARED_TASKS[part]] for part in parts), published=True)
    own: dict[str, Tile] = {}
    for shape, tile in _own_scores(entries, parts):
        if shape not in own or tile.value > own[shape].value:
            own[shape] = tile
    family = set(ZOO)
    tiles |= {shape: tile for shape, tile in own.items() if shape in family}
    others = tuple(sorted(shape for shape in own if shape not in family))
    return FamilyMap("five" if column == SCORE else "score", tiles, column, others=others)


def size_map() -> FamilyMap:
    """Parameters, in millions."""
    return FamilyMap("size", {name: Tile(shape.parameters / 1e6) for name, shape in ZOO.items()}, logarithmic=True)


def speed_map(speeds: Mapping[str, float]) -> FamilyMap:
    """Texts per second as measured, of the shapes that were."""
    tiles = {name: Tile(speeds[name]) for name in ZOO if name in speeds}
    others = tuple(name for name in speeds if name not in set(ZOO))
    return FamilyMap("speed", tiles, logarithmic=True, others=others)


def compute_map() -> FamilyMap:
    """Forward MFLOP per token in rows of 128, 15 % predicted: what stands in for speed where none was measured."""
    setting = (FLOPS_SEQUENCE_LENGTH, FLOPS_PREDICTED_SHARE)
    tiles = {name: Tile(shape.forward_flops_per_token(*setting) / 1e6) for name, shape in ZOO.items()}
    return FamilyMap("compute", tiles, logarithmic=True)


def read_speeds(path: Path) -> dict[str, float]:
    """Texts per second by shape name, from a CSV file.

    Raises:
        UserError: the file is missing, has other columns, or a line is no shape and number (``file:line``).
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise UserError("there is no such file", where=path, accepted=ACCEPTED_SPEEDS) from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"not UTF-8: {error.reason} at byte {error.start}", where=path, accepted=ACCEPTED_SPEEDS
        ) from None
    reader = csv.DictReader(lines)
    if not {"shape", "texts_per_second"} <= set(reader.fieldnames or ()):
        raise UserError("other columns", where=f"{path}:1", accepted=ACCEPTED_SPEEDS)
    speeds: dict[str, float] = {}
    for row in reader:
        where = f"{path}:{reader.line_num}"
        shape = parse_shape((row["shape"] or "").strip())
        try:
            speed = float(row["texts_per_second"] or "")
        except ValueError:
            speed = math.nan
        if shape is None or not 0 < speed < math.inf:
            raise UserError(f"{row['shape']}, {row['texts_per_second']}", where=where, accepted=ACCEPTED_SPEEDS)
        if shape.name in speeds:
            raise UserError(f"{shape.name} a second time", where=where, accepted="each shape once")
        speeds[shape.name] = speed
    return speeds


def _own_scores(entries: Sequence[Entry], columns: Sequence[str]) -> Iterator[tuple[str, Tile]]:
    """Shape and mean score of each model that has a score in every one of `columns`."""
    for model in dict.fromkeys(entry.model for entry in entries):
        own = [entry for entry in entries if entry.model == model and entry.column in columns]
        scores = [entry.best for entry in own if entry.best is not None]
        if len(scores) == len(columns) and own[0].shape:
            yield own[0].shape, Tile(fmean(scores), model, partial=any(entry.remarks for entry in own))
