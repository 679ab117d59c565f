"""run.json: what a run was told to do, where it began and was resumed, why it ended. Reads and writes that file."""

import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import weixing
from weixing.errors import UserError
from weixing.files import read_json, write_json
from weixing.progress import say
from weixing.training.devices import describe_machine
from weixing.training.settings import RUN_KIND, Settings, as_json

LAUNCH = "TORCHELASTIC_RUN_ID"  # what torchrun calls itself (--rdzv-id)


def begun_by_this_launch(output: Path) -> bool:
    """Whether the same torchrun began the run in `output`, and has started its processes anew (``--max-restarts``)."""
    if LAUNCH not in os.environ or not (output / "run.json").is_file():
        return False
    launch = read_json(output / "run.json", "run.json of a run").get("launch")
    # Without --rdzv-id some are called "none", which says nothing.
    again = os.environ[LAUNCH] != "none" or os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
    return again and launch == os.environ[LAUNCH]


def write_run_record(settings: Settings, output: Path, device: torch.device, ranks: int, sharded: bool) -> None:
    """Write run.json: settings, machine, number of processes and whether the model is cut, versions, when it began."""
    record: dict[str, Any] = {
        "kind": RUN_KIND,
        "weixing": weixing.__version__,
        "settings": as_json(settings),
        "machine": {**describe_machine(device), "ranks": ranks, "sharded": sharded},
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if LAUNCH in os.environ:
        record["launch"] = os.environ[LAUNCH]
    write_json(output / "run.json", record)


def note_resumption(output: Path, device: torch.device, ranks: int, sharded: bool) -> None:
    """Add this machine to run.json, and say so if it computes otherwise than the run's: then resuming is not exact.

    Raises:
        UserError: the run began on another kind of device, or in another way, where optimizers keep other states.
    """
    record = read_json(output / "run.json", "run.json of a run to resume")
    machine = {**describe_machine(device), "ranks": ranks, "sharded": sharded}
    before = {"ranks": 1, "sharded": False, **record["machine"]}
    if (began := _device_type(before)) not in (None, device.type):
        raise UserError(
            f"this run began on {began}, and its optimizers' states are of no use on {device.type}",
            where=output / "run.json", accepted=f"--device {began}",
            action=f"Resume it there; once it is finished, --init {output} starts a new run from its model",
        )  # fmt: skip
    if device.type == "cpu" and before["sharded"] != sharded:  # compiled optimizers, or torch's
        raise UserError(
            f"this run began with{'' if before['sharded'] else 'out'} --shard, and on a CPU its optimizers' states are "
            f"of no use with{'' if sharded else 'out'} it", where=output / "run.json",
        )  # fmt: skip
    if different := [key for key in ("device", "threads", "torch", "ranks") if machine[key] != before.get(key)]:
        changes = ", ".join(f"{key} {machine[key]} (before: {before.get(key)})" for key in different)
        say(f"note: not bit for bit the run that was stopped: {changes}")
    resumed = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine}
    record.pop("ended", None)
    write_json(output / "run.json", {**record, "resumed": [*record.get("resumed", []), resumed]})


def note_end(output: Path, why: str) -> None:
    """Add to run.json that the run ended before its last step, as far as that can still be written."""
    with contextlib.suppress(OSError, UserError):
        record = read_json(output / "run.json", "run.json of a run")
        ended = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "why": why}
        write_json(output / "run.json", {**record, "ended": ended})


def _device_type(machine: dict[str, Any]) -> str | None:
    """Of the machine of a run.json; None where an old one, which does not name it, leaves it open."""
    if "type" in machine:
        return str(machine["type"])
    if "NVIDIA" in machine.get("device", ""):
        return "cuda"
    return "cpu" if machine.get("torch", "").endswith("+cpu") else None
