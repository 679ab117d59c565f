"""Checkpoints of a run: whole folders ``checkpoints/step-NNNNNNN``, written beside and renamed. Opens files.

A checkpoint holds everything that decides what comes next: weights, optimizer states, random states, the sums of
the report under way, and the step, which is also the position in the data. Loaded with weights_only, so a file that
would execute code is refused.
"""

import io
import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.optim import Optimizer

from weixing.errors import UserError
from weixing.files import atomic_folder

WEIGHTS, STATE = "weights.safetensors", "state.pt"


def save_checkpoint(
    folder: Path,
    step: int,
    model: nn.Module,
    optimizers: Sequence[Optimizer],
    progress: dict[str, Any],
    device: torch.device,
    *,
    keep: int,
) -> Path:
    """Write ``folder/step-NNNNNNN`` and remove all but the `keep` newest.

    Args:
        step: updates done.
        progress: plain numbers of the loop itself (sums, seconds).
        device: the run's, whose random state is saved beside the CPU's.
    """
    path = folder / f"step-{step:07d}"
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
    for old in list_checkpoints(folder)[:-keep]:
        shutil.rmtree(old)
    return path


def list_checkpoints(folder: Path) -> list[Path]:
    """The run's complete checkpoints, oldest first."""
    complete = (path for path in folder.glob("step-*") if (path / STATE).exists())
    return sorted(complete, key=lambda path: int(path.name.removeprefix("step-")))


def load_checkpoint(
    path: Path, model: nn.Module, optimizers: Sequence[Optimizer], device: torch.device
) -> tuple[int, dict[str, Any]]:
    """Put a checkpoint's state back into model, optimizers and random states; return its step and progress.

    Raises:
        UserError: a damaged checkpoint.
    """
    try:
        weights = load_file(path / WEIGHTS)
        state = torch.load(path / STATE, map_location="cpu", weights_only=True)
        model.load_state_dict(weights)
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
    except torch.OutOfMemoryError:
        raise  # the checkpoint is well
    except (OSError, RuntimeError, SafetensorError, ValueError, KeyError, pickle.UnpicklingError, EOFError) as error:
        raise UserError(
            f"this checkpoint cannot be read: {str(error).splitlines()[0]}",
            where=path, action="Remove this folder; --resume then goes on from the checkpoint before it",
        ) from None  # fmt: skip
    torch.set_rng_state(state["random_cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["random_device"], device)
    return state["step"], state["progress"]
