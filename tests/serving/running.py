"""A service in a thread, and a client of it. Loopback alone; for tests."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from threading import Event, Thread
from typing import Any, NamedTuple

from weixing.inference.model import Model
from weixing.serving.app import create
from weixing.serving.limits import Limits
from weixing.serving.server import Server, listen

SECONDS = 20  # longest wait for anything


class Reply(NamedTuple):
    """An answer."""

    status: int
    headers: Mapping[str, str]
    json: Any


class Client:
    """A connection that is kept open."""

    def __init__(self, port: int) -> None:
        self.connection = HTTPConnection("127.0.0.1", port, timeout=SECONDS)

    def ask(self, path: str, body: Any = None, method: str | None = None, **headers: str) -> Reply:
        """POST `body` (bytes, or what becomes JSON), or GET without one. Underscores in headers' names are hyphens."""
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Content-Type": "application/json"} if body is not None else {}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method or ("GET" if body is None else "POST"), path, content, given)
        answer = self.connection.getresponse()
        text = answer.read()
        is_json = answer.headers.get("Content-Type") == "application/json"
        return Reply(answer.status, answer.headers, json.loads(text) if is_json else text.decode())


class Running(NamedTuple):
    """A service that runs."""

    port: int
    server: Server

    def ask(self, path: str, body: Any = None, method: str | None = None, **headers: str) -> Reply:
        """One request over a connection of its own."""
        client = Client(self.port)
        try:
            return client.ask(path, body, method, **headers)
        finally:
            client.connection.close()

    def metric(self, line: str) -> float:
        """The value of the line of /metrics that begins so; 0 before there is one."""
        lines = self.ask("/metrics").json.splitlines()
        return next((float(text.split()[-1]) for text in lines if text.startswith(line + " ")), 0.0)


@contextmanager
def running(
    sources: Mapping[str, str],
    load: Callable[[str], Model],
    limits: Limits | None = None,
    *,
    port: int = 0,
    **options: Any,
) -> Iterator[Running]:
    """Serve models while the context lasts, on a port that is free or on this one."""
    bound, ready = listen("127.0.0.1", port), Event()
    server = Server(create(sources, load, limits or Limits(), **options), ready.set)
    thread = Thread(target=lambda: asyncio.run(server.serve(sockets=[bound])), daemon=True)
    thread.start()
    try:
        assert ready.wait(SECONDS)
        yield Running(bound.getsockname()[1], server)
    finally:
        server.should_exit = True
        thread.join(SECONDS)
        assert not thread.is_alive()
