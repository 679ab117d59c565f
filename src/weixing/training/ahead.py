"""What steps need from the disk, read before they ask, by a thread of its own."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

Read = TypeVar("Read")


class ReadAhead(Generic[Read]):
    """Reads for the steps to come while the step under way computes; a context manager that ends the thread.

    Args:
        read: what a step needs, by the step's number alone.
        steps: how many steps ahead; 0: no thread, everything is read when it is asked for.
    """

    def __init__(self, read: Callable[[int], Read], steps: int) -> None:
        self._read, self._steps = read, steps
        self._pool = ThreadPoolExecutor(1, "weixing-reader")  # has no thread before its first work
        self._coming: deque[Future[Read]] = deque()

    def __call__(self, step: int) -> Read:
        """What `read` gives, or raises, for `step`; after the first call, steps must come in order."""
        if not self._steps:
            return self._read(step)
        for coming in range(step + len(self._coming), step + self._steps + 1):
            self._coming.append(self._pool.submit(self._read, coming))
        return self._coming.popleft().result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
