"""The maps of the family: which number stands where, and whose it is."""

from pathlib import Path

import pytest

from tests.reporting.hand_made import result, six
from weixing.errors import UserError
from weixing.reporting.family import (
    Tile,
    compute_map,
    maps,
    read_speeds,
    score_map,
    size_map,
    speed_map,
)
from weixing.reporting.table import table
from weixing.zoo import ZOO


def test_a_task_has_the_best_model_of_each_shape_else_the_published_score() -> None:
    runs = [
        result(80.0, model="a", shape="2/128"),
        result(82.0, model="b", shape="2/128"),
        result(85.0, model="c", shape="6/256", data="partial"),
        result(99.0, model="d", shape="3/192"),
    ]
    drawn = score_map(table(runs), "book_review")
    assert drawn.tiles["2/128"] == Tile(82.0, "b")
    assert drawn.tiles["6/256"] == Tile(85.0, "c", partial=True)
    assert drawn.tiles["8/512"] == Tile(88.7, published=True)
    assert sorted(drawn.tiles) == ["12/768", "2/128", "4/256", "4/512", "6/256", "8/512"]
    assert drawn.others == ("3/192",)


def test_scores_of_other_texts_are_never_mixed_with_ours() -> None:
    assert score_map(table([result(55.0, task="tnews", shape="2/128")]), "tnews").tiles == {"2/128": Tile(55.0, "run")}
    drawn = score_map(table(six(80.0, "run", "2/128")), "score")
    assert drawn.kind == "five"
    assert drawn.tiles["2/128"] == Tile((80 + 81 + 82 + 84 + 85) / 5, "run")
    assert drawn.tiles["4/256"].value == pytest.approx((85.7 + 93.7 + 86.1 + 58.3 + 67.4) / 5)
    assert drawn.tiles["4/256"].published


def test_the_published_scores_of_tnews_stand_beside_ours_of_tnews_keywords() -> None:
    entries = table([*six(80.0, "run", "2/128"), result(60.0, task="tnews_keywords", shape="2/128", data="complete")])
    assert score_map(entries, "tnews_keywords").tiles["4/256"] == Tile(63.9, published=True)
    drawn = score_map(entries, "score (tnews_keywords)")
    assert drawn.kind == "score"
    assert drawn.tiles["2/128"].value == pytest.approx((80 + 81 + 82 + 60 + 84 + 85) / 6)
    assert drawn.tiles["4/256"].value == pytest.approx(75.9, abs=0.051)


@pytest.mark.parametrize("other", [{"data": "altered"}, {"total": 100}])
def test_no_published_score_stands_beside_other_data(other) -> None:
    drawn = score_map(table([result(80.0, shape="2/128", **other)]), "book_review")
    assert drawn.tiles == {"2/128": Tile(80.0, "run", partial=True)}


def test_a_mean_needs_all_five() -> None:
    runs = [run for run in six(80.0, "run", "6/256") if run.task != "ocnli"]
    assert "6/256" not in score_map(table(runs), "score").tiles
    without_tnews = [run for run in six(80.0, "run", "6/256") if run.task != "tnews"]
    assert "6/256" in score_map(table(without_tnews), "score").tiles


def test_size_and_compute_are_those_of_the_zoo() -> None:
    assert {name: tile.value for name, tile in size_map().tiles.items()} == {
        name: shape.parameters / 1e6 for name, shape in ZOO.items()
    }
    assert compute_map().tiles["2/128"].value == pytest.approx(ZOO["2/128"].forward_flops_per_token(128, 0.15) / 1e6)
    assert len(compute_map().tiles) == 24


def test_a_shape_without_a_speed_has_none() -> None:
    drawn = speed_map({"2/128": 3818.64, "3/192": 1000.0})
    assert drawn.tiles == {"2/128": Tile(3818.64)}
    assert drawn.others == ("3/192",)


def test_which_maps_there_are() -> None:
    entries = table([result(80.0, shape="2/128")])
    assert [(m.kind, m.column) for m in maps(entries)] == [("five", "score"), ("size", None), ("compute", None)]
    assert [m.kind for m in maps(entries, {"2/128": 1.0})] == ["five", "size", "speed"]
    assert maps(entries, column="book_review")[0].column == "book_review"
    assert maps(table([result(80.0, task="own")]))[0].column == "own"
    with pytest.raises(UserError, match=r"--heat-map-of: there is no column 'own'. Accepted: score, book_review, "):
        maps(entries, column="own")


def test_speeds_are_read_by_shape_or_alias(tmp_path: Path) -> None:
    file = tmp_path / "speeds.csv"
    lines = ["\ufeffshape,backend,texts_per_second", "tiny,int8,3818.64", "", "8/512,int8,118", ""]
    file.write_text("\r\n".join(lines), encoding="utf-8")
    assert read_speeds(file) == {"2/128": 3818.64, "8/512": 118.0}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ":1: other columns. Accepted: CSV with the columns shape and texts_per_second"),
        (b"model,speed\n2/128,3\n", ":1: other columns"),
        (b"shape,texts_per_second\n2/128,3\nbig,4\n", ":3: big, 4. Accepted"),
        (b"shape,texts_per_second\n2/128,-3\n", ":2: 2/128, -3"),
        (b"shape,texts_per_second\n2/128,nan\n", ":2: 2/128, nan"),
        (b"shape,texts_per_second\n2/128\n", ":2: 2/128, None"),
        (b"shape,texts_per_second\n2/128,3\ntiny,4\n", ":3: 2/128 a second time"),
        (b"\xff\xfe", ": not UTF-8: "),
    ],
)
def test_what_is_no_file_of_speeds_is_named_with_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "speeds.csv"
    file.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_speeds(file)
    assert str(caught.value).startswith(f"{file}{message}")
    with pytest.raises(UserError, match="there is no such file"):
        read_speeds(tmp_path / "none.csv")
