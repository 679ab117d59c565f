"""Results as data: one JSON file a section, case after case, each with the machine and versions it was measured on.

Writes files, asks the machine. A case is written as soon as it is finished, over an earlier measurement of it, so that
a bench that is stopped keeps what it had, and cases can be measured one at a time.
"""

import os
import platform
import subprocess
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import weixing
from bench.children import ROOT
from bench.measure import Case
from weixing.files import read_json, write_json

STAT = Path("/proc/stat")
PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "numba")


def machine() -> dict[str, Any]:
    """Processor, cores, memory, system, GPU if there is one; no host name."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(memory / 1e9, 1),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "load_before": round(os.getloadavg()[0], 2),
        "busy_before": busy_cores(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def busy_cores(seconds: float = 1.0) -> float | None:
    """How many cores other processes keep at work just now, this one being idle; None where there is no /proc.

    The load is no answer: it is a mean of minutes, in which the case before was measured.
    """
    if (before := _busy_ticks()) is None:
        return None
    began = time.perf_counter()
    time.sleep(seconds)
    return round(((_busy_ticks() or before) - before) / (time.perf_counter() - began) / os.sysconf("SC_CLK_TCK"), 2)


def _busy_ticks() -> int | None:
    """Clock ticks that all cores together have been at work since the system began."""
    try:
        total = STAT.read_text(encoding="utf-8").splitlines()[0]
    except OSError:
        return None
    user, nice, system, _idle, _waiting, interrupts, soft_interrupts, *_ = map(int, total.split()[1:])
    return user + nice + system + interrupts + soft_interrupts


def versions(uer: str | None) -> dict[str, str]:
    """Of Python, the packages that matter, this project (with its commit), and UER-py."""
    found = {"python": platform.python_version(), "weixing": weixing.__version__ + _commit()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing"
    return found | ({"UER-py": uer} if uer else {})


def write_case(file: Path, section: str, name: str, case: Case, record: dict[str, Any]) -> None:
    """Put one case into the section's file; the others in it stay."""
    new: dict[str, Any] = {"section": section, "cases": {}}
    value = read_json(file, "results of a section") if file.exists() else new
    measured = datetime.now(UTC).isoformat(timespec="seconds")
    value["cases"][name] = {"measured": measured, **record, **case.as_json()}
    write_json(file, value)


def _processor() -> str:
    """Its name, with family and model, since the names of virtual machines often say little."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in reversed(lines))}
    name = facts.get("model name", platform.machine())
    return f"{name} (family {facts['cpu family']}, model {facts['model']})" if "cpu family" in facts else name


def _commit() -> str:
    git = ["git", "-C", str(ROOT)]
    commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    if commit.returncode:
        return ""
    changed = subprocess.run([*git, "status", "--porcelain", "src"], capture_output=True, text=True, check=False)
    return f" ({commit.stdout.strip()}{', changed since' if changed.stdout.strip() else ''})"
