"""Reading ahead promises the same in the same order, in another thread, and errors where they would have come."""

import threading

import pytest

from weixing.training.ahead import ReadAhead


@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("start", [0, 7])
def test_steps_get_what_is_read_for_them_wherever_they_start(steps, start):
    with ReadAhead(lambda step: step * step, steps) as ahead:
        assert [ahead(step) for step in range(start, start + 20)] == [step * step for step in range(start, start + 20)]


def test_the_next_steps_are_read_by_a_thread_of_its_own_while_this_one_goes_on():
    read = {step: threading.Event() for step in range(10)}
    threads = set()

    def note(step: int) -> int:
        threads.add(threading.current_thread())
        read[step].set()
        return step

    with ReadAhead(note, 2) as ahead:
        assert ahead(0) == 0
        assert read[2].wait(timeout=10)
        assert not read[3].is_set()
        (thread,) = threads
        assert thread is not threading.current_thread()
    assert not thread.is_alive()


def test_not_ahead_everything_is_read_by_the_thread_that_asks():
    threads = []
    with ReadAhead(lambda step: threads.append(threading.current_thread()), 0) as ahead:
        ahead(0)
    assert threads == [threading.current_thread()]


def test_an_error_is_raised_at_the_step_that_it_belongs_to():
    def read(step: int) -> int:
        if step == 2:
            raise OSError("the disk is gone")
        return step

    with ReadAhead(read, 2) as ahead:
        assert [ahead(0), ahead(1)] == [0, 1]
        with pytest.raises(OSError, match="the disk is gone"):
            ahead(2)
