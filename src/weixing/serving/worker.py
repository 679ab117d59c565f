"""A thread that loads a model and computes what is asked of it, the texts of several requests together.

Requests wait in a bounded queue. The worker takes texts of those that have waited longest, up to a bound of tokens; of
a request larger than that a part, after which the others have their turn. Nothing here knows of HTTP but the refusal.
"""

import asyncio
import gc
import math
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Condition, Thread
from time import monotonic
from typing import Any, NamedTuple

from weixing.errors import UserError
from weixing.inference.model import Model
from weixing.serving.errors import ApiError
from weixing.serving.limits import Limits
from weixing.serving.metrics import Metrics
from weixing.serving.work import Answer, Task

MOST_RETRY_SECONDS = 60
MEMORY = 0.9  # how much of what was measured so far counts beside the newest reading


class Job:
    """What one request asks of a model.

    Args:
        task: what to compute.
        items: of what, at least one.
        costs: tokens of each, more or less.
        where: what the items are called in the request.
    """

    def __init__(self, task: Task, items: Sequence[Any], costs: Sequence[int], where: str) -> None:
        self.task, self.items, self.costs, self.where = task, items, costs, where
        self.answer: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        self.arrived = monotonic()
        self.waiting = sum(costs)  # tokens that no one has taken yet
        self.taken = 0  # items that the worker has taken
        self.answers: list[Answer] = []


class Part(NamedTuple):
    """Some items of a job, taken together."""

    job: Job
    start: int
    end: int

    @property
    def items(self) -> Sequence[Any]:
        """The items."""
        return self.job.items[self.start : self.end]


