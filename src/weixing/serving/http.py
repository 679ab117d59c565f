"""uvicorn's HTTP/1.1, with clients that send or read too slowly cut off, and its own refusals as JSON."""

import asyncio
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from weixing.serving.errors import ApiError


class Protocol(H11Protocol):
    """A connection. uvicorn itself bounds the size of a head, and closes connections that were idle after an answer.

    Attributes:
        header_seconds: within which a head must have come, from the connection's start or the answer before it. What
            a client goes on sending after an early refusal is read and thrown away as long as that.
        send_seconds: how long a client may leave an answer unread.
    """

    header_seconds: ClassVar[float]
    send_seconds: ClassVar[float]
    _head: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Expect a head."""
        super().connection_made(transport)
        self._expect_head()

    def on_response_complete(self) -> None:
        """Expect the next one."""
        self._expect_head()
        super().on_response_complete()

    def connection_lost(self, error: Exception | None) -> None:
        """Expect nothing more."""
        for timer in (self._head, self._unread):
            if timer:
                timer.cancel()
        super().connection_lost(error)

    def pause_writing(self) -> None:
        """The client does not read fast enough."""
        super().pause_writing()
        self._unread = self.loop.call_later(self.send_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """It has read."""
        if self._unread:
            self._unread.cancel()
        super().resume_writing()

    def _expect_head(self) -> None:
        if self._head:
            self._head.cancel()
        self._head = self.loop.call_later(self.header_seconds, self._no_head)

    def _no_head(self) -> None:
        if self.cycle is None or self.cycle.response_complete:  # else it has come, and is being answered
            self.transport.close()

    def send_400_response(self, message: str) -> None:
        """Refuse what is not HTTP."""
        body = ApiError(400, message, accepted="HTTP/1.1, with a head of at most 16 KiB").body()
        headers = [
            (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]  # fmt: skip
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):  # an answer is on its way already
            self.transport.close()
            return
        for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


def protocol(header_seconds: float, send_seconds: float) -> type[Protocol]:
    """The protocol with these bounds."""
    return type("Protocol", (Protocol,), {"header_seconds": header_seconds, "send_seconds": send_seconds})
