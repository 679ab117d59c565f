"""What is behind the endpoints: requests are checked against the limits, queued, and waited for."""

import asyncio
from collections.abc import Sequence
from typing import Any

from weixing.serving.errors import ApiError
from weixing.serving.limits import Limits
from weixing.serving.metrics import Metrics
from weixing.serving.shelf import RETRY_SECONDS, Shelf
from weixing.serving.work import Answer, Task
from weixing.serving.worker import Job


class Service:
    """Computes what requests ask for.

    Args:
        shelf: the models.
        limits: of requests.
        metrics: of all that is done.

    Attributes:
        ready: whether the models of the start are loaded, and the service is not stopping.
    """

    def __init__(self, shelf: Shelf, limits: Limits, metrics: Metrics) -> None:
        self.shelf, self.limits, self.metrics = shelf, limits, metrics
        self.ready = False

    def model(self, given: str | None, task: str) -> str:
        """The name of the model of a request: as given, or the first that can do its task."""
        return self.shelf.able(task)[0] if given is None else given

    def texts(self, given: str | list[str], where: str) -> list[str]:
        """The texts of a request, as a list.

        Raises:
            ApiError: there are too many, or one is too long.
        """
        texts = [given] if isinstance(given, str) else given
        self.bound(len(texts), self.limits.texts, "texts", where)
        for number, text in enumerate(texts):
            self.bound(len(text), self.limits.characters, "characters", f"{where}[{number}]")
        return texts

    def bound(self, count: int, most: int, what: str, where: str) -> None:
        """Raises ApiError if there are more than `most`."""
        if count > most:
            raise ApiError(422, f"{count:,} {what}", where=where, accepted=f"at most {most:,}")

    async def compute(
        self, name: str, task: Task, items: Sequence[Any], sizes: Sequence[int], where: str = "texts"
    ) -> list[Answer]:
        """Answers of the model called `name` to items, in order.

        Args:
            sizes: tokens of each item, [CLS] and [SEP] left out; characters are near enough.
            where: what the items are called in the request.

        Raises:
            ApiError: no such model, it cannot be loaded, too much is waiting, an item is wrong, or time is up.
        """
        loaded = False
        try:
            async with asyncio.timeout(self.limits.answer_seconds), self.shelf.use(name) as (worker, model):
                loaded = True
                costs = [min(size + 2, model.shape.positions) for size in sizes]
                return await worker.submit(Job(task, items, costs, where))
        except TimeoutError:
            within = f"{self.limits.answer_seconds:g} seconds"
            if loaded:
                raise ApiError(504, f"not computed within {within}", accepted="fewer or shorter texts") from None
            raise ApiError(503, f"model {name!r} not loaded within {within}", retry_after=RETRY_SECONDS) from None
