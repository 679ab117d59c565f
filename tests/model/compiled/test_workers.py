"""Workers: results in order, errors raised, one core each; runs of about the same size."""

import threading
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from weixing.model.compiled.workers import Workers, evenly, one_thread


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("items", [0, 1, 2, 7])
def test_results_come_in_the_order_of_the_items(count, items):
    def slowest_first(item: int) -> int:
        time.sleep(0.002 * (items - item))
        return item * item

    assert Workers(count).map(slowest_first, range(items)) == [item * item for item in range(items)]


def test_items_are_in_work_side_by_side_but_no_more_than_there_are_workers():
    both, at_work, most, lock = threading.Barrier(2, timeout=30), 0, 0, threading.Lock()

    def work(item: int) -> None:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        both.wait()  # passes only if two are at work at once
        with lock:
            at_work -= 1

    Workers(2).map(work, range(6))
    assert most == 2


@pytest.mark.parametrize("count", [1, 2])
def test_the_first_error_is_raised_and_the_workers_work_on(count):
    def fail(item: int) -> int:
        if item in (2, 4):
            raise ValueError(f"item {item}")
        return item

    workers = Workers(count)
    with pytest.raises(ValueError, match="item 2"):
        workers.map(fail, range(6))
    assert workers.map(fail, [0, 1, 3]) == [0, 1, 3]


def test_one_worker_or_one_item_needs_no_other_thread():
    caller = threading.get_ident()
    assert Workers(1).map(lambda _: threading.get_ident(), range(3)) == [caller] * 3
    assert Workers(2).map(lambda _: threading.get_ident(), [0]) == [caller]
    assert caller not in Workers(2).map(lambda _: threading.get_ident(), range(4))


def test_torch_uses_one_core_in_each_worker_and_beside_them_then_as_many_as_before():
    torch.set_num_threads(2)  # of this test alone: see tests/conftest.py
    assert Workers().count == 2
    workers = Workers(2)
    with one_thread(workers):
        assert torch.get_num_threads() == 1
        assert workers.map(lambda _: torch.get_num_threads(), range(4)) == [1] * 4
    assert torch.get_num_threads() == 2
    with pytest.raises(RuntimeError), one_thread(workers):
        raise RuntimeError
    assert torch.get_num_threads() == 2
    with one_thread(None):
        assert torch.get_num_threads() == 2


def test_several_threads_inside_leave_torch_as_the_first_of_them_found_it():
    torch.set_num_threads(2)  # of this test alone
    workers, inside, left, counts = Workers(2), threading.Event(), threading.Event(), []

    def second() -> None:
        with one_thread(workers):  # torch tells a thread that comes now that it uses 1
            counts.append(torch.get_num_threads())
            counts.append(Workers().count)
            inside.set()
            assert left.wait(30)
        counts.append(torch.get_num_threads())

    thread = threading.Thread(target=second)
    with one_thread(workers):
        thread.start()
        assert inside.wait(30)
    counts.append(torch.get_num_threads())
    left.set()
    thread.join()
    third = threading.Thread(target=lambda: counts.append(torch.get_num_threads()))
    third.start()
    third.join()
    assert counts == [1, 2, 2, 2, 2]
    with one_thread(workers):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


@given(st.lists(st.integers(1, 1_000), max_size=60), st.integers(1, 9))
def test_runs_cover_everything_in_order_none_is_empty_and_none_far_above_its_share(sizes, parts):
    runs = evenly(sizes, parts)
    assert [index for run in runs for index in range(len(sizes))[run]] == list(range(len(sizes)))
    assert len(runs) <= parts
    for run in runs:
        assert sizes[run]
        assert sum(sizes[run]) < sum(sizes) / parts + max(sizes[run])
