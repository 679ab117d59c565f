"""Checkpoints of a run: whole folders ``checkpoints/step-NNNNNNN``, written beside and renamed. Opens files.

A checkpoint holds everything that decides what comes next: weights, optimizer states, random states, the sums of
the report under way, and the step, which is also the position in the data. Loaded with weights_only, so a file that
would execute code is refused.
"""

import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim import Optimizer

from weixing.errors import UserError
from weixing.files import atomic_folder

WEIGHTS, STATE = "weights.safetensors", "state.pt"


def save_checkpoint(
    folder: Path, step: int, model: nn.Module, optimizers: Sequence[Optimizer], progress: dict[str, Any], keep: int
) -> Path:
    """Write ``folder/step-NNNNNNN`` and remove all but the `keep` newest.

    Args:
        step: updates done.
        progress: plain numbers of the loop itself (sums, seconds).
    """
    path = folder / f"step-{step:07d}"
    with atomic_folder(path, overwrite=True) as beside:
        save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, beside / WEIGHTS)
        torch.save(
            {
                "step": step,
                "optimizers": [optimizer.state_dict() for optimizer in optimizers],
                "progress": progress,
                "random_cpu": torch.get_rng_state(),
                "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            },
            beside / STATE,
        )
    for old in list_checkpoints(folder)[:-keep]:
        shutil.rmtree(old)
    return path


def list_checkpoints(folder: Path) -> list[Path]:
    """The run's complete checkpoints, oldest first."""
    return sorted(path for path in folder.glob("step-*") if (path / STATE).exists())


def load_checkpoint(
    path: Path, model: nn.Module, optimizers: Sequence[Optimizer], device: torch.device
) -> tuple[int, dict[str, Any]]:
    """Put a checkpoint's state back into model, optimizers and random states; return its step and progress.

    Raises:
        UserError: a damaged checkpoint, or one of another model.
    """
    try:
        weights = load_file(path / WEIGHTS, device=str(device))
        state = torch.load(path / STATE, map_location="cpu", weights_only=True)
        model.load_state_dict(weights)
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
    except (OSError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError, EOFError) as error:
        raise UserError(
            f"this checkpoint cannot be read: {str(error).splitlines()[0]}",
            where=path, action="Remove this folder; --resume then goes on from the checkpoint before it",
        ) from None  # fmt: skip
    torch.set_rng_state(state["random_cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state_all(state["random_cuda"])
    return state["step"], state["progress"]
