"""Checkpoints of a run: whole folders ``checkpoints/step-NNNNNNN``, written beside and renamed. Opens files.

A checkpoint holds everything that decides what comes next: weights, optimizer states, random states, the sums of
the report under way, and the step, which is also the position in the data. Loaded with weights_only, so a file that
would execute code is refused. A list of checksums, written last, tells files that were damaged since.
"""

import io
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.optim import Optimizer

from weixing.errors import UserError
from weixing.files import atomic_folder, half_made, read_json, remove_leftovers, sha256_of, write_json
from weixing.progress import say

WEIGHTS, STATE, CHECKSUMS = "weights.safetensors", "state.pt", "checksums.json"
KEEP = 3  # that many of the newest, where nothing else is asked for

_NAME = re.compile(r"step-(\d+)")


# What reading a damaged checkpoint raises where no checksum has told it.
_UNREADABLE = (
    *(OSError, RuntimeError, ValueError, LookupError, TypeError, EOFError), SafetensorError, UnpicklingError,
)  # fmt: skip


class Checkpoints:
    """The checkpoints of one run: the newest `keep`, and the one of the best evaluation.

    Args:
        folder: where they are.
        keep: how many of the newest stay.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder, keep
        self._saved: int | None = None  # the newest step that is on the disk, whole
        self._damaged: list[Path] = []  # of no use, removed once there is a newer one

    def save(
        self,
        step: int,
        model: nn.Module,
        optimizers: Sequence[Optimizer],
        progress: dict[str, Any],
        device: torch.device,
        best: int | None = None,
    ) -> None:
        """Write the checkpoint of `step`, if it is not there already, and remove those that are no longer kept.

        Args:
            step: updates done.
            progress: plain numbers of the loop itself (sums, seconds).
            device: the run's, whose random state is saved beside the CPU's.
            best: the step of the best evaluation so far; its checkpoint stays.
        """
        if step == self._saved:
            return
        path = self.folder / f"step-{step:07d}"
        if path in self._damaged:
            self._damaged.remove(path)
            shutil.rmtree(path)
        write_checkpoint(path, step, model, optimizers, progress, device)
        self._saved = step
        whole = [path for path in list_checkpoints(self.folder) if path not in self._damaged]
        kept = {*whole[-self.keep :], *(path for path in whole if step_of(path) == best)}
        for old in list_checkpoints(self.folder):
            if old not in kept:
                shutil.rmtree(old)
        self._damaged = []

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
                self._saved = found[0]
                return found
        raise UserError(
            f"all checkpoints of this run are damaged ({'; '.join(why)})", where=self.folder,
            action="Put a copy of one of them here if there is one, or start the run again with --overwrite",
        )  # fmt: skip


def write_checkpoint(
    path: Path,
    step: int,
    model: nn.Module,
    optimizers: Sequence[Optimizer],
    progress: dict[str, Any],
    device: torch.device,
) -> None:
    """Write the folder `path`, whole or not at all; arguments as of `Checkpoints.save`."""
    with atomic_folder(path, overwrite=True) as beside:
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
        state = {
            "step": step,
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "progress": progress,
            "random_cpu": torch.get_rng_state(),
            "random_device": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        }
        # Bytes first: the libraries' own writers report a full disk as an error of their own kind.
        (beside / WEIGHTS).write_bytes(safetensors.torch.save(weights))
        packed = io.BytesIO()
        torch.save(state, packed)
        (beside / STATE).write_bytes(packed.getbuffer())
        files = {
            name: {"bytes": (beside / name).stat().st_size, "sha256": sha256_of(beside / name)}
            for name in (WEIGHTS, STATE)
        }
        write_json(beside / CHECKSUMS, {"files": files})


def list_checkpoints(folder: Path) -> list[Path]:
    """The run's checkpoints, oldest first, damaged ones among them."""
    return sorted((path for path in folder.glob("step-*") if _NAME.fullmatch(path.name) and path.is_dir()), key=step_of)


def step_of(path: Path) -> int:
    """The step that a checkpoint's folder is named after."""
    return int(path.name.removeprefix("step-"))


def check_files(path: Path) -> None:
    """Compare the files of a checkpoint with its checksums; one that an older version wrote has none.

    Raises:
        UserError: a file is missing, or is not as it was written.
    """
    for name in (WEIGHTS, STATE):
        if not (path / name).is_file():
            raise UserError(f"{name} is missing", where=path)
    if not (path / CHECKSUMS).exists():
        return
    try:
        files = read_json(path / CHECKSUMS, "a list of checksums")["files"]
        known = {name: (file["bytes"], file["sha256"]) for name, file in files.items()}
    except (UserError, AttributeError, KeyError, TypeError):
        raise UserError(f"{CHECKSUMS} cannot be read", where=path) from None
    for name, (size, sha256) in known.items():
        found = (path / name).stat().st_size if (path / name).is_file() else 0
        if found != size:
            raise UserError(f"{name} has {found:,} bytes where {size:,} were written", where=path)
        if sha256_of(path / name) != sha256:
            raise UserError(f"{name} is not what was written: its SHA-256 differs", where=path)


def load_checkpoint(
    path: Path, model: nn.Module, optimizers: Sequence[Optimizer], device: torch.device
) -> tuple[int, dict[str, Any]]:
    """Put a checkpoint's state back into model, optimizers and random states; return its step and progress.

    Raises:
        UserError: a damaged checkpoint.
    """
    try:
        check_files(path)
        weights = load_file(path / WEIGHTS)
        state = torch.load(path / STATE, map_location="cpu", weights_only=True)
        model.load_state_dict(weights)
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        step, progress = int(state["step"]), dict(state["progress"])
        torch.set_rng_state(state["random_cpu"])
        if device.type == "cuda":
            torch.cuda.set_rng_state(state["random_device"], device)
    except (torch.OutOfMemoryError, UserError):
        raise  # in the first case the checkpoint is well
    except _UNREADABLE as error:
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"it cannot be read: {why}", where=path) from None
    return step, progress
