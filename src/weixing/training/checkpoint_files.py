"""What a checkpoint is on the disk: the files of a folder ``step-NNNNNNN``, their checksums. Opens files.

Loaded with weights_only, so a file that would execute code is refused. The list of checksums, written last, tells files
that were damaged since.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
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
from weixing.files import atomic_folder, read_json, sha256_of, write_json

WEIGHTS, STATE, CHECKSUMS = "weights.safetensors", "state.pt", "checksums.json"

_NAME = re.compile(r"step-(\d+)")
_PIECE_BYTES = 8 << 20  # written at once
# What reading a damaged checkpoint raises where no checksum has told it.
_UNREADABLE = (
    *(OSError, RuntimeError, ValueError, LookupError, TypeError, EOFError), SafetensorError, UnpicklingError,
)  # fmt: skip


def state_of(
    step: int,
    model: nn.Module,
    optimizers: Sequence[Optimizer],
    progress: dict[str, Any],
    device: torch.device,
) -> dict[str, Any]:
    """Everything that decides what comes next, with the tensors themselves, not copies.

    Args:
        step: updates done.
        progress: plain numbers of the loop itself (sums, seconds).
        device: the run's, whose random state is taken beside the CPU's.
    """
    return {
        "weights": {name: tensor.detach() for name, tensor in model.state_dict().items()},
        "step": step,
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "progress": progress,
        "random_cpu": torch.get_rng_state(),
        "random_device": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def write_files(path: Path, state: dict[str, Any], go_on: Callable[[], None] = lambda: None) -> None:
    """Write the folder `path`, whole or not at all.

    Args:
        state: as of `state_of`, its tensors on the CPU.
        go_on: called before each piece; what it raises ends the writing, and nothing is left.
    """
    with atomic_folder(path, overwrite=True) as beside:
        with _Summed(beside / WEIGHTS, go_on) as weights:
            weights.write(safetensors.torch.save(state["weights"]))
        with _Summed(beside / STATE, go_on) as rest:
            torch.save({name: value for name, value in state.items() if name != "weights"}, rest)  # type: ignore[arg-type]
        files = {file.path.name: {"bytes": file.bytes, "sha256": file.sha256()} for file in (weights, rest)}
        write_json(beside / CHECKSUMS, {"files": files})


class _Summed:
    """A file to write to, piece by piece, that knows its checksum at the end; torch writes to it as to a stream."""

    def __init__(self, path: Path, go_on: Callable[[], None]) -> None:
        self.path, self.bytes = path, 0
        self._stream = open(path, "wb")  # noqa: SIM115  # closed in __exit__
        self._hash, self._go_on = hashlib.sha256(), go_on
        self._error: BaseException | None = None

    def write(self, data: bytes | memoryview) -> int:
        """Write all of `data`."""
        view = memoryview(data).cast("B")
        try:
            for start in range(0, len(view), _PIECE_BYTES):
                self._go_on()
                piece = view[start : start + _PIECE_BYTES]
                self._stream.write(piece)
                self._hash.update(piece)
        except BaseException as error:
            self._error = error
            raise
        self.bytes += len(view)
        return len(view)

    def flush(self) -> None:
        """Nothing waits here."""

    def sha256(self) -> str:
        """Of what was written, as hexadecimal digits."""
        return self._hash.hexdigest()

    def __enter__(self) -> "_Summed":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            self._stream.close()
        except OSError:
            if error is None:
                raise
        if error is not None and self._error not in (None, error):
            raise self._error from None  # torch reports an error of its own kind after it


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
