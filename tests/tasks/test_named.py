"""Which task the options of a command mean."""

from pathlib import Path

import pytest

from weixing.errors import UserError
from weixing.tasks.named import name_of_files, open_task
from weixing.tasks.rows import Layout


def test_a_task_of_ones_own_is_custom_and_the_built_in_ones_are_complete(task_files: tuple[Path, Path]) -> None:
    train, dev = task_files
    by_files, by_name = open_task(train=train, dev=dev), open_task("tiny", train.parents[1])
    assert by_files == by_name
    assert (by_files.name, by_files.data, by_files.data_note) == ("tiny", "custom", "")
    assert open_task("pairs").data == "complete"


def test_files_are_called_by_their_folder_or_by_themselves() -> None:
    assert name_of_files(Path("reviews/train.tsv")) == "reviews"
    assert name_of_files(Path("reviews.tsv")) == "reviews"


def test_one_of_the_six_is_looked_for_in_data_under_its_own_rules(tmp_path: Path) -> None:
    folder = tmp_path / "lcqmc"
    folder.mkdir()
    (folder / "test.txt").write_text("甲\t乙\t1\n丙\t丁\t0\n", encoding="utf-8")
    (folder / "dev.txt").write_text("甲\t乙\t1\n", encoding="utf-8")
    task = open_task("lcqmc", tmp_path)
    assert (task.name, task.data) == ("lcqmc", "partial")
    assert task.data_note == "train is test.txt, 2 rows, in place of 238,766; dev has 1 of 8,802 rows (dev.txt)"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "which task is meant?"),
        ({"name": "pairs", "train": Path("a"), "dev": Path("b")}, "which task is meant?"),
        ({"train": Path("a")}, "which task is meant?"),
        ({"name": "tnews"}, "where are the data of tnews? Accepted: --data DIR with a folder tnews."),
        ({"name": "pairs", "layout": Layout(kind="number")}, "the columns and labels of pairs are known"),
        (
            {"name": "none"},
            "there is no task 'none'. Accepted: book_review, chnsenticorp, lcqmc, tnews, iflytek, ocnli,",
        ),
    ],
)
def test_options_that_mean_no_task_are_refused(options: dict, message: str) -> None:
    with pytest.raises(UserError) as caught:
        open_task(**options)
    assert message in str(caught.value)


def test_known_columns_are_not_given_anew(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the columns and labels of tnews are known"):
        open_task("tnews", tmp_path, layout=Layout("sentence"))
