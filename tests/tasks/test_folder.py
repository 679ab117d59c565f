"""The folder of a grid: its order, its best model, and what a kill leaves behind."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from weixing.errors import UserError
from weixing.tasks.cells import Cell, grid
from weixing.tasks.folder import GridFolder, grid_folder, require_folder
from weixing.tasks.results import Result, read_results

CELLS = grid([1, 2], [16], [1e-4, 3e-4], [7])
SETTINGS = {"model": "tiny", "threads": 1}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[GridFolder]:
    with grid_folder(tmp_path / "out", {}, SETTINGS, {"machine": "this"}, CELLS) as folder:
        yield folder


def add(folder: GridFolder, cell: Cell, score: float) -> None:
    result = Result(
        "tiny", "reviews", "dev", "accuracy", score, cell.epochs, cell.batch_size, cell.learning_rate, cell.seed,
        seconds=1.0, steps=10, correct=1, total=2,
    )  # fmt: skip
    wanted = score >= folder.wanted()

    def export(model: Path) -> None:
        (model / "config.json").write_text(cell.name, encoding="utf-8")

    folder.add(result, [{"index": 0, "predicted": cell.name}], export if wanted else None)


def model_of(folder: GridFolder) -> str:
    (result,) = read_results([folder.out / "model" / "result.json"])
    assert (folder.out / "model" / "config.json").read_text(encoding="utf-8") == result.cell.name
    return result.cell.name


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]])
def test_lines_and_best_model_do_not_depend_on_the_order_in_which_cells_end(folder: GridFolder, order) -> None:
    scores = [80.0, 90.0, 90.0, 85.0]
    for number in order:
        add(folder, CELLS[number], scores[number])
        assert folder.best
        assert model_of(folder) == folder.best.cell.name
        assert read_results([folder.out]) == folder.results
    assert [result.cell for result in folder.results] == CELLS
    assert model_of(folder) == CELLS[1].name
    assert sorted(file.stem for file in (folder.out / "predictions").iterdir()) == sorted(c.name for c in CELLS)


def test_results_of_cells_outside_of_the_grid_come_first_and_stay(folder: GridFolder, tmp_path: Path) -> None:
    for number in (3, 0):
        add(folder, CELLS[number], 80.0)
    before = require_folder(tmp_path / "out", overwrite=False, resume=True)
    smaller = GridFolder(folder.out, CELLS[:2], read_results([folder.out]))
    assert before == SETTINGS | {"machine": "this"}
    assert [result.cell for result in smaller.results] == [CELLS[3], CELLS[0]]


def test_a_lost_model_and_one_of_a_cell_without_a_result_are_seen(folder: GridFolder) -> None:
    add(folder, CELLS[0], 80.0)
    assert not folder.lacks_the_model
    add(folder, CELLS[1], 90.0)
    assert not folder.lacks_the_model
    without = GridFolder(folder.out, CELLS, [result for result in folder.results if result.cell != CELLS[1]])
    assert without.lacks_the_model
    (folder.out / "model" / "result.json").unlink()
    assert folder.lacks_the_model


def test_what_a_killed_process_left_half_made_goes_and_predictions_without_a_result(tmp_path: Path) -> None:
    out, dead = tmp_path / "out", 2**22 + 1  # no process has this number
    with grid_folder(out, {}, SETTINGS, {}, CELLS) as folder:
        add(folder, CELLS[0], 80.0)
    stray = out / "predictions" / f"{CELLS[1].name}.jsonl"
    stray.write_text("{}\n")
    half = [out / f".model.writing-{dead}", out / f".model.replaced-{dead}", out / f".work.writing-{dead}"]
    for place in half:
        place.mkdir()
        (place / "part").touch()
    half.append(out / "predictions" / f".{CELLS[1].name}.jsonl.writing-{dead}")
    half[-1].touch()
    before = require_folder(out, overwrite=False, resume=True)
    with grid_folder(out, before, SETTINGS, {}, CELLS) as folder:
        assert not any(place.exists() for place in [*half, stray])
        assert [result.cell for result in folder.results] == CELLS[:1]
        assert (out / "predictions" / f"{CELLS[0].name}.jsonl").exists()


@pytest.mark.parametrize("half_made", [f".run.json.writing-{2**22 + 1}", None])
def test_killed_before_its_settings_were_written_it_begins_anew(tmp_path: Path, half_made: str | None) -> None:
    out = tmp_path / "out"
    out.mkdir()
    if half_made:
        (out / half_made).touch()
    for resume in (False, True):
        assert require_folder(out, overwrite=False, resume=resume) == {}


def test_the_place_for_work_is_empty_and_gone_in_the_end(tmp_path: Path) -> None:
    with grid_folder(tmp_path / "out", {}, SETTINGS, {}, CELLS) as folder:
        (folder.workplace() / "something").touch()
        place = folder.workplace()
        assert list(place.iterdir()) == []
        assert place.parent == tmp_path / "out"
    assert not place.exists()


def test_two_processes_do_not_work_in_one_folder(folder: GridFolder, tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match="another process is at work in this folder"),
        grid_folder(tmp_path / "out", SETTINGS, SETTINGS, {}, CELLS),
    ):
        pass


@pytest.mark.parametrize("changed", [{"threads": 2}, {"threads": None}, {"model": "mini"}, {"patience": 2}])
def test_other_settings_are_refused_and_change_nothing(folder: GridFolder, tmp_path: Path, changed) -> None:
    (name,) = changed
    before = json.loads((tmp_path / "out" / "run.json").read_text())
    with (
        pytest.raises(UserError, match=f"the earlier cells had {name} .*Resume with the same settings"),
        grid_folder(tmp_path / "out", before, SETTINGS | changed, {}, CELLS),
    ):
        pass
    assert json.loads((tmp_path / "out" / "run.json").read_text()) == before


def test_a_rerun_without_resume_says_what_is_there_and_what_to_do(folder: GridFolder, tmp_path: Path) -> None:
    add(folder, CELLS[0], 80.0)
    with pytest.raises(UserError) as caught:
        require_folder(tmp_path / "out", overwrite=False, resume=False)
    assert str(caught.value) == (
        f"{tmp_path / 'out'}: an earlier run left 1 of its results here. "
        "Go on with it (--resume), name another --out, or replace it (--overwrite)."
    )


def test_overwriting_keeps_the_old_settings_until_all_else_is_gone(tmp_path: Path, monkeypatch) -> None:
    """Killed in between, the folder is still known as one of finetune."""
    out = tmp_path / "out"
    with grid_folder(out, {}, SETTINGS, {}, CELLS) as folder:
        add(folder, CELLS[0], 80.0)

    def killed(*paths) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt), grid_folder(out, {}, SETTINGS | {"threads": 2}, {}, CELLS, True):
            pass
    assert sorted(path.name for path in out.iterdir()) == ["run.json"]
    assert require_folder(out, overwrite=False, resume=True) == SETTINGS


def test_a_grid_that_another_process_made_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    before = require_folder(out, overwrite=False, resume=False)  # nothing is there yet
    with grid_folder(out, {}, SETTINGS, {}, CELLS) as folder:
        add(folder, CELLS[0], 80.0)
    with (
        pytest.raises(UserError, match="an earlier run left 1 of its results here"),
        grid_folder(out, before, SETTINGS, {}, CELLS),
    ):
        pass
    assert read_results([out])[0].cell == CELLS[0]
