"""Devices: which one to use, in which precision, what it can do at most. Asks the machine; reads no files."""

import os
import platform
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch

from weixing.errors import UserError

Precision = Literal["bf16", "float32"]


def pick_device(name: str | None = None, local_rank: int | None = None) -> torch.device:
    """The device called `name` (``cpu``, ``cuda``, ``cuda:1``); by default CUDA if there is one, else the CPU.

    Args:
        local_rank: among several processes of this host, the number of the one that asks, which is that of its GPU.

    Raises:
        UserError: no such device here.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if local_rank is not None and name.startswith("cuda"):
        if name != "cuda":
            raise UserError(f"{name} for each of several processes", where="--device", accepted="cuda: one GPU each")
        name = f"cuda:{local_rank}"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"no device is called {name!r}", where="--device", accepted="cpu, cuda, cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"a device of type {device.type}", where="--device", accepted="cpu, cuda, cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"{name} is not there: torch {torch.__version__} sees {torch.cuda.device_count()} CUDA devices",
            where="--device", action="README.md says how to install a CUDA build of torch",
        )  # fmt: skip
    return device


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bf16 matrices in hardware; emulated, they are far slower than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())


def pick_precision(name: str | None, device: torch.device) -> Precision:
    """``bf16`` (matrix products in bf16; weights and optimizer stay float32) or ``float32``.

    By default bf16 where the processor has it.

    Raises:
        UserError: bf16 asked for where the processor has none, or another name.
    """
    if name is None:
        return "bf16" if has_bf16(device) else "float32"
    if name not in ("bf16", "float32"):
        raise UserError(f"no precision is called {name!r}", where="--precision", accepted="bf16 or float32")
    if name == "bf16" and not has_bf16(device):
        raise UserError("this processor has no AVX-512 bf16 instructions", where="--precision", accepted="float32")
    return "bf16" if name == "bf16" else "float32"


def product_type(precision: Precision) -> torch.dtype:
    """The type of the numbers that matrix products take in `precision`."""
    return torch.bfloat16 if precision == "bf16" else torch.float32


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """The context in which a forward pass runs in `precision`."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def peak_flops_per_second(device: torch.device, precision: Precision, seconds: float = 0.3) -> float:
    """The device's own matrix-multiply rate, measured now on 2,048² matrices: the best of several runs."""
    side = 2048 if device.type == "cpu" else 8192
    matrix = torch.randn(side, side, device=device, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    torch.mm(matrix, matrix)
    best, end = float("inf"), time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < end:
        _wait(device)
        began = time.perf_counter()
        torch.mm(matrix, matrix)
        _wait(device)
        best = min(best, time.perf_counter() - began)
    return 2 * side**3 / best


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Names and versions for a run log; no host name."""
    processor = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            processor = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {
        "type": device.type,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else processor,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
    }


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
