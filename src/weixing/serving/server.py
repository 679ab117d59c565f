"""Runs the service: a socket, uvicorn, signals, and the end. Listens on a port; nothing else here opens anything."""

import asyncio
import contextlib
import ipaddress
import logging
import math
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

import uvicorn

from weixing.errors import UserError
from weixing.inference.model import Model
from weixing.progress import say
from weixing.serving.app import Served, create
from weixing.serving.errors import ApiError
from weixing.serving.http import protocol
from weixing.serving.limits import Limits
from weixing.serving.pages import Exhibits

IDLE_SECONDS = 5  # after which a connection without a request is closed
LAST_REQUESTS_SECONDS = 1.0  # after a signal, in which clients with a connection hear with an answer that it closes


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on this address; port 0 means any free one.

    Raises:
        UserError: the port is taken or may not be used, or the host is none of this machine.
    """
    where = f"--host {host} --port {port}"
    try:
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, number)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # after an end, the port is free at once
        found.bind(address)
        found.listen(1)  # a port that another process listens on is known here at the latest
    except OSError as error:
        raise UserError(
            f"cannot listen: {error.strerror}", where=where, accepted="a free port and an address of this machine",
            action="Name another --port, or 0 for any that is free",
        ) from None  # fmt: skip
    return found


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a service on this host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def serve(
    bound: socket.socket,
    sources: Mapping[str, str],
    load: Callable[[str], Model],
    limits: Limits,
    *,
    token: str | None = None,
    origins: Sequence[str] = (),
    exhibits: Exhibits | None = None,
    on_ready: Callable[[], None],
) -> int:
    """Serve until a signal comes, then finish what was taken: the signal's number.

    Args:
        bound: of `listen`.
        sources, load, limits, token, origins, exhibits: as `app.create` takes them. As many models as may be in memory
            at a time are loaded at the start, the first ones; the service answers /health meanwhile.
        on_ready: called when these are loaded.

    Raises:
        UserError: a model of the start cannot be loaded.
    """
    server = Server(create(sources, load, limits, token=token, origins=origins, exhibits=exhibits), on_ready)
    asyncio.run(server.serve(sockets=[bound]))
    if server.failure is not None:
        raise server.failure
    assert server.signal is not None
    return server.signal


class Server(uvicorn.Server):
    """uvicorn with its end made gentler: clients that hold a connection open hear that it closes before it does.

    Args:
        served: what to serve.
        on_ready: called when the models of the start are loaded.

    Attributes:
        signal: that ended it.
        failure: why the models of the start could not be loaded.
    """

    def __init__(self, served: Served, on_ready: Callable[[], None]) -> None:
        limits = served.service.limits
        config = uvicorn.Config(
            served.entrance, http=protocol(limits.header_seconds, limits.send_seconds), ws="none", lifespan="on",
            timeout_keep_alive=IDLE_SECONDS, timeout_graceful_shutdown=math.ceil(limits.shutdown_seconds),
            server_header=False, access_log=False, proxy_headers=False, log_config=None, log_level=logging.ERROR,
        )  # fmt: skip
        super().__init__(config)
        self._served, self._on_ready = served, on_ready
        self.signal: int | None = None
        self.failure: UserError | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and load the models of the start."""
        await super().startup(sockets)
        self._loading = asyncio.create_task(self._load_first())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no new connection, answer what comes over the open ones, finish, say what was done."""
        self._loading.cancel()
        entrance = self._served.entrance
        entrance.closing, self._served.service.ready = True, False
        for listener in self.servers:
            listener.close()
        deadline = time.monotonic() + LAST_REQUESTS_SECONDS
        while self.server_state.connections and time.monotonic() < deadline and not self.force_exit:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)
        if self.signal is not None:
            name = signal.Signals(self.signal).name
            say(f"stopped by {name}: {entrance.taken} requests taken, {entrance.answered} answered")

    def handle_exit(self, number: int, frame: FrameType | None) -> None:
        """A signal: end, or, if it is the second, end at once."""
        if self.should_exit:
            self.force_exit = True
        self.signal, self.should_exit = self.signal or number, True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """While it runs, signals end it; the caller makes an exit code of them, so that they are not raised again."""
        if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def _load_first(self) -> None:
        service = self._served.service
        try:
            for name in list(service.shelf.sources)[: service.limits.models]:
                async with service.shelf.use(name):
                    pass
        except ApiError as error:
            cause: Any = error.__cause__
            self.failure = cause if isinstance(cause, UserError) else UserError(str(error))
            self.should_exit = True
            return
        service.ready = True
        self._on_ready()
