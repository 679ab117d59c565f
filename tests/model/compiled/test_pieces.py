"""The pieces that cores share promise to hold every number that has a gradient, each once, and little else."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from weixing.model.compiled.parameters import PIECE, SHORT_GAP, Weights

ROWS, WIDTH = 400, 3


def covered(parts: list[slice], size: int) -> np.ndarray:
    """How often each number is in a piece."""
    times = np.zeros(size, int)
    for part in parts:
        times[part] += 1
    return times


@given(st.sets(st.integers(0, ROWS - 1), min_size=1))
def test_pieces_of_chosen_rows_hold_these_and_short_gaps_alone(rows):
    chosen = np.array(sorted(rows))
    module = nn.Linear(WIDTH, ROWS)
    weights = Weights(module, torch.float32, {"weight": chosen})
    times = covered(weights.pieces[module.weight], ROWS * WIDTH).reshape(ROWS, WIDTH)
    assert (times[chosen] == 1).all()
    assert times.max() == 1
    for row in np.flatnonzero(times[:, 0]):
        assert np.abs(chosen - row).min() < SHORT_GAP
        assert chosen[0] <= row <= chosen[-1]
    assert (covered(weights.pieces[module.bias], ROWS) == 1).all()


def test_pieces_of_a_large_matrix_are_small_and_hold_all_of_it():
    module = nn.Linear(1_000, 600, bias=False)
    parts = Weights(module, torch.float32).pieces[module.weight]
    assert (covered(parts, 600_000) == 1).all()
    assert max(part.stop - part.start for part in parts) <= PIECE
