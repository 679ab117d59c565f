"""Files in stores (``s3://…`` and whatever else fsspec knows), under the interface of paths. Opens connections.

A local name is an ordinary path and needs no library.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from weixing.errors import UserError


def is_remote(name: str | Path) -> bool:
    """Whether `name` is a place in a store: it has a protocol in front."""
    return "://" in str(name)


def place(name: str | Path) -> Path:
    """`name` as a path: of this machine, or in a store (a `upath.UPath`, which behaves like one).

    Raises:
        UserError: the library is missing, or knows no such protocol.
    """
    if not is_remote(name):
        return Path(name)
    try:
        from upath import UPath
    except ImportError:
        raise UserError(
            "files in a store need the extra `storage`", where=name, action="pip install 'weixing[storage]'"
        ) from None
    try:
        path = UPath(str(name))
        path.fs  # noqa: B018  its library is loaded here
    except (ValueError, ImportError) as error:
        raise UserError(f"no store can be opened: {error}", where=name, accepted="s3://bucket/folder") from None
    return cast(Path, path)


@contextmanager
def reaching(name: str | Path) -> Iterator[None]:
    """What the libraries of stores raise, of many kinds, as one error that names the place; of a disk nothing changes.

    Raises:
        UserError: the store cannot be reached, or refuses.
    """
    try:
        yield
    except (UserError, EOFError):
        raise
    except Exception as error:
        if not is_remote(name):
            raise
        raise UserError(
            f"the store cannot be read: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            where=name, action="Check its address (AWS_ENDPOINT_URL) and what lets you in (AWS_ACCESS_KEY_ID, …)",
        ) from None  # fmt: skip
