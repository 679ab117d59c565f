"""Models on demand: loaded once, unloaded when there are too many, never while in use."""

import asyncio
import weakref
from collections.abc import Awaitable, Callable
from threading import Event
from typing import Any

import pytest

from weixing.errors import UserError
from weixing.inference.model import Model
from weixing.serving.errors import ApiError
from weixing.serving.limits import Limits
from weixing.serving.loading import loader
from weixing.serving.metrics import Metrics
from weixing.serving.shelf import Shelf

SECONDS = 10


def in_loop(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), SECONDS))


def shelf(model: Model, models: int = 2, load: Callable[[str], Any] | None = None) -> tuple[Shelf, list[str]]:
    """A shelf of a, b, c, d, all of them `model`, and the names loaded so far."""
    loaded: list[str] = []

    def note(source: str) -> Model:
        loaded.append(source)
        return load(source) if load else model

    return Shelf({name: name.upper() for name in "abcd"}, note, Limits(models=models), Metrics()), loaded


def states(shelf: Shelf) -> str:
    return "".join(entry["name"] for entry in shelf.describe() if entry["state"] == "loaded")


async def touch(shelf: Shelf, name: str) -> None:
    async with shelf.use(name):
        pass


def test_a_model_is_loaded_once_however_many_ask(models: dict[str, Model]) -> None:
    async def test() -> None:
        shelf_, loaded = shelf(models["first"])
        assert states(shelf_) == ""
        await asyncio.gather(*(touch(shelf_, name) for name in "abaabb"))
        assert sorted(loaded) == ["A", "B"]
        assert states(shelf_) == "ab"

    in_loop(test)


def test_the_least_recently_used_makes_room(models: dict[str, Model]) -> None:
    async def test() -> None:
        shelf_, loaded = shelf(models["first"])
        for name in "abac":
            await touch(shelf_, name)
        assert (states(shelf_), loaded) == ("ac", ["A", "B", "C"])
        await touch(shelf_, "b")
        assert (states(shelf_), loaded) == ("bc", ["A", "B", "C", "B"])

    in_loop(test)


def test_a_model_in_use_stays_and_an_idle_one_goes_before_it(models: dict[str, Model]) -> None:
    async def test() -> None:
        shelf_, _ = shelf(models["first"])
        async with shelf_.use("a"):
            await touch(shelf_, "b")
            await touch(shelf_, "c")
            assert states(shelf_) == "ac"

    in_loop(test)


def test_who_finds_all_models_in_use_waits_until_one_is_free(models: dict[str, Model]) -> None:
    async def test() -> None:
        shelf_, loaded = shelf(models["first"], models=1)
        async with shelf_.use("a"):
            waiting = asyncio.create_task(touch(shelf_, "b"))
            await asyncio.sleep(0.05)
            again = asyncio.create_task(touch(shelf_, "a"))  # came too late: b has its turn first
            await asyncio.sleep(0.05)
            assert loaded == ["A"]
        await asyncio.gather(waiting, again)
        assert loaded == ["A", "B", "A"]

    in_loop(test)


def test_an_unloaded_model_leaves_the_memory(folders: dict[str, str]) -> None:
    async def test() -> None:
        seen: list[weakref.ref] = []

        def load(_: str) -> Model:
            model = loader("auto", "float32")(folders["first"])
            seen.append(weakref.ref(model))
            return model

        shelf_, _ = shelf(None, models=1, load=load)
        await touch(shelf_, "a")
        await touch(shelf_, "b")
        for _ in range(100):
            if seen[0]() is None:
                break
            await asyncio.sleep(0.02)
        assert seen[0]() is None
        assert seen[1]() is not None

    in_loop(test)


def test_a_model_that_cannot_be_loaded_is_told_and_tried_again(
    models: dict[str, Model], capsys: pytest.CaptureFixture[str]
) -> None:
    async def test() -> None:
        errors: list[Exception] = [UserError("a tensor is missing", where="/some/folder"), MemoryError()]

        def load(_: str) -> Model:
            if errors:
                raise errors.pop(0)
            return models["first"]

        shelf_, loaded = shelf(models["first"], models=1, load=load)
        with pytest.raises(ApiError, match="'a' could not be loaded: a tensor is missing") as refusal:
            await touch(shelf_, "a")
        assert (refusal.value.status, refusal.value.where) == (503, "model")
        assert "/some/folder" not in str(refusal.value.as_json())
        with pytest.raises(ApiError, match="MemoryError"):
            await touch(shelf_, "b")
        await touch(shelf_, "a")
        assert (states(shelf_), loaded) == ("a", ["A", "B", "A"])

    in_loop(test)
    assert "/some/folder: a tensor is missing" in capsys.readouterr().err


def test_who_leaves_while_a_model_is_loaded_does_not_stop_it(models: dict[str, Model]) -> None:
    async def test() -> None:
        hold = Event()

        def load(_: str) -> Model:
            assert hold.wait(SECONDS)
            return models["first"]

        shelf_, loaded = shelf(models["first"], load=load)
        impatient, patient = (asyncio.create_task(touch(shelf_, "a")) for _ in range(2))
        await asyncio.sleep(0.02)
        assert shelf_.describe()[0]["state"] == "loading"
        impatient.cancel()
        hold.set()
        await patient
        assert (states(shelf_), loaded) == ("a", ["A"])

    in_loop(test)
