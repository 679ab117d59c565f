"""Loops compiled by numba, with a word on stderr when that takes its time. Nothing else lives here."""

from collections.abc import Callable
from typing import Any

import numba
from numba.core import event

from weixing.progress import say


class _SayOnce(event.Listener):
    """Tells once in a process that something is being compiled: what comes from the disk is no such event."""

    said = False

    def on_start(self, event: event.Event) -> None:
        if not self.said:
            self.said = True
            say("note: compiling inner loops, once after an installation (about 10 seconds)")

    def on_end(self, event: event.Event) -> None:
        pass


event.register("numba:compile", _SayOnce())


def compile_with(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """A decorator: a function is compiled on its first call, with these options of `numba.njit`, without Python's lock.

    It is kept on disk for the next process if there is a place to keep it: a read-only installation and a user without
    a home folder have none.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(function, nogil=True, cache=True, **options)
        except RuntimeError:
            return numba.njit(function, nogil=True, **options)

    return decorate


compiled = compile_with()
