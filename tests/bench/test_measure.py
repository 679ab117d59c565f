"""Interleaving, medians and ratios, on sides made up for it."""

import pytest

from bench.children import SideFailed
from bench.measure import Check, Measured, Reading, Side, bound, interleave, ratio, straightness, summary


def scripted(name, values, log, rounds=1_000):
    """A side that gives these values in turn, fails where one is an exception, and notes every run in `log`."""
    left = list(values)

    def run():
        log.append(name)
        value = left.pop(0)
        if isinstance(value, Exception):
            raise value
        return Reading(f"{name} --steps {value}", {"speed": value})

    return Side(name, run, rounds)


def test_every_round_runs_each_side_once_in_turn():
    log = []
    measured = interleave("case", [scripted("a", [1, 2, 3], log), scripted("b", [4, 5, 6], log)], 3)
    assert log == ["a", "b", "a", "b", "a", "b"]
    assert measured["a"].values == {"speed": [1, 2, 3]}
    assert measured["b"].command == "b --steps 6"


def test_a_side_of_fewer_rounds_leaves_the_later_ones_out():
    log = []
    interleave("case", [scripted("a", [1, 2, 3], log), scripted("slow", [4], log, rounds=1)], 3)
    assert log == ["a", "slow", "a", "a"]


@pytest.mark.parametrize("failure", [SideFailed("the last lines"), ZeroDivisionError("no steps")])
def test_a_side_that_fails_keeps_what_it_gave_and_the_others_go_on(failure):
    log = []
    measured = interleave("case", [scripted("bad", [1, failure], log), scripted("good", [4, 5, 6], log)], 3)
    assert log == ["bad", "good", "bad", "good", "good"]
    assert measured["bad"].values == {"speed": [1]}
    assert str(failure) in measured["bad"].failure
    assert measured["good"].values == {"speed": [4, 5, 6]}
    assert measured["good"].failure is None


def test_a_summary_has_median_range_and_relative_spread():
    assert summary([10.0, 30.0, 20.0]) == {
        "median": 20.0, "min": 10.0, "max": 30.0, "spread": 1.0, "values": [10.0, 30.0, 20.0],
    }  # fmt: skip


def test_a_ratio_is_of_medians_and_its_range_is_of_the_runs_of_a_round():
    ours, theirs = Measured(values={"speed": [10, 20, 30]}), Measured(values={"speed": [2, 2, 5]})
    check = ratio("what", ours, theirs, "speed", at_least=6)
    assert (check.value, check.low, check.high) == (10, 5, 10)
    assert check.met is True


def test_targets_are_met_from_the_right_side():
    side = Measured(values={"memory_mb": [400.0]})
    assert bound("what", side, "memory_mb", "MB", at_most=500).met is True
    assert bound("what", side, "memory_mb", "MB", at_most=300).met is False
    assert bound("what", side, "memory_mb", "MB", at_least=500).met is False
    assert bound("what", side, "memory_mb", "MB").met is None


@pytest.mark.parametrize("missing", [None, Measured(failure="it failed")])
def test_a_ratio_without_one_of_its_sides_has_a_target_and_no_value(missing):
    check = ratio("what", Measured(values={"speed": [1.0]}), missing, "speed", at_least=5, peer="UER-py")
    assert check == Check("what", None, target=5, peer="UER-py")
    assert check.as_json()["met"] is None


def test_points_on_a_line_are_straight_and_others_are_not():
    slope, intercept, r_squared = straightness([1, 2, 4], [5, 7, 11])
    assert (slope, intercept, r_squared) == pytest.approx((2, 3, 1))
    assert straightness([1, 2, 3, 4], [1, 4, 9, 16])[2] < 0.99
