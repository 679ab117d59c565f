"""Many clients at once: everyone is answered, with what is theirs; too much is refused; who leaves is forgotten."""

import random
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import Any

import numpy as np
import pytest

from tests.serving.conftest import CHARACTERS
from tests.serving.running import SECONDS, Client, Running, running
from weixing.inference.model import Model
from weixing.serving.limits import Limits
from weixing.serving.loading import loader

CLIENTS, REQUESTS = 16, 360


def some_text(rng: random.Random, masks: int = 0) -> str:
    characters = rng.choices(CHARACTERS, k=rng.randint(1, 18))
    for _ in range(masks):
        characters.insert(rng.randrange(len(characters) + 1), "[MASK]")
    return "".join(characters)


def some_request(seed: int) -> tuple[str, dict[str, Any]]:
    """A request unlike all others, of any kind."""
    rng = random.Random(seed)
    texts = [some_text(rng) for _ in range(rng.randint(1, 6))]
    name = rng.choice(["first", "second"])
    return rng.choice(
        [
            ("/features", {"model": name, "texts": texts, "pooling": rng.choice(["mean", "cls"])}),
            ("/features", {"model": name, "texts": texts[:2], "pooling": "tokens"}),
            ("/fill-mask", {"model": name, "texts": some_text(rng, rng.randint(1, 2)), "top_k": rng.randint(1, 4)}),
            ("/v1/embeddings", {"model": name, "input": texts}),
            ("/classify", {"model": "classifier", "texts": texts, "second_texts": texts[::-1]}),
            ("/classify", {"model": "classifier", "texts": texts, "top_k": 2}),
        ]
    )


def check(models: dict[str, Model], path: str, body: dict[str, Any], answer: dict[str, Any]) -> None:
    """That this is the answer to this request: other requests' differ by far more than other batches do."""
    model = models[body["model"]]
    assert answer["model"] == body["model"]
    if path == "/fill-mask":
        expected = model.fill_mask(body["texts"], body["top_k"])
        lists = expected if isinstance(expected[0], list) else [expected]
        assert len(answer["candidates"]) == 1
        for rows, expected_rows in zip(answer["candidates"][0], lists, strict=True):
            assert [row["sequence"] for row in rows] == [row["sequence"] for row in expected_rows]
            np.testing.assert_allclose([row["score"] for row in rows], [row["score"] for row in expected_rows], 1e-4)
    elif path == "/classify":
        expected = model.classify(body["texts"], body.get("second_texts"), body.get("top_k"))
        for rows, expected_rows in zip(answer["labels"], expected, strict=True):
            assert [row["label"] for row in rows] == [row["label"] for row in expected_rows]
            np.testing.assert_allclose([row["score"] for row in rows], [row["score"] for row in expected_rows], 1e-4)
    elif path == "/v1/embeddings":
        vectors = [entry["embedding"] for entry in answer["data"]]
        np.testing.assert_allclose(vectors, model.features(body["input"]), rtol=1e-4, atol=1e-5)
    else:
        expected = model.features(body["texts"], body["pooling"])
        for vector, expected_vector in zip(answer["vectors"], expected, strict=True):
            np.testing.assert_allclose(vector, expected_vector, rtol=1e-4, atol=1e-5)


def test_hundreds_of_mixed_requests_at_once_each_get_their_own_answer(
    service: Running, models: dict[str, Model]
) -> None:
    requests = [some_request(seed) for seed in range(REQUESTS)]
    batches = service.metric('weixing_batch_texts_count{model="first"}')

    def send(share: int) -> list[Any]:
        client = Client(service.port)
        return [client.ask(*request) for request in requests[share::CLIENTS]]

    with ThreadPoolExecutor(CLIENTS) as pool:
        shares = list(pool.map(send, range(CLIENTS)))
    for share, replies in enumerate(shares):
        for (path, body), reply in zip(requests[share::CLIENTS], replies, strict=True):
            assert reply.status == 200, reply
            check(models, path, body, reply.json)
    to_first = sum(body["model"] == "first" for _, body in requests)
    assert 0 < service.metric('weixing_batch_texts_count{model="first"}') - batches < to_first


class Held:
    """A model that computes nothing before it is let go."""

    def __init__(self, model: Model) -> None:
        self.model, self.go, self.computed = model, Event(), []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def encode(self, texts: list[str]) -> list[np.ndarray]:
        self.computed.append(list(texts))
        assert self.go.wait(SECONDS)
        return self.model.encode(texts)


@contextmanager
def held(models: dict[str, Model], **limits: Any) -> Iterator[tuple[Running, Held]]:
    """A service whose one model is held."""
    model = Held(models["first"])
    with running({"m": "m"}, lambda _: model, Limits(**{"batch_window_seconds": 0, **limits})) as service:
        try:
            yield service, model
        finally:
            model.go.set()


def until(condition) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_when_too_much_waits_429_says_when_to_come_back_and_then_it_works(models: dict[str, Model]) -> None:
    with held(models, queue_tokens=50) as (service, model), ThreadPoolExecutor(4) as pool:
        first = pool.submit(service.ask, "/features", {"texts": "你好"})
        until(lambda: model.computed)
        waiting = [pool.submit(service.ask, "/features", {"texts": ["中国"] * 5}) for _ in range(2)]
        until(lambda: service.metric('weixing_queue_tokens{model="m"}') == 40)
        refusal = service.ask("/features", {"texts": ["中国"] * 3})
        assert (refusal.status, refusal.json["error"]["type"]) == (429, "overloaded")
        assert 1 <= int(refusal.headers["Retry-After"]) <= 60
        assert refusal.json["error"]["accepted"] == "at most 50 waiting tokens"
        model.go.set()
        assert [answer.result(SECONDS).status for answer in [first, *waiting]] == [200] * 3
        assert service.ask("/features", {"texts": ["中国"] * 3}).status == 200
        assert service.metric('weixing_requests_total{path="/features",status="429"}') == 1


