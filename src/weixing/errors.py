"""UserError, for wrong input or options, and RanksError, for processes that lost each other. Nothing else lives here.

The command line prints them as one message and exits with code 2 or 1; a library caller may catch the first as a
ValueError.
"""

from pathlib import Path
from typing import Any


class UserError(ValueError):
    """Wrong input or options: what was wrong, where, what is accepted, what to do.

    Args:
        what: what was wrong, with the value received.
        where: file, or ``file:line``, or option that it was found in.
        accepted: what would have been right.
        action: what to do about it.
    """

    def __init__(
        self, what: str, *, where: str | Path | None = None, accepted: str | None = None, action: str | None = None
    ) -> None:
        self.what, self.where, self.accepted, self.action = what, where, accepted, action
        parts = [f"{where}: {what}" if where is not None else what]
        if accepted is not None:
            parts.append(f"Accepted: {accepted}.")
        if action is not None:
            parts.append(action if action.endswith((".", "!", "?")) else action + ".")
        if len(parts) > 1 and not parts[0].endswith((".", "!", "?")):
            parts[0] += "."
        super().__init__(" ".join(parts))

    def __reduce__(self) -> tuple[Any, ...]:
        """Sent to another process, it arrives as it is."""
        return _user_error, (self.what, self.where, self.accepted, self.action)


class RanksError(RuntimeError):
    """Of several processes that train one model, others ended or stood still: which, and at which step."""


def _user_error(what: str, where: str | Path | None, accepted: str | None, action: str | None) -> UserError:
    return UserError(what, where=where, accepted=accepted, action=action)
