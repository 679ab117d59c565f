"""Threads that compute side by side, each on one core: compiled loops and torch leave Python's lock alone."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from typing import TypeVar

import torch

MOST = 16  # each has gradients of its own, 0.4 GB at 12/768

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """A pool of threads; torch uses one core in each of them, or more where there are many cores.

    Args:
        count: of threads; by default as many as torch uses here (cores, or OMP_NUM_THREADS), but no more than MOST.
    """

    def __init__(self, count: int | None = None) -> None:
        threads = _OUTSIDE.threads()
        self.count = count or min(threads, MOST)
        each = max(1, threads // self.count)
        # Its threads begin with the first work.
        self._pool = ThreadPoolExecutor(self.count, "weixing-worker", torch.set_num_threads, (each,))

    def map(self, work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Results in the order of `items`, `count` of which are in work at a time; the first error is raised."""
        if self.count == 1 or len(items) == 1:
            return [work(item) for item in items]
        return list(self._pool.map(work, items))


def evenly(sizes: Sequence[int], parts: int) -> list[slice]:
    """Cut a sequence of things of these sizes into at most `parts` runs of about the same size each, none empty."""
    total, done, start = sum(sizes), 0, 0
    runs: list[slice] = []
    for index, size in enumerate(sizes):
        done += size
        if done * parts >= total * (len(runs) + 1):
            runs.append(slice(start, index + 1))
            start = index + 1
    return runs


class _Outside:
    """How many threads torch uses where no one is in `one_thread`.

    Torch has a count for each thread, and one that new threads begin with, which is what was set last by any: while
    someone is in `one_thread`, a thread that comes anew reads 1.
    """

    def __init__(self) -> None:
        self._lock, self._inside, self._count = Lock(), 0, 1

    def threads(self) -> int:
        """The count."""
        with self._lock:
            return self._count if self._inside else torch.get_num_threads()

    def enter(self) -> None:
        """One thread for the caller."""
        with self._lock:
            if not self._inside:
                self._count = torch.get_num_threads()
            self._inside += 1
            torch.set_num_threads(1)

    def leave(self) -> None:
        """The count again."""
        with self._lock:
            self._inside -= 1
            torch.set_num_threads(self._count)


_OUTSIDE = _Outside()


@contextmanager
def one_thread(workers: Workers | None) -> Iterator[None]:
    """Where there are workers, torch uses one core outside of them: its own idle threads would spin.

    Several threads may be inside at a time, each of them once.
    """
    if workers is None:
        yield
        return
    _OUTSIDE.enter()
    try:
        yield
    finally:
        _OUTSIDE.leave()