def test_more_requests_than_may_be_under_way_are_refused_but_probes_are_not(models: dict[str, Model]) -> None:
    with held(models, requests=2) as (service, model), ThreadPoolExecutor(4) as pool:
        taken = [pool.submit(service.ask, "/features", {"texts": "你好"}) for _ in range(2)]
        until(lambda: service.server._served.entrance.taken == 2)
        refusal = service.ask("/features", {"texts": "你好"})
        assert (refusal.status, refusal.headers["Retry-After"]) == (429, "1")
        assert service.ask("/health").status == 200
        model.go.set()
        assert [answer.result(SECONDS).status for answer in taken] == [200, 200]


def test_an_answer_that_takes_too_long_is_given_up(models: dict[str, Model]) -> None:
    with held(models, answer_seconds=0.2) as (service, model):
        reply = service.ask("/features", {"texts": "你好"})
        assert (reply.status, reply.json["error"]["type"]) == (504, "timeout")
        assert "0.2 seconds" in reply.json["error"]["message"]
        model.go.set()
        until(lambda: service.ask("/features", {"texts": "你好"}).status == 200)


def test_a_model_that_takes_too_long_to_load_is_told_to_be_on_its_way(models: dict[str, Model]) -> None:
    go = Event()

    def slowly(source: str) -> Model:
        assert source == "a" or go.wait(SECONDS)
        return models["first"]

    with running({"a": "a", "b": "b"}, slowly, Limits(answer_seconds=0.2, models=1)) as service:
        reply = service.ask("/features", {"texts": "你好", "model": "b"})
        assert (reply.status, reply.json["error"]["type"]) == (503, "unavailable")
        assert reply.headers["Retry-After"]
        go.set()
        until(lambda: service.ask("/features", {"texts": "你好", "model": "b"}).status == 200)
        assert [entry["state"] for entry in service.ask("/models").json["models"]] == ["unloaded", "loaded"]
        assert service.metric('weixing_model_unloads_total{model="a"}') == 1


def test_a_model_that_fails_to_load_is_told_and_the_others_go_on(folders: dict[str, str]) -> None:
    sources = {"good": folders["first"], "bad": "/nowhere/at/all"}
    with running(sources, loader("auto", "float32"), Limits(models=1)) as service:
        reply = service.ask("/features", {"texts": "你好", "model": "bad"})
        assert reply.status == 503
        assert "'bad' could not be loaded" in reply.json["error"]["message"]
        assert service.ask("/features", {"texts": "你好"}).status == 200


def raw(service: Running, content: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", service.port), timeout=SECONDS)
    connection.sendall(content)
    return connection


def whole(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    return b"".join(iter(lambda: connection.recv(10_000), b""))


def head(length: int) -> bytes:
    lines = ("POST /features HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def test_a_client_that_leaves_is_dropped_before_its_turn(models: dict[str, Model]) -> None:
    with held(models) as (service, model), ThreadPoolExecutor(2) as pool:
        first = pool.submit(service.ask, "/features", {"texts": "一"})
        until(lambda: model.computed == [["一"]])
        leaving = raw(service, head(16) + '{"texts": "二"}'.encode())
        until(lambda: service.metric('weixing_queue_tokens{model="m"}') == 3)
        stays = pool.submit(service.ask, "/features", {"texts": "三"})
        until(lambda: service.metric('weixing_queue_tokens{model="m"}') == 6)
        leaving.close()
        until(lambda: service.metric('weixing_queue_tokens{model="m"}') == 3)
        model.go.set()
        assert (first.result(SECONDS).status, stays.result(SECONDS).status) == (200, 200)
        assert model.computed == [["一"], ["三"]]
        assert service.metric("weixing_requests_abandoned_total") == 1


def test_clients_that_send_too_slowly_are_cut_off(models: dict[str, Model]) -> None:
    limits = Limits(header_seconds=0.2, body_seconds=0.2)
    with running({"m": "m"}, lambda _: models["first"], limits) as service:
        for beginning in (b"", b"POST /fea"):
            assert whole(raw(service, beginning)) == b""
        answer = whole(raw(service, head(100) + b'{"te'))
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"type":"request_timeout"' in answer


def test_what_is_not_http_is_refused_as_json(service: Running) -> None:
    for content in (b"\x16\x03\x01 hello\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20_000):
        answer = whole(raw(service, content))
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b'"type":"invalid_request"' in answer


@pytest.mark.parametrize("fault", [ZeroDivisionError("secret"), MemoryError("secret")])
def test_a_fault_of_the_program_is_told_without_its_inside(models: dict[str, Model], fault: Exception) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            return getattr(models["first"], name)

        def encode(self, texts: list[str]) -> None:
            raise fault

    with running({"m": "m"}, lambda _: Broken()) as service:
        reply = service.ask("/features", {"texts": "你好"})
        assert (reply.status, reply.json["error"]["type"]) == (500, "internal")
        assert "secret" not in str(reply.json)
        assert service.ask("/health").status == 200
