"""Colours: an order that is seen without colour, and numbers that are legible on each."""

from itertools import pairwise

import pytest

from weixing.reporting.colours import (
    BLACK,
    LEAST_CONTRAST,
    WHITE,
    as_hex,
    colour_at,
    contrast,
    ink_on,
    luminance,
    shares,
)

STEPS = [step / 500 for step in range(501)]


def test_lightness_falls_all_the_way() -> None:
    lightness = [luminance(colour_at(share)) for share in STEPS]
    assert all(later <= earlier for earlier, later in pairwise(lightness))
    assert lightness[0] > 0.9
    assert lightness[-1] < 0.05


@pytest.mark.parametrize("matrix", [
    ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)),  # no long cones (protanopia)
    ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)),  # no middle cones (deuteranopia)
    ((1.256, -0.077, -0.179), (-0.078, 0.931, 0.148), (0.005, 0.691, 0.304)),  # no short cones (tritanopia)
])  # fmt: skip
def test_the_order_is_the_same_with_any_colour_blindness(matrix) -> None:
    """As simulated by Machado, Oliveira & Fernandes 2009, table 1 (severity 1), in linear light."""

    def seen(share: float) -> float:
        parts = [part / 255 for part in colour_at(share)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        red, green, blue = (sum(weight * part for weight, part in zip(row, linear, strict=True)) for row in matrix)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    lightness = [seen(share) for share in STEPS]
    assert all(later < earlier for earlier, later in pairwise(lightness[::10]))


def test_the_ink_is_legible_on_every_colour() -> None:
    assert {ink_on(colour_at(share)) for share in STEPS} == {BLACK, WHITE}
    assert min(contrast(ink_on(colour_at(share)), colour_at(share)) for share in STEPS) >= LEAST_CONTRAST


def test_contrast_is_that_of_the_guidelines() -> None:
    assert contrast(BLACK, WHITE) == 21
    assert contrast(WHITE, WHITE) == 1
    assert contrast((0x76, 0x76, 0x76), WHITE) == pytest.approx(4.54, abs=0.005)  # their own example of a grey


def test_shares_lie_between_the_least_and_the_greatest() -> None:
    assert shares([3.0, 1.0, 2.0]) == [1.0, 0.0, 0.5]
    assert shares([1.0, 10.0, 100.0], logarithmic=True) == [0.0, 0.5, 1.0]
    assert shares([5.0, 5.0]) == [0.5, 0.5]
    assert shares([]) == []
    assert as_hex(colour_at(-1)) == as_hex(colour_at(0)) == "#fff9d6"
    assert colour_at(2) == colour_at(1)
