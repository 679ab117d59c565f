"""What every request passes before the application sees it, as ASGI: counts, token, body, and clients that leave.

`Entrance` counts requests and says when the service is closing; `Gate` refuses early, reads the body within bounds of
size and time, and cancels the work for a client that is gone.
"""

import asyncio
import hmac
from collections.abc import Collection
from time import monotonic

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from weixing.serving.errors import ApiError
from weixing.serving.limits import Limits
from weixing.serving.metrics import Metrics


class Entrance:
    """Counts requests, and has connections closed after the answers once the service is stopping.

    Args:
        app: what is behind it.
        paths: that get a label of their own in the metrics.
        metrics: what to count in.

    Attributes:
        taken, answered: requests whose head was read, and those whose answer was handed to the connection in full.
        closing: whether the service is stopping.
    """

    def __init__(self, app: ASGIApp, paths: Collection[str], metrics: Metrics) -> None:
        self._app, self._paths, self._metrics = app, frozenset(paths), metrics
        self.taken = self.answered = 0
        self.closing = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = monotonic(), 0
        path = scope["path"] if scope["path"] in self._paths else "other"
        self.taken += 1
        self._metrics.under_way.inc()

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), (b"x-content-type-options", b"nosniff")]
                if self.closing:
                    message["headers"].append((b"connection", b"close"))
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                self.answered += 1
                self._metrics.requests.labels(path, str(status)).inc()
                self._metrics.seconds.labels(path).observe(monotonic() - began)

        try:
            await self._app(scope, receive, counted)
        finally:
            self._metrics.under_way.dec()


class ClientGone(Exception):
    """No one is there any more to be answered."""


class Gate:
    """Refuses what need not be read, reads the body, and watches the client while the application works.

    Args:
        app: what is behind it.
        limits: `requests`, `body_bytes` and `body_seconds`.
        token: that requests to `guarded` paths must bring, or None.
        guarded: paths.
        posted: paths that take a body.
        metrics: what to count in.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        token: str | None,
        *,
        guarded: Collection[str],
        posted: Collection[str],
        metrics: Metrics,
    ) -> None:
        self._app, self._limits, self._metrics = app, limits, metrics
        self._token = token.encode() if token else None
        self._guarded, self._posted = frozenset(guarded), frozenset(posted)
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._under_way += 1
        try:
            self._admit(scope)
            body = await self._body(receive)
            await self._watched(scope, body, receive, send)
        except ApiError as error:
            await send_error(error, send)
        except ClientGone:
            self._metrics.abandoned.inc()
        finally:
            self._under_way -= 1

    def _admit(self, scope: Scope) -> None:
        """Refuse what the head alone shows to be unacceptable."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if self._token and scope["path"] in self._guarded:
            kind, _, given = headers.get(b"authorization", b"").partition(b" ")
            if not (kind.lower() == b"bearer" and hmac.compare_digest(given.strip(), self._token)):
                raise ApiError(
                    401, "the bearer token is missing or wrong", where="header Authorization",
                    accepted="Bearer TOKEN", headers={"WWW-Authenticate": "Bearer"},
                )  # fmt: skip
        if scope["method"] == "POST" and self._under_way > self._limits.requests:
            raise ApiError(
                429, f"{self._under_way:,} requests are under way", accepted=f"at most {self._limits.requests:,}",
                retry_after=1,
            )  # fmt: skip
        if int(headers.get(b"content-length", b"0")) > self._limits.body_bytes:
            raise self._too_large()
        if scope["method"] == "POST" and scope["path"] in self._posted:
            kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
            if kind != b"application/json":
                raise ApiError(
                    415, f"a body of type {kind.decode('latin-1')!r}", where="header Content-Type",
                    accepted="application/json",
                )  # fmt: skip

    async def _body(self, receive: Receive) -> bytes:
        """The whole body, which is small and came in time."""
        parts, size = [], 0
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGone
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > self._limits.body_bytes:
                        raise self._too_large()
                    if not message.get("more_body"):
                        return b"".join(parts)
        except TimeoutError:
            raise ApiError(
                408, "the body did not come in time", accepted=f"within {self._limits.body_seconds:g} seconds",
                headers={"Connection": "close"},
            ) from None  # fmt: skip

    def _too_large(self) -> ApiError:
        return ApiError(413, "the body is too large", accepted=f"at most {self._limits.body_bytes:,} bytes")

    async def _watched(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Run the application, and cancel it if the client leaves."""
        unread, started, complete, gone = [body], False, False, asyncio.Event()

        async def replay() -> Message:
            if unread:
                return {"type": "http.request", "body": unread.pop(), "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def noting(message: Message) -> None:
            nonlocal started, complete
            started = True
            await send(message)
            complete = message["type"] == "http.response.body" and not message.get("more_body")

        async def leaving() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()

        work = asyncio.ensure_future(self._app(scope, replay, noting))
        watch = asyncio.ensure_future(leaving())
        try:
            await asyncio.wait((work, watch), return_when=asyncio.FIRST_COMPLETED)
            if complete or work.done():
                await work
                return
            work.cancel()
            await asyncio.wait((work,))
            raise ClientGone
        except asyncio.CancelledError:  # the bound of a graceful end has passed
            work.cancel()
            await asyncio.wait((work,))
            if not started:
                raise ApiError(503, "the service is stopping") from None
        finally:
            watch.cancel()


async def send_error(error: ApiError, send: Send) -> None:
    """Answer with an error."""
    body = error.body()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **error.headers}
    encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
