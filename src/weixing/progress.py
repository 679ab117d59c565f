"""Progress on stderr: a bar with rate and time left on a terminal, plain lines now and then otherwise.

stdout is left to results. Nothing here is random or needed for a result.
"""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

PLAIN_SECONDS = 10.0  # between two plain lines where stderr is no terminal


class _Voice:
    """Whether this process speaks."""

    silent = False


def hush() -> None:
    """Say nothing from now on: of several processes that do the same, another speaks."""
    _Voice.silent = True


def say(message: str) -> None:
    """Print one line of information to stderr."""
    if not _Voice.silent:
        print(message, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """`seconds` for people: ``8s``, ``3m05s``, ``2h07m``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


class Progress:
    """Progress of one task of `total` units (None: unknown), used as a context manager.

    >>> with Progress("prepare", total=3, unit="documents") as progress:
    ...     progress.advance(3, note="1.5 MB/s")
    """

    def __init__(self, name: str, *, total: float | None = None, unit: str = "", start: float = 0) -> None:
        self.name, self.total, self.unit, self.done, self.start = name, total, unit, start, start
        self._began = self._said = time.monotonic()
        self._bar = _bar(total is not None, unit) if sys.stderr.isatty() and not _Voice.silent else None
        if self._bar:
            self._task = self._bar.add_task(name, total=total, completed=int(start), note="")

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()
        elif self._said != self._began and error is None and self.done >= (self.total or 0):
            self._line("done")

    def advance(self, amount: float = 1, note: str = "") -> None:
        """Count `amount` more units as done; `note` is shown beside them (a rate, a loss)."""
        self.done += amount
        if self._bar:
            self._bar.update(self._task, completed=self.done, note=note)
        elif time.monotonic() - self._said >= PLAIN_SECONDS:
            self._said = time.monotonic()
            self._line(note)

    def _line(self, note: str) -> None:
        spent = time.monotonic() - self._began
        of = f"/{self.total:,.0f}" if self.total is not None else ""
        left = ""
        if self.total is not None and self.start < self.done < self.total:
            left = f", {duration(spent / (self.done - self.start) * (self.total - self.done))} left"
        say(f"{self.name}: {self.done:,.0f}{of} {self.unit}, {note + ', ' if note else ''}{duration(spent)}{left}")


def _bar(known_total: bool, unit: str) -> "RichProgress":
    """An empty bar. Its library takes 20 ms to import, so that it is imported on a terminal alone."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    return RichProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}" + ("/{task.total:,.0f}" if known_total else "") + f" {unit}"),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(compact=True),
        console=Console(stderr=True),
    )
