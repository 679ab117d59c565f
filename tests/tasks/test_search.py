"""Successive halving over a grid's cells, and its replay on grids that were run in full."""

from dataclasses import replace

import pytest

from weixing.errors import UserError
from weixing.tasks.cells import PUBLISHED, Cell, grid
from weixing.tasks.results import Result
from weixing.tasks.search import Replay, halving, in_words, known_record, replay, searched

PUBLISHED_CELLS = grid(PUBLISHED.epochs, PUBLISHED.batch_sizes, PUBLISHED.learning_rates, [7])


def settings(cells: list[Cell]) -> list[tuple[int, float]]:
    return [(cell.batch_size, cell.learning_rate) for cell in cells]


def result(cell: Cell, score: float, model: str = "tiny", task: str = "reviews") -> Result:
    return Result(
        model, task, "dev", "accuracy", score, cell.epochs, cell.batch_size, cell.learning_rate, cell.seed,
        seconds=1.0, steps=10, correct=1, total=2, details={"weights": "0123"},
    )  # fmt: skip


def test_every_setting_has_the_fewest_epochs_the_better_half_more_and_the_better_half_of_these_the_most() -> None:
    better = {3e-4: 3.0, 1e-4: 2.0, 3e-5: 1.0}  # by learning rate; batch 32 before batch 64

    def score(cell: Cell) -> float:
        return better[cell.learning_rate] - cell.batch_size / 1000

    first, second, third = halving(PUBLISHED_CELLS, score)
    assert [{cell.epochs for cell in some} for some in (first, second, third)] == [{3}, {5}, {8}]
    assert settings(first) == settings([cell for cell in PUBLISHED_CELLS if cell.epochs == 3])
    assert sorted(settings(second)) == [(32, 1e-4), (32, 3e-4), (64, 3e-4)]
    assert settings(third) == [(32, 3e-4), (64, 3e-4)]


def test_a_round_is_ranked_by_its_own_scores() -> None:
    """What was best with few epochs is not kept against what is better with more."""

    def score(cell: Cell) -> float:
        return -cell.learning_rate if cell.epochs == 3 else cell.learning_rate

    _, second, third = halving(grid([3, 5, 8], [32], [1e-5, 2e-5, 3e-5, 4e-5], [7]), score)
    assert settings(second) == [(32, 1e-5), (32, 2e-5)]
    assert settings(third) == [(32, 2e-5)]


def test_several_seeds_count_by_their_mean_and_a_failed_cell_not_at_all() -> None:
    cells = grid([1, 2], [16], [1e-5, 2e-5, 3e-5], [7, 8])
    scores = {(1e-5, 7): 9.0, (1e-5, 8): 1.0, (2e-5, 7): 6.0, (2e-5, 8): 5.0, (3e-5, 8): 5.2}
    first, second = halving(cells, lambda cell: scores.get((cell.learning_rate, cell.seed)))
    assert len(first) == 6
    assert second == [cell for cell in cells if cell.epochs == 2 and cell.learning_rate != 1e-5]


def test_of_equal_settings_the_first_in_the_grid_is_kept() -> None:
    _, second, third = halving(PUBLISHED_CELLS, lambda cell: 50.0)
    assert settings(second) == [(32, 3e-5), (32, 1e-4), (32, 3e-4)]
    assert settings(third) == [(32, 3e-5), (32, 1e-4)]


def test_one_number_of_epochs_is_refused() -> None:
    with pytest.raises(UserError, match="--search: a search over one number of epochs"):
        next(halving(grid([3], [32, 64], [1e-4], [7]), lambda cell: 0.0))


def test_what_it_runs_is_told_in_cells_and_epochs() -> None:
    run = [cell for some in halving(PUBLISHED_CELLS, lambda cell: 0.0) for cell in some]
    told = searched("halving", run, PUBLISHED_CELLS)
    assert (told.cells_run, told.cells, told.epochs_run, told.epochs) == (11, 18, 6 * 3 + 3 * 5 + 2 * 8, 6 * 16)


def test_a_replay_finds_what_the_search_would_have_found() -> None:
    """The best cell of all has a setting that is the worst with three epochs."""
    scores = {cell: 80 + 1000 * cell.learning_rate + cell.epochs / 100 for cell in PUBLISHED_CELLS}
    hidden = Cell(8, 32, 3e-5, 7)
    found = max(scores.values())
    results = [result(cell, score) for cell, score in (scores | {hidden: 95.0}).items()]
    easy = [result(cell, score, task="easy") for cell, score in scores.items()]
    (hard_one, easy_one) = replay([*results, *easy])
    assert hard_one == Replay("tiny", "reviews", 7, 18, 11, 96, 49, best=95.0, found=found)
    assert easy_one == Replay("tiny", "easy", 7, 18, 11, 96, 49, best=found, found=found)
    assert in_words([hard_one, easy_one]) == (
        "in 1 of 2 complete grids halving found the best score, with 51 % of the epochs; where it did not, it was "
        f"{95 - found:.2f} points below ({95 - found:.2f} at most)"
    )


def test_each_seed_is_a_grid_and_a_grid_with_a_gap_is_none() -> None:
    cells = grid([1, 2], [16], [1e-4, 3e-4], [7, 8])
    results = [result(cell, 50.0 + number) for number, cell in enumerate(cells)]
    assert [one.seed for one in replay(results)] == [7, 8]
    assert [one.seed for one in replay(results[:-1])] == [7]
    with pytest.raises(UserError, match="there is no complete grid here"):
        replay([replace(one, seed=number) for number, one in enumerate(results)])


def test_the_record_is_of_searches_that_can_be() -> None:
    for one in known_record():
        assert one.found <= one.best <= 100
        assert one.cells_run < one.cells
        assert one.epochs_run < one.epochs