class Worker:
    """A model and its thread. All methods are called in the event loop that made it.

    Args:
        name: of the model, for people and metrics.
        load: gives the model, in the worker's thread.
        limits: `queue_tokens`, `batch_tokens`, `batch_window_seconds`, and `answer_seconds`, beyond which no one waits.
        metrics: what to count in.

    Attributes:
        ready: the model, once it is loaded, or why it cannot be.
    """

    def __init__(self, name: str, load: Callable[[], Model], limits: Limits, metrics: Metrics) -> None:
        self.name, self._load, self._limits, self._metrics = name, load, limits, metrics
        self._loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[Model] = self._loop.create_future()
        self._condition = Condition()
        self._jobs: deque[Job] = deque()
        self._queued, self._closed = 0, False
        self._tokens, self._seconds = 0.0, 0.0  # computed lately, and in what time
        Thread(target=self._run, name=f"weixing-serve-{name}", daemon=True).start()

    def submit(self, job: Job) -> asyncio.Future[list[Answer]]:
        """Queue a job; of its future an answer for each item comes, in order. Cancelling it drops the job.

        Raises:
            ApiError: too much is waiting already; with the seconds after which there should be room.
        """
        with self._condition:
            wait = self._wait()
            full = self._queued + job.waiting > self._limits.queue_tokens or wait > self._limits.answer_seconds
            if self._queued and full:
                raise ApiError(
                    429,
                    f"{self._queued:,} tokens are waiting for model {self.name!r} already",
                    accepted=f"at most {self._limits.queue_tokens:,} waiting tokens",
                    retry_after=min(max(1, math.ceil(wait)), MOST_RETRY_SECONDS),
                )
            self._jobs.append(job)
            self._count(job.waiting)
            self._condition.notify()
        job.answer.add_done_callback(lambda answer: self._drop(job) if answer.cancelled() else None)
        return job.answer

    def close(self) -> None:
        """End the thread when it has computed what is queued; the model's memory is free then."""
        with self._condition:
            self._closed = True
            self._condition.notify()

    def _wait(self) -> float:
        """Seconds that what is queued will take at the present rate; 0 before there is one."""
        return self._queued * self._seconds / self._tokens if self._tokens else 0.0

    def _count(self, tokens: int) -> None:
        self._queued += tokens
        self._metrics.queued.labels(self.name).set(self._queued)

    def _drop(self, job: Job) -> None:
        """Take a job whose client is gone, or has waited too long, out of the queue."""
        with self._condition, suppress(ValueError):  # computed already, or just now
            self._jobs.remove(job)
            self._count(-job.waiting)

    # What follows runs in the worker's own thread.

    def _run(self) -> None:
        try:
            model = self._load()
        except BaseException as error:
            self._tell(self._failed, error)
            return
        self._tell(self._loaded, model)
        while parts := self._take():
            began = monotonic()
            groups: dict[Task, list[Part]] = {}
            for part in parts:
                groups.setdefault(part.job.task, []).append(part)
            for group in groups.values():
                self._tell(self._deliver, self._compute(model, group))
            self._measure(sum(sum(part.job.costs[part.start : part.end]) for part in parts), monotonic() - began)
        del model
        gc.collect()  # its memory is wanted for the next one now

    def _take(self) -> list[Part]:
        """What to compute next; nothing once the worker is closed and has no more to do."""
        most = self._limits.batch_tokens
        with self._condition:
            while not self._due():
                left = self._jobs[0].arrived + self._limits.batch_window_seconds - monotonic() if self._jobs else None
                self._condition.wait(left)
            parts: list[Part] = []
            for _ in range(len(self._jobs)):
                job, start = self._jobs[0], self._jobs[0].taken
                while job.taken < len(job.items) and (job.costs[job.taken] <= most or not (parts or job.taken > start)):
                    most -= job.costs[job.taken]
                    job.waiting -= job.costs[job.taken]
                    self._count(-job.costs[job.taken])
                    job.taken += 1
                if job.taken == start:
                    break
                parts.append(Part(job, start, job.taken))
                self._jobs.popleft()
                if job.taken < len(job.items):  # the others have their turn before it goes on
                    self._jobs.append(job)
                    break
            return parts

    def _due(self) -> bool:
        """Whether to compute now: there is enough, or the first has waited for company long enough, or the end."""
        if self._closed or self._queued >= self._limits.batch_tokens:
            return True
        return bool(self._jobs) and monotonic() >= self._jobs[0].arrived + self._limits.batch_window_seconds

    def _compute(self, model: Model, group: list[Part]) -> list[tuple[Part, list[Answer | UserError] | Exception]]:
        """The answers of parts with equal tasks; what fails together is tried one by one, so that one fails alone."""
        items = [item for part in group for item in part.items]
        began = monotonic()
        try:
            answers = group[0].job.task.compute(model, items, self._limits.batch_tokens)
        except Exception as error:
            if len(group) > 1:
                return [outcome for part in group for outcome in self._compute(model, [part])]
            return [(group[0], error)]
        self._metrics.texts.labels(self.name, group[0].job.task.name).inc(len(items))
        self._metrics.batch_texts.labels(self.name).observe(len(items))
        self._metrics.batch_seconds.labels(self.name).observe(monotonic() - began)
        remaining = iter(answers)
        return [(part, [next(remaining) for _ in part.items]) for part in group]

    def _measure(self, tokens: int, seconds: float) -> None:
        with self._condition:
            self._tokens = MEMORY * self._tokens + tokens
            self._seconds = MEMORY * self._seconds + seconds

    def _tell(self, hear: Callable[[Any], None], what: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: no one listens any more
            self._loop.call_soon_threadsafe(hear, what)

    # What follows runs in the event loop again.

    def _loaded(self, model: Model) -> None:
        if not self.ready.done():
            self.ready.set_result(model)

    def _failed(self, error: BaseException) -> None:
        if not self.ready.done():
            self.ready.set_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))

    def _deliver(self, outcomes: list[tuple[Part, list[Answer | UserError] | Exception]]) -> None:
        for part, outcome in outcomes:
            job = part.job
            if job.answer.done():
                continue
            if isinstance(outcome, Exception):
                self._drop(job)
                if isinstance(outcome, UserError):  # the model cannot do this with any text
                    outcome = ApiError.of(outcome, where="model")
                job.answer.set_exception(outcome)
                continue
            for number, answer in enumerate(outcome, part.start):
                if isinstance(answer, UserError):
                    self._drop(job)
                    where = f"{job.where}[{number}]" if len(job.items) > 1 else job.where
                    job.answer.set_exception(ApiError.of(answer, where=where))
                    break
                job.answers.append(answer)
            else:
                if part.end == len(job.items):
                    job.answer.set_result(job.answers)
