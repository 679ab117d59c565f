"""The picture of the maps: its tiles, its numbers, its file."""

import sys
from pathlib import Path

import pytest

from tests.reporting.hand_made import result, six
from weixing.errors import UserError
from weixing.reporting import plot
from weixing.reporting.colours import as_hex, colour_at
from weixing.reporting.family import maps
from weixing.reporting.table import table

matplotlib = pytest.importorskip("matplotlib")

ENTRIES = table([*six(80.0, "run", "2/128"), result(90.0, model="b", shape="6/256")])
MAPS = maps(ENTRIES, {"2/128": 3818.64, "12/768": 20.5})


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_a_panel_a_map_with_its_numbers_where_they_belong() -> None:
    score, size, speed = plot.family_figure(MAPS).axes
    assert [axes.get_title(loc="left") for axes in (score, size, speed)] == [
        "Mean of five tasks, %",
        "Parameters, millions",
        "Texts per second",
    ]
    assert texts(score)[:4] == ["82.4", "–", "–", "–"]
    assert texts(score)[4:8] == ["–", "78.2*", "79.3*", "–"]
    assert texts(size)[:4] == ["3.2", "7.2", "17.7", "31.4"]
    assert texts(speed)[0] == "3,819"
    assert texts(speed)[23] == "20.5"
    assert "Darker is more." in texts(score)[-1]
    assert "published score" in texts(score)[-1]


def test_a_shape_without_a_number_is_an_empty_frame() -> None:
    speed = plot.family_figure(MAPS).axes[2]
    fastest, missing, slowest = speed.patches[0], speed.patches[1], speed.patches[23]
    assert matplotlib.colors.to_hex(fastest.get_facecolor()) == as_hex(colour_at(1))
    assert matplotlib.colors.to_hex(slowest.get_facecolor()) == as_hex(colour_at(0))
    assert (fastest.get_linewidth(), missing.get_linewidth()) == (0, 1)
    assert missing.get_facecolor()[3] == 0  # transparent


def test_the_file_is_a_picture_and_the_same_every_time(tmp_path: Path) -> None:
    for name in ("one.png", "other.png"):
        plot.draw(MAPS, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "other.png").read_bytes()
    height, width, _ = matplotlib.image.imread(tmp_path / "one.png").shape
    assert (width, height) == (3 * 4.0 * 160, 5.4 * 160)


def test_chinese_needs_a_font_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plot, "CHINESE_FONTS", ("no such font",))
    with pytest.raises(UserError, match=r"--lang zh: no font for Chinese is installed. Accepted: one of no such font"):
        plot.family_figure(MAPS, "zh")
    monkeypatch.setattr(plot, "CHINESE_FONTS", ("no such font", "DejaVu Sans"))
    assert plot.family_figure(MAPS, "zh").axes[1].get_title(loc="left") == "参数量，百万"


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UserError, match=r"needs matplotlib.*pip install 'weixing\[plot\]'"):
        plot.family_figure(MAPS)
