"""Loops compiled by numba. Nothing else lives here."""

from collections.abc import Callable
from typing import Any

import numba


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
