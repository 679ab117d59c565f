"""Where a table comes from: the files that were read, and the command that makes it again. Reads those files."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from weixing.files import sha256_of


@dataclass(frozen=True)
class Source:
    """A file that a table was made from: its path as given, SHA-256 of its bytes, and how many entries it has."""

    path: str
    sha256: str
    entries: int


@dataclass(frozen=True)
class Provenance:
    """The command that makes a page again, the files that it reads, and the version of weixing that made it."""

    command: str
    sources: tuple[Source, ...]
    version: str


def provenance(command: str, files: Mapping[Path, int]) -> Provenance:
    """Of a command that has read `files`, each with its number of entries."""
    sources = tuple(Source(path.as_posix(), sha256_of(path), entries) for path, entries in files.items())
    return Provenance(command, sources, version("weixing"))
