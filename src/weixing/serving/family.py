"""The family of 24 as JSON: facts of each shape, and maps in the colours that `weixing table` draws them in. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from weixing.reporting.captions import map_remarks, map_title, tile_text
from weixing.reporting.colours import as_hex, colour_at, ink_on, shares
from weixing.reporting.family import FamilyMap, compute_map, score_map, size_map, speed_map
from weixing.reporting.published import COMPARED_TASKS, MEANS, published_scores
from weixing.reporting.table import Entry
from weixing.reporting.wording import WORDS, Language
from weixing.zoo import FLOPS_PREDICTED_SHARE, FLOPS_SEQUENCE_LENGTH, HIDDEN, LAYERS, ZOO, Shape

STEPS = 64  # of the colour scale


@dataclass(frozen=True)
class Paint:
    """A colour, and the ink that is legible on it, as ``#rrggbb``."""

    background: str
    ink: str


@dataclass(frozen=True)
class Tile:
    """A shape's number: in full and as it is written, and whose it is, null for a fact or a published score."""

    value: float
    text: str
    paint: Paint
    model: str | None
    published: bool


@dataclass(frozen=True)
class Map:
    """A number for each shape that has one. `title` and `remarks` by language; `column`: of the table, for scores."""

    kind: str
    column: str | None
    title: dict[Language, str]
    remarks: dict[Language, list[str]]
    tiles: dict[str, Tile]


@dataclass(frozen=True)
class Facts:
    """What is known of a shape: `megabytes` in float32, `megaflops` of a forward pass for each token."""

    alias: str | None
    upstream_id: str | None
    layers: int
    hidden: int
    parameters: int
    megabytes: float
    megaflops: float
    published: dict[str, float] | None


@dataclass(frozen=True)
class Family:
    """`shapes` by name; `scale` from the lowest to the highest."""

    layers: tuple[int, ...]
    hidden: tuple[int, ...]
    shapes: dict[str, Facts]
    maps: list[Map]
    scale: list[Paint]


def family(entries: Sequence[Entry] = (), speeds: Mapping[str, float] | None = None) -> Family:
    """The family with the published scores, and those of `entries` in their place.

    Args:
        entries: of `weixing.reporting.table.table`.
        speeds: texts per second by shape; without them compute stands in.
    """
    columns = dict.fromkeys([*MEANS, *COMPARED_TASKS, *(entry.column for entry in entries)])
    scores = [score_map(entries, column) for column in columns]
    drawn = [*(m for m in scores if m.tiles), size_map(), speed_map(speeds) if speeds else compute_map()]
    return Family(
        LAYERS, HIDDEN, {name: _facts(name, shape) for name, shape in ZOO.items()}, [_map(m) for m in drawn],
        [_paint(step / STEPS) for step in range(STEPS + 1)],
    )  # fmt: skip


def _facts(name: str, shape: Shape) -> Facts:
    return Facts(
        shape.alias, shape.upstream_id, shape.layers, shape.hidden, shape.parameters, 4 * shape.parameters / 1e6,
        shape.forward_flops_per_token(FLOPS_SEQUENCE_LENGTH, FLOPS_PREDICTED_SHARE) / 1e6,
        published_scores().get(name),
    )  # fmt: skip


def _map(drawn: FamilyMap) -> Map:
    places = shares([tile.value for tile in drawn.tiles.values()], drawn.logarithmic)
    tiles = {
        name: Tile(tile.value, tile_text(drawn, name), _paint(place), tile.model, tile.published)
        for (name, tile), place in zip(drawn.tiles.items(), places, strict=True)
    }
    titles = {language: map_title(drawn, words) for language, words in WORDS.items()}
    remarks = {language: map_remarks(drawn, words) for language, words in WORDS.items()}
    return Map(drawn.kind, drawn.column, titles, remarks, tiles)


def _paint(share: float) -> Paint:
    background = colour_at(share)
    return Paint(as_hex(background), as_hex(ink_on(background)))
