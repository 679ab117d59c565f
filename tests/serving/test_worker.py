"""The queue of a model: what is computed together, in which order, what is refused, and who is answered with what."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from threading import Event, current_thread
from typing import Any, ClassVar

import pytest

from weixing.errors import UserError
from weixing.serving.errors import ApiError
from weixing.serving.limits import Limits
from weixing.serving.metrics import Metrics
from weixing.serving.work import Answer
from weixing.serving.worker import Job, Worker

SECONDS = 10


@dataclass(frozen=True)
class Double:
    """Twice each number, as many tokens as its value; notes what it was given together, waits while it is held up.

    A number below 0 is refused, 13 breaks the program.
    """

    mark: str
    seen: list = None  # type: ignore[assignment]
    hold: Event = None  # type: ignore[assignment]
    name: ClassVar[str] = "double"

    def __hash__(self) -> int:
        return hash(self.mark)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Double) and other.mark == self.mark

    def compute(self, model: Any, items: Sequence[int], batch_tokens: int) -> list[Answer | UserError]:
        assert model == "model"
        assert current_thread().name == "weixing-serve-m"
        self.seen.append((self.mark, list(items)))
        if self.hold:
            assert self.hold.wait(SECONDS)
        if 13 in items:
            raise ZeroDivisionError
        return [UserError(f"{item} is below 0") if item < 0 else Answer(2 * item, item) for item in items]


def in_loop(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), SECONDS))


def worker(**limits: Any) -> Worker:
    given = {"batch_window_seconds": 0.05, "batch_tokens": 100, "queue_tokens": 1_000} | limits
    return Worker("m", lambda: "model", Limits(**given), Metrics())


def job(task: Double, *items: int, cost: int = 1) -> Job:
    return Job(task, items, [cost] * len(items), "texts")


async def values(answer: "asyncio.Future[list[Answer]]") -> list[int]:
    return [entry.value for entry in await answer]


def test_jobs_that_wait_are_computed_together_and_each_gets_its_own() -> None:
    async def test() -> None:
        seen: list = []
        busy = worker()
        a, b = Double("a", seen), Double("b", seen)
        answers = [busy.submit(job(task, *items)) for task, items in [(a, (1, 2)), (b, (3,)), (a, (4,)), (b, (5, 6))]]
        assert await asyncio.gather(*map(values, answers)) == [[2, 4], [6], [8], [10, 12]]
        assert seen == [("a", [1, 2, 4]), ("b", [3, 5, 6])]

    in_loop(test)


def test_no_job_waits_longer_than_the_window_and_none_when_there_is_enough() -> None:
    async def test() -> None:
        seen: list = []
        busy = worker(batch_window_seconds=1000, batch_tokens=4)
        assert await values(busy.submit(job(Double("a", seen), 1, 2, cost=2))) == [2, 4]  # enough
        quick = worker(batch_window_seconds=0)
        assert await values(quick.submit(job(Double("a", seen), 3))) == [6]

    in_loop(test)


def test_a_large_job_is_computed_in_parts_and_lets_others_have_their_turn() -> None:
    async def test() -> None:
        seen: list = []
        hold = Event()
        busy = worker(batch_tokens=4, batch_window_seconds=0)
        first = busy.submit(job(Double("hold", seen, hold), 0))
        while not seen:
            await asyncio.sleep(0.001)
        a = Double("a", seen)
        large, small = busy.submit(job(a, *range(1, 11))), busy.submit(job(a, 50, 51))
        hold.set()
        assert await values(large) == [2 * number for number in range(1, 11)]
        assert (await values(first), await values(small)) == ([0], [100, 102])
        assert [items for mark, items in seen if mark == "a"] == [[1, 2, 3, 4], [50, 51, 5, 6], [7, 8, 9, 10]]

    in_loop(test)


def test_an_item_larger_than_a_batch_is_computed_alone() -> None:
    async def test() -> None:
        seen: list = []
        busy = worker(batch_tokens=4)
        answers = [busy.submit(job(Double("a", seen), *items, cost=9)) for items in [(1, 2), (3,)]]
        assert await asyncio.gather(*map(values, answers)) == [[2, 4], [6]]
        assert [items for _, items in seen] == [[1], [3], [2]]

    in_loop(test)


def test_what_waits_is_bounded_and_the_refusal_says_when_to_come_back() -> None:
    async def test() -> None:
        seen: list = []
        hold = Event()
        busy = worker(queue_tokens=100, batch_window_seconds=0)
        await busy.submit(job(Double("a", seen), 1, cost=10))
        busy._tokens, busy._seconds = 30.0, 3.0  # 10 tokens a second
        first = busy.submit(job(Double("hold", seen, hold), 1))
        while len(seen) < 2:
            await asyncio.sleep(0.001)
        queued = [busy.submit(job(Double("a", seen), 1, cost=200))]  # larger than the queue, but nothing waits
        with pytest.raises(ApiError) as refusal:
            busy.submit(job(Double("a", seen), 1))
        assert refusal.value.status == 429
        assert refusal.value.headers == {"Retry-After": "20"}
        assert refusal.value.accepted == "at most 100 waiting tokens"
        queued[0].cancel()
        await asyncio.sleep(0)
        queued = [busy.submit(job(Double("a", seen), 7, cost=50)) for _ in range(2)]
        with pytest.raises(ApiError, match="100 tokens are waiting"):
            busy.submit(job(Double("a", seen), 1))
        hold.set()
        assert await asyncio.gather(*map(values, [first, *queued])) == [[2], [14], [14]]

    in_loop(test)


def test_who_would_wait_longer_than_anyone_waits_is_refused_at_once() -> None:
    async def test() -> None:
        seen: list = []
        hold = Event()
        busy = worker(answer_seconds=5, batch_window_seconds=0)
        first = busy.submit(job(Double("hold", seen, hold), 1))
        while not seen:
            await asyncio.sleep(0.001)
        second = busy.submit(job(Double("a", seen), 2, cost=60))
        busy._tokens, busy._seconds = 10.0, 1.0
        with pytest.raises(ApiError) as refusal:
            busy.submit(job(Double("a", seen), 3))
        assert refusal.value.headers == {"Retry-After": "6"}
        hold.set()
        assert (await values(first), await values(second)) == ([2], [4])

    in_loop(test)


def test_a_job_that_is_cancelled_before_its_turn_is_never_computed() -> None:
    async def test() -> None:
        seen: list = []
        hold = Event()
        busy = worker(batch_window_seconds=0)
        first = busy.submit(job(Double("hold", seen, hold), 1))
        while not seen:
            await asyncio.sleep(0.001)
        gone, stays = (busy.submit(job(Double("a", seen), item)) for item in (2, 3))
        gone.cancel()
        await asyncio.sleep(0)
        hold.set()
        assert (await values(first), await values(stays)) == ([2], [6])
        assert seen == [("hold", [1]), ("a", [3])]
        assert busy._queued == 0

    in_loop(test)


def test_what_is_wrong_with_one_job_does_not_touch_the_others() -> None:
    async def test() -> None:
        seen: list = []
        busy = worker()
        a = Double("a", seen)
        good, wrong, broken = (busy.submit(job(a, *items)) for items in [(1, 2), (3, -4, 5), (13,)])
        assert await values(good) == [2, 4]
        with pytest.raises(ApiError, match="-4 is below 0") as refusal:
            await wrong
        assert (refusal.value.status, refusal.value.where) == (422, "texts[1]")
        with pytest.raises(ZeroDivisionError):
            await broken
        assert await values(busy.submit(job(a, 6))) == [12]

    in_loop(test)


def test_a_worker_that_is_closed_finishes_what_it_has() -> None:
    async def test() -> None:
        busy = worker(batch_window_seconds=1000)
        answer = busy.submit(job(Double("a", []), 1))
        busy.close()
        assert await values(answer) == [2]

    in_loop(test)


def test_a_model_that_cannot_be_loaded_is_told() -> None:
    async def test() -> None:
        def fail() -> None:
            raise UserError("no model")

        with pytest.raises(UserError, match="no model"):
            await Worker("m", fail, Limits(), Metrics()).ready

    in_loop(test)
