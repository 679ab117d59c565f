"""Colours for numbers: one scale that is read by its lightness alone, and the ink that is legible on it. Pure.

From pale yellow through green to dark blue, lightness falling all the way: the order is seen in print without colour
and with any kind of colour blindness (the idea of ColorBrewer's sequential schemes, Harrower & Brewer 2003).
"""

import math
from collections.abc import Sequence

Colour = tuple[int, int, int]  # sRGB, 0 to 255 each

SCALE: tuple[Colour, ...] = (
    (255, 249, 214), (196, 226, 185), (110, 187, 182), (35, 110, 155), (30, 73, 134), (22, 38, 103),
)  # fmt: skip
BLACK: Colour = (0, 0, 0)
WHITE: Colour = (255, 255, 255)
LEAST_CONTRAST = 4.5  # of text: Web Content Accessibility Guidelines 2.2, level AA


def colour_at(share: float) -> Colour:
    """The colour at `share` of the scale, 0 (lowest) to 1 (highest)."""
    place = min(max(share, 0.0), 1.0) * (len(SCALE) - 1)
    start = min(int(place), len(SCALE) - 2)
    low, high = SCALE[start], SCALE[start + 1]
    red, green, blue = (round(a + (b - a) * (place - start)) for a, b in zip(low, high, strict=True))
    return red, green, blue


def ink_on(background: Colour) -> Colour:
    """White where its contrast suffices, for on a middle tone the eye prefers it; else black, which then suffices."""
    return WHITE if contrast(WHITE, background) >= LEAST_CONTRAST else BLACK


def contrast(first: Colour, second: Colour) -> float:
    """Contrast ratio of two colours, 1 to 21, as the same guidelines define it."""
    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: Colour) -> float:
    """Relative luminance, 0 (black) to 1 (white), as they define it too."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (part / 255 for part in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def as_hex(colour: Colour) -> str:
    """``#0d1749``."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def shares(values: Sequence[float], logarithmic: bool = False) -> list[float]:
    """Where values lie between the least and the greatest of them, 0 to 1; the middle if all are equal."""
    scaled = [math.log(value) for value in values] if logarithmic else list(values)
    low, high = min(scaled, default=0.0), max(scaled, default=0.0)
    return [(value - low) / (high - low) if high > low else 0.5 for value in scaled]
