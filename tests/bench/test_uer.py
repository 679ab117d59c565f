"""What is read off UER-py's logs, and the grid that follows from it."""

import pytest

from bench.finetune import grid
from bench.measure import Measured
from bench.uer import Speed, Uer, epoch_seconds
from weixing.errors import UserError

TRAINING = """\
[2026-01-02 03:04:05,000 INFO] Added key: store_based_barrier_key
[2026-01-02 03:04:06,000 INFO] |        1/1000000000 steps|   500.00 tokens/s| loss    9.99| acc: 0.000
[2026-01-02 03:04:07,000 INFO] |        2/1000000000 steps|  1000.00 tokens/s| loss    9.98| acc: 0.000
[2026-01-02 03:04:08,000 INFO] |        3/1000000000 steps|  3000.00 tokens/s| loss    9.97| acc: 0.001
"""

CLASSIFIER = """\
[2026-01-02 23:59:50,000 INFO] Batch size: 32
[2026-01-02 23:59:58,500 INFO] Start training.
[2026-01-02 23:59:59,250 INFO] Epoch id: 1, Training steps: 1, Avg loss: 0.693
[2026-01-03 00:00:08,750 INFO] Epoch id: 1, Training steps: 2, Avg loss: 0.680
[2026-01-03 00:00:10,000 INFO] Confusion matrix:
tensor([[1, 2],
        [3, 4]])
[2026-01-03 00:00:10,250 INFO] Acc. (Correct/Total): 0.5000 (5/10)
"""


def test_speed_leaves_out_the_first_report_and_weighs_the_others_by_time():
    speed = Speed(tokens=3_000, seconds=4.0)
    assert [speed.enough_after(line) for line in TRAINING.splitlines()] == [False, False, False, True]
    assert speed.steps == 2
    assert speed.measured_seconds == pytest.approx(3 + 1)
    assert speed.tokens_per_second == pytest.approx(6_000 / 4)


def test_a_slow_first_report_is_never_enough():
    speed = Speed(tokens=3_000, seconds=0.1)
    assert not speed.enough_after("| 1/ 10 steps|    1.00 tokens/s| loss    9.99| acc: 0.000")


def test_training_and_dev_evaluation_are_told_apart_over_midnight():
    assert epoch_seconds(CLASSIFIER.splitlines()) == pytest.approx((10.25, 1.5))


def test_a_log_that_ends_too_early_is_refused():
    with pytest.raises(ValueError, match="no log of one epoch"):
        epoch_seconds(CLASSIFIER.splitlines()[:4])


def test_the_grid_counts_48_epochs_at_each_batch_size_and_an_evaluation_a_cell():
    cells = [
        Measured(values={"epoch_and_dev_seconds": [11.0, 22.0], "dev_seconds": [1.0, 2.0]}),
        Measured(values={"epoch_and_dev_seconds": [6.0, 12.0], "dev_seconds": [1.0, 2.0]}),
    ]
    first = 48 * 10 + 9 * 1 + 48 * 5 + 9 * 1
    assert grid(cells).values == {"seconds": [first, 2 * first]}


def test_the_grid_of_a_side_that_evaluates_after_each_epoch_counts_each():
    assert grid([Measured(values={"epoch_and_dev_seconds": [11.0]})]).values == {"seconds": [48 * 11.0]}


def test_the_grid_of_a_side_that_failed_fails():
    assert grid([Measured(failure="why")]).failure == "why"


def test_a_folder_that_is_no_checkout_is_refused_by_name(tmp_path):
    with pytest.raises(UserError, match=r"preprocess\.py"):
        Uer(tmp_path, inputs=None)
