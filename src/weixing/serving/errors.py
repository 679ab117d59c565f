"""What a client is told when something is wrong: one JSON form for every error, whoever found it. Pure.

{"error": {"type": "invalid_value", "message": "top_k 0", "where": "top_k", "accepted": "1 to 100"}}
"""

from typing import Any, Self

import orjson

from weixing.errors import UserError

TYPES = {
    400: "invalid_request",
    401: "unauthorized",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid_value",
    429: "overloaded",
    500: "internal",
    503: "unavailable",
    504: "timeout",
}
"""`type` of the error with each HTTP status."""


class ApiError(Exception):
    """An answer that is an error.

    Args:
        status: one of `TYPES`.
        message: what was wrong.
        where: the part of the request that it was found in.
        accepted: what would have been right.
        retry_after: seconds after which to try again.
        headers: of the answer, besides.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        where: str | None = None,
        accepted: str | None = None,
        retry_after: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.where, self.accepted = status, message, where, accepted
        self.headers = dict(headers or {}) | ({} if retry_after is None else {"Retry-After": str(retry_after)})

    @classmethod
    def of(cls, error: UserError, *, status: int = 422, where: str | None = None) -> Self:
        """What is wrong with a request in the words of the rest of the program; no path of this machine is told."""
        message = error.what + (f". {error.action}" if error.action else "")
        return cls(status, message, where=where, accepted=error.accepted)

    def as_json(self) -> dict[str, Any]:
        """The body of the answer."""
        return {
            "error": {
                "type": TYPES.get(self.status, TYPES[500 if self.status >= 500 else 400]),
                "message": self.message,
                "where": self.where,
                "accepted": self.accepted,
            }
        }

    def body(self) -> bytes:
        """The same as bytes."""
        return orjson.dumps(self.as_json())
