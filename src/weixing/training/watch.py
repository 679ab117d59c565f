"""A watch over the ranks of a run: none of them stands still, or ends, without all of them saying which. Opens sockets.

Every second a thread tells the others, by the store at which they met, at which step this rank is and what it does, and
learns the same of them; another thread judges, and ends the process, since a thread that waits within torch for another
rank cannot be interrupted. Exit code 1 then: torchrun may start the run again.
"""

import json
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Self

from torch.distributed import DistError, Store

from weixing.errors import RanksError
from weixing.progress import say

BEAT_SECONDS = 1.0
LIFELESS_SECONDS = 4.0  # without a beat
SIGNAL_SECONDS = 8.0  # from a signal to the end, whatever the others do
FIRST_NOTE_SECONDS = 30.0
GRACE_SECONDS = 2.0  # from the end of another rank, of which torch tells most often, but not always
WAITING, SAVING = "waiting for the others", "saving"
ENDED = "ended"
GO_ON = "The run can go on from its last checkpoint with --resume."


@dataclass
class Seen:
    """Of one rank: the last beat and what it said, and when (here) each of them was new."""

    beat: int
    moves: int
    step: int
    doing: str
    lived: float
    moved: float


class Watch:
    """A context manager: the watch is kept within.

    Args:
        rank: this process.
        hosts: names of all ranks' hosts.
        store: for this run alone.
        stall_seconds: how long no rank may move.
        keeps_store: whether the store ends with this process.
    """

    def __init__(self, rank: int, hosts: list[str], store: Store, stall_seconds: float, keeps_store: bool) -> None:
        self.rank, self.hosts, self.stall_seconds = rank, hosts, stall_seconds
        self._keeps_store = keeps_store
        # A connection is one thread's at a time.
        self._talks, self._asks = store.clone(), store.clone()  # type: ignore[attr-defined]  # the stubs lack it
        for own in (self._talks, self._asks):
            own.set_timeout(timedelta(seconds=5))
        self._state = (0, 0, "starting")  # moves, step, what it does
        now = time.monotonic()
        self._seen = [Seen(-1, 0, 0, "starting", now, now) for _ in hosts]
        self._others = [other for other in range(len(hosts)) if other != rank]
        self._heard, self._ended, self._ended_at = now, "", now
        self._over, self._judged = threading.Event(), threading.Event()
        self._woken, self._wake = socket.socketpair()
        self._wake.setblocking(False)

    def __enter__(self) -> Self:
        self._talks.set(f"beat/{self.rank}", json.dumps([0, *self._state]))
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._talk, self._judge)]
        for thread in self._threads:
            thread.start()
        self._wakes = signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False) if _in_main() else None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._judged.set()
        for thread in self._threads:
            thread.join(LIFELESS_SECONDS)  # one within torch must not outlive the interpreter
        if self._wakes is not None:
            signal.set_wakeup_fd(self._wakes)
        self._wake.close()

    def at(self, step: int, doing: str) -> None:
        """This rank is at `step`, doing that."""
        self._state = (self._state[0] + 1, step, doing)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """This rank waits for the others within."""
        moves, step, doing = self._state
        self._state = (moves, step, WAITING)
        yield
        self._state = (moves + 1, step, doing)

    def explained(self, error: BaseException) -> BaseException:
        """Tell the others why this rank ends; what to raise: of an error of the network, which rank is behind it."""
        self._judged.set()
        if isinstance(error, RuntimeError) and _of_the_network(error):
            error = self._behind(error)
        self._tell(
            str(error) if isinstance(error, RanksError) else f"{self._name(self.rank)} has ended: {_line(error)}"
        )
        with suppress(DistError, RuntimeError):
            self._asks.set(f"read/{self.rank}", "")
        if self._keeps_store:  # where the others read goes with this process
            self._until(lambda: self._asks.check([f"read/{rank}" for rank in self._others]))
        return error

    def _behind(self, error: RuntimeError) -> RanksError:
        """Which rank ended, by its own words or by its silence."""
        if self._until(lambda: bool(self._ended or self._silent())):
            return RanksError(self._ended or f"{self._standing()} {GO_ON}")
        return RanksError(f"the ranks have lost each other, though all of them live: {_line(error)}. {GO_ON}")

    def _until(self, happens: Callable[[], bool]) -> bool:
        """Wait for something that one sees within some beats, or not at all."""
        end = time.monotonic() + LIFELESS_SECONDS + 2 * BEAT_SECONDS
        with suppress(DistError, RuntimeError):
            while time.monotonic() < end:
                if happens():
                    return True
                time.sleep(0.05)
        return False

    def _tell(self, said: str) -> str:
        """Leave the reason for the end where all will read it; the reason that was there first."""
        with suppress(DistError, RuntimeError):
            if time.monotonic() - self._heard < LIFELESS_SECONDS:  # one that is cut off waits long for an answer
                return self._asks.compare_set(ENDED, "", said).decode()
        return said

    def _talk(self) -> None:
        beat, ranks = 0, range(len(self.hosts))
        while not self._over.is_set():
            beat += 1
            with suppress(DistError, RuntimeError):
                self._talks.set(f"beat/{self.rank}", json.dumps([beat, *self._state]))
                self._take([json.loads(value) for value in self._talks.multi_get([f"beat/{rank}" for rank in ranks])])
                if not self._ended and self._talks.check([ENDED]):
                    self._ended, self._ended_at = self._talks.get(ENDED).decode(), time.monotonic()
                    self._talks.set(f"read/{self.rank}", "")
            self._over.wait(BEAT_SECONDS)

    def _take(self, beats: list[tuple[int, int, int, str]]) -> None:
        self._heard = now = time.monotonic()
        for seen, (beat, moves, step, doing) in zip(self._seen, beats, strict=True):
            if beat != seen.beat:
                seen.lived = now
            if moves != seen.moves:
                seen.moved = now
            seen.beat, seen.moves, seen.step, seen.doing = beat, moves, step, doing

    def _judge(self) -> None:
        asked: tuple[int, float] | None = None
        noted = False
        while not self._judged.is_set():
            readable, _, _ = select.select([self._woken], [], [], 0.2)
            if readable and asked is None:
                known = [number for number in self._woken.recv(64) if number in (signal.SIGINT, signal.SIGTERM)]
                asked = (known[0], time.monotonic()) if known else None
            now = time.monotonic()
            still = now - max(seen.moved for seen in self._seen)
            if self._ended and now - self._ended_at > GRACE_SECONDS:  # and still this rank waits
                self._end(self._ended, 1)
            elif asked and now - asked[1] > SIGNAL_SECONDS and self._state[2] == WAITING and not self._saving():
                name = signal.Signals(asked[0]).name
                said = f"{self._name(self.rank)} got {name} while it waited. {self._standing()} {GO_ON}"
                self._end(self._tell(said), 128 + asked[0])
            elif max(still, now - self._heard) > self.stall_seconds:
                said = f"no rank has moved for {self.stall_seconds:.0f} seconds. {self._standing()} {GO_ON}"
                self._end(self._tell(said), 1)
            elif still > min(FIRST_NOTE_SECONDS, self.stall_seconds / 2):
                if not noted:
                    say(f"note: nothing has moved for {still:.0f} seconds. {self._standing()}")
                noted = True
            else:
                noted = False

    def _saving(self) -> bool:
        """Whether another rank writes the checkpoint that is waited for."""
        silent = self._silent()
        return any(self._seen[rank].doing == SAVING for rank in self._others if rank not in silent)

    def _silent(self) -> list[int]:
        """Ranks without a sign of life; where the store is, if it does not answer."""
        if time.monotonic() - self._heard > LIFELESS_SECONDS:
            return [0]
        return [rank for rank in self._others if self._heard - self._seen[rank].lived > LIFELESS_SECONDS]

    def _standing(self) -> str:
        """Who keeps the others waiting."""
        silent = self._silent()
        busy = [rank for rank, seen in enumerate(self._seen) if seen.doing != WAITING and rank not in silent]
        if silent:
            who = ", ".join(self._at(rank) for rank in silent)
            return f"No sign of life from {who}: killed, or its host or this one is cut off."
        if busy:
            return f"The others wait for {', '.join(self._at(rank) for rank in busy)}."
        return f"All ranks wait for each other at step {self._state[1]:,}: the network between them is cut."

    def _at(self, rank: int) -> str:
        seen = self._seen[rank]
        if rank in self._silent():  # its last word may be old; ranks are never more than a step apart
            return f"{self._name(rank)} (at step {self._state[1]:,})"
        return f"{self._name(rank)} (at step {seen.step:,}, {seen.doing})"

    def _name(self, rank: int) -> str:
        return f"rank {rank} on {self.hosts[rank]}"

    def _end(self, message: str, code: int) -> None:
        if self._judged.is_set():
            return
        sys.stdout.flush()
        print(f"weixing: {message}", file=sys.stderr, flush=True)
        os._exit(code)


def _of_the_network(error: RuntimeError) -> bool:
    """Whether it says that another rank is gone; gloo has no error of its own kind."""
    return isinstance(error, DistError) or any(word in str(error) for word in ("gloo", "Gloo", "NCCL", "Connection"))


def _line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0].rstrip(".") if lines and lines[0] else type(error).__name__


def _in_main() -> bool:
    return threading.current_thread() is threading.main_thread()
