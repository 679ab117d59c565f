"""The models of a service: loaded when they are asked for, the least recently used unloaded when there are too many.

All of it runs in one event loop; the loading itself in the model's own worker (`worker`).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from weixing.errors import UserError
from weixing.inference.model import Model
from weixing.progress import say
from weixing.serving.errors import ApiError
from weixing.serving.limits import Limits
from weixing.serving.metrics import Metrics
from weixing.serving.worker import Worker

RETRY_SECONDS = 5  # after which to ask again for a model that could not be had


@dataclass(eq=False)
class Resident:
    """A model that is in memory, on its way there, or being let go.

    Args:
        task: loads it: its worker and itself.
        users: requests that use it or wait for it.
        idle: set while there are none.
        used: when it was asked for last.
    """

    task: "asyncio.Task[tuple[Worker, Model]]"
    users: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    used: float = field(default_factory=monotonic)


class Shelf:
    """Models by name.

    Args:
        sources: what each name stands for, as `load` takes it; the first is the default.
        load: gives a model that is ready for use.
        limits: `models`, and what `Worker` needs.
        metrics: what to count in.
    """

    def __init__(
        self, sources: Mapping[str, str], load: Callable[[str], Model], limits: Limits, metrics: Metrics
    ) -> None:
        self.sources, self._load, self._limits, self._metrics = dict(sources), load, limits, metrics
        self._current: dict[str, Resident] = {}  # what a new request is given
        self._in_memory: set[Resident] = set()  # and with them those being let go
        self._known: dict[str, dict[str, Any]] = {}
        self._room = asyncio.Lock()

    def able(self, task: str) -> list[str]:
        """Names of the models that can do a task, or that may, as they were never loaded; of all if there is none.

        The first is the one of requests that name none.
        """
        names = list(self.sources)
        return [name for name in names if task in self._known.get(name, {}).get("tasks", [task])] or names

    @asynccontextmanager
    async def use(self, name: str) -> AsyncIterator[tuple[Worker, Model]]:
        """A model, loaded first if need be, and not unloaded while it is used.

        Raises:
            ApiError: there is no model of this name, or it could not be loaded.
        """
        if name not in self.sources:
            raise ApiError(404, f"there is no model {name!r} here", where="model", accepted=" or ".join(self.sources))
        resident = self._current.get(name)
        if resident is None:
            task = asyncio.create_task(self._bring(name))
            task.add_done_callback(lambda task: task.cancelled() or task.exception())  # heard, if by no one else
            resident = self._current[name] = Resident(task)
        resident.users += 1
        resident.used = monotonic()
        resident.idle.clear()
        try:
            try:
                loaded = await asyncio.shield(resident.task)  # whoever gives up waiting does not stop it
            except Exception as error:
                raise _not_loaded(name, error) from error
            yield loaded
        finally:
            resident.users -= 1
            if not resident.users:
                resident.idle.set()

    def describe(self) -> list[dict[str, Any]]:
        """What is known of each model; of one that was never loaded its name and state alone."""
        descriptions = []
        for name in self.sources:
            resident = self._current.get(name)
            state = "unloaded" if resident is None else "loaded" if resident.task.done() else "loading"
            known = self._known.get(name, dict.fromkeys(UNKNOWN))
            descriptions.append({"name": name, "state": state, **known})
        return descriptions

    async def close(self) -> None:
        """End all workers."""
        for resident in self._in_memory | set(self._current.values()):
            if resident.task.done() and not resident.task.cancelled() and not resident.task.exception():
                resident.task.result()[0].close()
            resident.task.cancel()

    async def _bring(self, name: str) -> tuple[Worker, Model]:
        """Load a model into the place that is made for it."""
        resident = self._current[name]
        try:
            async with self._room:
                await self._make_room()
                self._in_memory.add(resident)
            worker = Worker(name, lambda: self._load(self.sources[name]), self._limits, self._metrics)
            model = await worker.ready
        except BaseException as error:
            self._in_memory.discard(resident)
            del self._current[name]  # the next request tries again
            if isinstance(error, asyncio.CancelledError):
                raise
            self._metrics.loads.labels(name, "failed").inc()
            say(f"model {name} could not be loaded: {error if isinstance(error, UserError) else repr(error)}")
            raise
        self._known[name] = description(model)
        self._metrics.loads.labels(name, "loaded").inc()
        self._metrics.loaded.set(len(self._in_memory))
        return worker, model

    async def _make_room(self) -> None:
        """Unload the model that was used least recently, one not in use if there is any, until there is room for one.

        Who asks for it from now on has to wait until it is loaded again; who uses it is waited for.
        """
        while len(self._in_memory) >= self._limits.models:
            here = [(name, resident) for name, resident in self._current.items() if resident in self._in_memory]
            name, oldest = min(here, key=lambda pair: (pair[1].users > 0, pair[1].used))
            try:
                worker, _ = await asyncio.shield(oldest.task)
            except Exception:  # it could not be loaded, and has made room by itself
                continue
            del self._current[name]
            if oldest.users:
                await oldest.idle.wait()
            worker.close()
            self._in_memory.discard(oldest)
            self._metrics.unloads.labels(name).inc()
            self._metrics.loaded.set(len(self._in_memory))


def _not_loaded(name: str, error: Exception) -> ApiError:
    """What a client is told of a model that cannot be had, which is not the client's doing."""
    reason = ApiError.of(error) if isinstance(error, UserError) else ApiError(503, type(error).__name__)
    message = f"model {name!r} could not be loaded: {reason.message}"
    return ApiError(503, message, where="model", accepted=reason.accepted, retry_after=RETRY_SECONDS)


UNKNOWN = (
    "shape", "layers", "hidden", "parameters", "positions", "vocabulary_size", "backend", "precision", "tasks",
    "labels",
)  # fmt: skip


def description(model: Model) -> dict[str, Any]:
    """What a client may want to know of a model: the keys of `UNKNOWN`."""
    shape, labels = model.shape, model.labels and list(model.labels.names)
    can = {"features": True, "fill-mask": model.bert.head is not None, "classify": labels is not None}
    return {
        "shape": shape.name, "layers": shape.layers, "hidden": shape.hidden,
        "parameters": sum(tensor.numel() for tensor in model.encoder.parameters()), "positions": shape.positions,
        "vocabulary_size": len(model.vocabulary), "backend": model.backend.name, "precision": model.precision,
        "tasks": [task for task, possible in can.items() if possible], "labels": labels,
    }  # fmt: skip
