"""What is written on and under a map of the family, whoever draws it. Pure."""

from weixing.reporting.family import FamilyMap
from weixing.reporting.sheet import NONE
from weixing.reporting.wording import Words


def map_title(family_map: FamilyMap, words: Words) -> str:
    """What a map shows, with its unit."""
    return {
        "score": words.map_of_score,
        "five": words.map_of_five,
        "size": words.map_of_size,
        "speed": words.map_of_speed,
        "compute": words.map_of_compute,
    }[family_map.kind].format(column=family_map.column)


def map_remarks(family_map: FamilyMap, words: Words) -> list[str]:
    """How a map is to be read: colours, marks, what is left out."""
    tiles = family_map.tiles.values()
    return [
        words.darker_is_more,
        *([words.logarithmic] if family_map.logarithmic else []),
        *([words.stand_in] if family_map.kind == "compute" else []),
        *([words.five_text] if family_map.kind == "five" else []),
        *([words.published_mark] if any(tile.published for tile in tiles) else []),
        *([words.partial_mark] if any(tile.partial for tile in tiles) else []),
        *([words.other_shapes.format(shapes=", ".join(family_map.others))] if family_map.others else []),
    ]


def tile_text(family_map: FamilyMap, shape: str) -> str:
    """A shape's number with its marks; one decimal place below 1,000. A dash where there is none."""
    tile = family_map.tiles.get(shape)
    if tile is None:
        return NONE
    number = f"{tile.value:,.0f}" if tile.value >= 1000 else f"{tile.value:.1f}"
    return number + ("*" if tile.published else "") + ("†" if tile.partial else "")
