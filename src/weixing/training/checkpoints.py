"""The checkpoints of a run: when they are written, by a thread of its own, which stay, which one is gone on from.

A checkpoint holds everything that decides what comes next: weights, optimizer states, random states, the sums of
the report under way, and the step, which is also the position in the data. Opens files.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self

import torch
from torch import nn
from torch.optim import Optimizer

from weixing.errors import UserError
from weixing.files import half_made, remove_leftovers
from weixing.progress import say
from weixing.training.checkpoint_files import list_checkpoints, load_checkpoint, state_of, step_of, write_files
from weixing.training.copies import copy_to_host

KEEP = 3  # that many of the newest, where nothing else is asked for


class Checkpoints:
    """The checkpoints of one run: the newest `keep`, and the one of the best evaluation.

    A context manager: what ends the run also ends the writing.

    Args:
        folder: where they are.
        keep: how many of the newest stay.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder, keep
        self._newest: int | None = None  # step of the one that was begun last, or loaded
        self._damaged: list[Path] = []  # of no use, removed once there is a newer one
        self._copy: Any = None  # of a state, which the thread reads
        self._thread: Thread | None = None
        self._error: BaseException | None = None
        self._cancelled = Event()
        self._writes_best = False

    def save(
        self,
        step: int,
        model: nn.Module,
        optimizers: Sequence[Optimizer],
        progress: dict[str, Any],
        device: torch.device,
        best: int | None = None,
        urgent: bool = False,
    ) -> None:
        """Copy the state, and begin to write the checkpoint of `step`, if it is not there already.

        Once it is on the disk, those that are no longer kept are removed.

        Args:
            step, model, optimizers, progress, device: as of `state_of`.
            best: the step of the best evaluation so far; its checkpoint stays.
            urgent: whether one that is still being written is given up for this one, unless it is the best.

        Raises:
            OSError: the one before could not be written.
        """
        if step == self._newest:
            self._writes_best |= step == best
            return
        if urgent and not self._writes_best:
            self._cancelled.set()
        self.wait()
        self._copy = copy_to_host(state_of(step, model, optimizers, progress, device), self._copy)
        self._newest, self._writes_best = step, step == best
        self._cancelled.clear()
        self._thread = Thread(target=self._write, args=(step, best), name="weixing-checkpoint")
        self._thread.start()

    def look(self) -> None:
        """Raise what went wrong in the thread, if it has ended."""
        if self._thread and not self._thread.is_alive():
            self.wait()

    def wait(self) -> None:
        """Wait until the checkpoint that was begun is on the disk.

        Raises:
            OSError: it could not be written, and nothing of it is left.
        """
        if self._thread:
            self._thread.join()
            self._thread = None
        if self._error:
            error, self._error = self._error, None
            raise error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return
        if isinstance(error, KeyboardInterrupt):
            self._cancelled.set()
        if self._thread:
            self._thread.join()

    def _write(self, step: int, best: int | None) -> None:
        """The thread."""
        path = self.folder / f"step-{step:07d}"
        try:
            if path in self._damaged:
                shutil.rmtree(path)
            write_files(path, self._copy, self._go_on)
            whole = [one for one in list_checkpoints(self.folder) if one == path or one not in self._damaged]
            kept = {*whole[-self.keep :], *(one for one in whole if step_of(one) == best)}
            for old in list_checkpoints(self.folder):
                if old not in kept:
                    shutil.rmtree(old)
            self._damaged = []
        except _Cancelled:
            pass
        except BaseException as error:  # raised by the training thread, at its next look
            if isinstance(error, OSError) and error.filename is None:
                error.filename = str(path)
            self._error = error

    def _go_on(self) -> None:
        if self._cancelled.is_set():
            raise _Cancelled

    def load(
        self, model: nn.Module, optimizers: Sequence[Optimizer], device: torch.device
    ) -> tuple[int, dict[str, Any]] | None:
        """Put the newest checkpoint's state back, or that of the newest that is whole; say what was found.

        Returns:
            its step and progress; None if there is no checkpoint.

        Raises:
            UserError: there are some, and all of them are damaged.
        """
        saved = list_checkpoints(self.folder)
        if not saved:
            return None
        for name in half_made(self.folder):
            say(f"note: {self.folder / name} was being written when the run ended; it is not used")
        remove_leftovers(self.folder)
        why: list[str] = []
        for path in reversed(saved):
            try:
                found = load_checkpoint(path, model, optimizers, device)
            except UserError as error:
                say(f"warning: {path} is damaged and not used: {error.what}")
                why.append(f"{path.name}: {error.what}")
                self._damaged.append(path)
            else:
                say(f"resuming from {path}")
                self._newest = found[0]
                return found
        raise UserError(
            f"all checkpoints of this run are damaged ({'; '.join(why)})", where=self.folder,
            action="Put a copy of one of them here if there is one, or start the run again with --overwrite",
        )  # fmt: skip


class _Cancelled(Exception):
    """This checkpoint is not wanted any more."""
