"""The maps of the family as one picture. Needs matplotlib; writes a PNG file."""

import contextlib
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from weixing.errors import UserError
from weixing.reporting.captions import map_remarks, map_title, tile_text
from weixing.reporting.colours import as_hex, colour_at, ink_on, shares
from weixing.reporting.family import FamilyMap
from weixing.reporting.wording import WORDS, Language, Words
from weixing.zoo import HIDDEN, LAYERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_PER_INCH = 160
PANEL_INCHES = (4.0, 5.4)
REMARK_WIDTH = {"en": 58, "zh": 28}  # characters in a line under a panel
CHINESE_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN", "PingFang SC",
    "Hiragino Sans GB", "Microsoft YaHei", "SimHei", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei",
)  # fmt: skip
EMPTY_EDGE, FAINT = "#8a93a0", "#5a6370"


def draw(maps: Sequence[FamilyMap], path: Path, language: Language = "en") -> None:
    """Draw maps side by side in the colours of `weixing.reporting.colours`, with the numbers in their tiles.

    Raises:
        UserError: matplotlib is not installed; Chinese was asked for, and no font here has it.
    """
    family_figure(maps, language).savefig(path, dpi=DOTS_PER_INCH, format="png", metadata={"Software": None})


def family_figure(maps: Sequence[FamilyMap], language: Language = "en") -> "Figure":
    """The figure that `draw` saves.

    Raises:
        UserError: as `draw`.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError:
        raise UserError(
            "a heat map as PNG needs matplotlib", action="Install it: pip install 'weixing[plot]'; or use --format html"
        ) from None
    size = (PANEL_INCHES[0] * len(maps), PANEL_INCHES[1])
    with rc_context({"font.family": [*([_chinese_font()] if language == "zh" else []), "DejaVu Sans"]}):
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(wspace=0.08))
        for axes, family_map in zip(figure.subplots(1, len(maps), squeeze=False)[0], maps, strict=True):
            _panel(axes, family_map, WORDS[language], REMARK_WIDTH[language])
    return figure


def _panel(axes: "Axes", family_map: FamilyMap, words: Words, remark_width: int) -> None:
    """One map: depths down, widths across; a shape without a number is a dashed frame."""
    from matplotlib.patches import Rectangle

    tiles = family_map.tiles
    places = dict(zip(tiles, shares([tile.value for tile in tiles.values()], family_map.logarithmic), strict=True))
    axes.set(xlim=(0, len(HIDDEN)), ylim=(len(LAYERS), 0), xlabel=words.hidden, ylabel=words.layers)
    axes.set_xticks([x + 0.5 for x in range(len(HIDDEN))], list(map(str, HIDDEN)))
    axes.set_yticks([y + 0.5 for y in range(len(LAYERS))], list(map(str, LAYERS)))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(map_title(family_map, words), loc="left", fontsize=11, fontweight="bold")
    for y, layers in enumerate(LAYERS):
        for x, hidden in enumerate(HIDDEN):
            shape = f"{layers}/{hidden}"
            filled, ink, edge = "none", FAINT, 1.0
            if shape in tiles:
                colour = colour_at(places[shape])
                filled, ink, edge = as_hex(colour), as_hex(ink_on(colour)), 0.0
            tile = Rectangle((x + 0.03, y + 0.03), 0.94, 0.94)
            tile.set(facecolor=filled, edgecolor=EMPTY_EDGE, linestyle="--", linewidth=edge)
            axes.add_patch(tile)
            style = "italic" if shape in tiles and tiles[shape].published else "normal"
            axes.text(x + 0.5, y + 0.5, tile_text(family_map, shape), color=ink, style=style, ha="center", va="center")
    remarks = [textwrap.fill(remark, remark_width) for remark in map_remarks(family_map, words)]
    axes.text(0, -0.15, "\n".join(remarks), transform=axes.transAxes, va="top", fontsize=8, color=FAINT)


def _chinese_font() -> str:
    """The first of `CHINESE_FONTS` that is installed, also since matplotlib last made its list of fonts."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    for look_again in (False, True):
        if look_again:
            listed = {font.fname for font in fontManager.ttflist}
            for path in sorted(set(findSystemFonts()) - listed):
                with contextlib.suppress(RuntimeError, OSError):  # a font that matplotlib cannot read
                    fontManager.addfont(path)
        installed = {font.name for font in fontManager.ttflist}
        if found := [name for name in CHINESE_FONTS if name in installed]:
            return found[0]
    raise UserError(
        "no font for Chinese is installed",
        where="--lang zh",
        accepted="one of " + ", ".join(CHINESE_FONTS),
        action="Install one (Debian: apt-get install fonts-noto-cjk), or draw with --lang en",
    )
