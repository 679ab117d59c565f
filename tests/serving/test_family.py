"""The family as JSON: every shape, numbers and colours of the reporting room."""

import pytest

from weixing.reporting.colours import LEAST_CONTRAST, SCALE, as_hex, contrast
from weixing.reporting.published import published_scores
from weixing.reporting.table import Entry
from weixing.serving.family import STEPS, family
from weixing.zoo import ZOO


def hexadecimal(colour: str) -> tuple[int, int, int]:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return red, green, blue


def test_the_family_has_24_shapes_with_exact_facts() -> None:
    shown = family()
    assert list(shown.shapes) == list(ZOO)
    assert len(shown.layers) * len(shown.hidden) == len(shown.shapes) == 24
    base = shown.shapes["12/768"]
    assert (base.alias, base.parameters, base.upstream_id) == (
        "base", ZOO["12/768"].parameters, "uer/chinese_roberta_L-12_H-768",
    )  # fmt: skip
    assert base.megabytes == pytest.approx(4 * base.parameters / 1e6)
    assert base.published == published_scores()["12/768"]
    assert shown.shapes["2/256"].published is None


def test_maps_are_score_size_and_compute_with_colours_by_rank() -> None:
    maps = {map_.column or map_.kind: map_ for map_ in family().maps}
    assert {"score", "lcqmc", "size", "compute"} <= set(maps)
    assert "tnews" not in maps  # published for other texts
    assert len(maps["size"].tiles) == 24
    assert set(maps["lcqmc"].tiles) == set(published_scores())
    size = maps["size"].tiles
    assert size["2/128"].paint.background == as_hex(SCALE[0])
    assert size["12/768"].paint.background == as_hex(SCALE[-1])
    assert maps["lcqmc"].tiles["2/128"].text == "81.8*"
    assert maps["lcqmc"].title == {"en": "lcqmc, %", "zh": "lcqmc，%"}
    for map_ in maps.values():
        assert all(map_.title.values())
        for tile in map_.tiles.values():
            assert contrast(hexadecimal(tile.paint.background), hexadecimal(tile.paint.ink)) >= LEAST_CONTRAST


def test_speeds_and_own_results_take_the_place_of_what_stands_in() -> None:
    own = Entry("my-tiny", "2/128", None, "lcqmc", "lcqmc", best=83.5)
    shown = family([own], {"2/128": 4000.0, "8/512": 75.0})
    maps = {map_.column or map_.kind: map_ for map_ in shown.maps}
    assert "compute" not in maps
    assert {name: tile.value for name, tile in maps["speed"].tiles.items()} == {"2/128": 4000.0, "8/512": 75.0}
    tile = maps["lcqmc"].tiles["2/128"]
    assert (tile.value, tile.text, tile.model, tile.published) == (83.5, "83.5", "my-tiny", False)
    assert maps["lcqmc"].tiles["8/512"].published


def test_the_scale_goes_from_the_lowest_to_the_highest_and_is_legible_all_the_way() -> None:
    scale = family().scale
    assert len(scale) == STEPS + 1
    assert (scale[0].background, scale[-1].background) == (as_hex(SCALE[0]), as_hex(SCALE[-1]))
    for paint in scale:
        assert contrast(hexadecimal(paint.background), hexadecimal(paint.ink)) >= LEAST_CONTRAST
