"""Cells side by side in processes of this machine, so that one that crashes takes its own cell along and no other.

What they share is written once, into one file that they map into memory; a cell's weights come back through a file as
well, its numbers through a pipe.
"""

import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from weixing.errors import UserError
from weixing.tasks.cells import Cell
from weixing.tasks.job import Failed, Finished, Job, Report, as_it_travels, run_cell, with_tensors, without_tensors

SHARED = "shared.safetensors"
SECONDS_BETWEEN_REPORTS = 0.2  # of one process
SECONDS_TO_END = 5.0  # that a process has after it was asked to

_SPAWN = get_context("spawn")  # a fork would inherit torch's and numba's threads half


class Processes:
    """Children, started as cells need them and ended with the context.

    Args:
        job: what cells share.
        devices: one for each child; a CPU may be named several times.
        folder: an empty one for the time being, with room for the pretrained weights and the encoded rows.
    """

    def __init__(self, job: Job, devices: Sequence[torch.device], folder: Path) -> None:
        self.devices, self.folder = list(devices), folder
        self.hollow, tensors = without_tensors(job)
        safetensors.torch.save_file({name: t.contiguous() for name, t in tensors.items()}, folder / SHARED)
        self.children: list[_Child] = []

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *_: object) -> None:
        for child in self.children:
            child.process.terminate()
        for child in self.children:
            child.end()

    def run(self, cells: Sequence[Cell], wanted: Callable[[], float], report: Report) -> Iterator[Finished | Failed]:
        """As in `Runner`. A child that was killed is not replaced: it may have been for want of memory."""
        waiting = deque(cells)
        while self.devices and len(self.children) < len(cells):
            self.children.append(_Child(self.hollow, self.devices.pop(0), self.folder))
        while waiting or any(child.cell for child in self.children):
            for child in self.children:
                if waiting and not child.cell:
                    child.begin(waiting.popleft(), wanted())
            if not self.children:
                raise UserError(
                    f"no process is left to run cell {waiting[0].name} and {len(waiting) - 1} more",
                    action="Run fewer side by side: --processes 1 --resume",
                )
            for connection in wait([child.connection for child in self.children if child.cell]):
                child = next(child for child in self.children if child.connection is connection)
                done = child.receive(report)
                if done:
                    yield done
            self.children = [child for child in self.children if child.alive]


class _Child:
    """One process, as its parent sees it: what it is at, and whether it still answers."""

    def __init__(self, hollow: Job, device: torch.device, folder: Path) -> None:
        self.cell: Cell | None = None
        self.alive, self.folder = True, folder
        self.connection, theirs = _SPAWN.Pipe()
        self.process = _SPAWN.Process(target=_serve, args=(theirs, hollow, device, folder), daemon=True)
        resource_tracker.ensure_running()  # its own start would lift the mask
        # Ctrl-C reaches every process of a terminal; the parent alone answers it. A child inherits the mask.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()  # so that the pipe ends with the child

    def begin(self, cell: Cell, wanted: float) -> None:
        self.cell = cell
        with suppress(BrokenPipeError):  # it has died: `receive` will see that
            self.connection.send((cell, wanted))

    def receive(self, report: Report) -> Finished | Failed | None:
        """What the child has to say: how its cell ended, or None if it goes on."""
        assert self.cell
        cell = self.cell
        try:
            message: Any = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.end()
            self.cell = None
            return Failed(cell, _death(self.process.exitcode))
        if isinstance(message, tuple):
            report(cell, *message)
            return None
        self.cell = None
        if isinstance(message, Failed):
            if isinstance(message.error, OSError):  # a full disk is the same for all
                raise message.error
            return message
        file = self.folder / f"{cell.name}.safetensors"
        if not file.exists():
            return message
        weights = safetensors.torch.load_file(file)
        file.unlink()  # what is mapped stays
        return replace(message, weights=weights)

    def end(self) -> None:
        """Wait for its end, and see to it."""
        self.alive = False
        self.connection.close()
        self.process.join(SECONDS_TO_END)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _death(code: int | None) -> UserError:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        reason = ", as happens when memory runs out" if -code == signal.SIGKILL else ""
        what = f"its process was ended by {name}{reason}"
    else:
        what = f"its process ended with exit code {code}"
    return UserError(what, action="Run fewer cells side by side (--processes), or smaller batches")


def _serve(connection: Connection, hollow: Job, device: torch.device, folder: Path) -> None:
    """What a child does: run the cells that it is sent, until its parent is gone."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
    job = with_tensors(hollow, safetensors.torch.load_file(folder / SHARED)).on(device)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            cell, wanted = connection.recv()
            report = _Report(connection)
            try:
                finished = run_cell(job, cell, device, wanted, report)
                if finished.weights is not None:
                    safetensors.torch.save_file(dict(finished.weights), folder / f"{cell.name}.safetensors")
                connection.send(replace(finished, weights=None))
            except (BrokenPipeError, ConnectionResetError):
                return
            except Exception as error:
                connection.send(Failed(cell, as_it_travels(error)))


class _Report:
    """Tells the parent now and then; that fails when the parent is gone, and so ends the child."""

    def __init__(self, connection: Connection) -> None:
        self.connection, self.rows, self.told = connection, 0, time.monotonic()

    def __call__(self, cell: Cell, rows: int, note: str) -> None:
        self.rows += rows
        if time.monotonic() - self.told >= SECONDS_BETWEEN_REPORTS:
            self.connection.send((self.rows, note))
            self.rows, self.told = 0, time.monotonic()
