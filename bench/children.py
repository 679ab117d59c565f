"""Child processes: each with a time limit, its peak memory, and its last lines where it fails. Starts processes."""

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ERROR_LINES = 15
SECONDS_BETWEEN_SAMPLES = 0.03  # of memory


class SideFailed(Exception):
    """A side could not be measured; the text is its last lines, without a path of this machine."""


@dataclass(frozen=True)
class Finished:
    """A child that came to its end, or was stopped by `stop_when`.

    `seconds` count from the start of the process to its end; `lines` are those of stderr. `peak_memory_mb` (10⁶ bytes)
    is the most resident memory that each of its processes ever had, summed over those that were alive together, with
    pages that they share counted in each: an upper bound. Without /proc it is that of the largest alone.
    """

    command: str
    seconds: float
    output: str
    lines: list[str]
    peak_memory_mb: float

    @property
    def result(self) -> dict[str, Any]:
        """The JSON object in the last line of stdout."""
        return json.loads(self.output.splitlines()[-1])


def weixing(*words: object) -> list[str]:
    """A command line of this project."""
    return ["weixing", *map(str, words)]


def worker(name: str, *words: object) -> list[str]:
    """The command line of ``bench/workers/<name>.py``."""
    return ["python", "-m", f"bench.workers.{name}", *map(str, words)]


def run(
    command: Sequence[str],
    folder: Path,
    *,
    timeout: float,
    environment: Mapping[str, str] | None = None,
    stop_when: Callable[[str], bool] | None = None,
) -> Finished:
    """Run `command` in `folder` to its end.

    Args:
        command: as a user would type it; ``python`` and ``weixing`` mean those that run this.
        timeout: seconds after which it is killed, with all processes that it started.
        environment: variables in addition to those of this process.
        stop_when: is shown each line of stderr; once it says yes, the child is killed, which counts as its end.

    Raises:
        SideFailed: it ended with another exit code than 0, or was too slow.
    """
    shown = shlex.join(command)
    began, stopped = time.perf_counter(), False
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        child = subprocess.Popen(
            _resolve(command), cwd=folder, env=_environment(environment), stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.PIPE, text=True, encoding="utf-8", errors="replace", start_new_session=True,
        )  # fmt: skip
        assert child.stderr is not None
        lines: list[str] = []
        with _ended(child), _deadline(child, timeout) as late, _memory(child) as memory:
            for line in child.stderr:
                lines.append(line.rstrip())
                if stop_when and stop_when(line):
                    stopped = True
                    break
            if stopped:
                _kill(child)
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - began
        output.seek(0)
        printed = output.read()
    if late.is_set():
        raise SideFailed(without_paths(f"{shown}\nwas stopped after {timeout:.0f} s", folder))
    if child.returncode and not stopped:
        tail = [line for line in (*printed.splitlines()[-3:], *lines) if line.strip()][-ERROR_LINES:]
        raise SideFailed(without_paths("\n".join([f"{shown}\nended with {child.returncode}:", *tail]), folder))
    # The kernel's own figure comes second: in it, Linux counts what this process had when it forked the child.
    peak = memory[0] or usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Finished(shown, seconds, printed, lines, peak / 1e6)


def without_paths(text: str, folder: Path) -> str:
    """`text` without the folders of this machine."""
    for path, name in ((folder, "."), (ROOT, "."), (Path(sys.prefix), "PREFIX"), (Path.home(), "~")):
        text = text.replace(str(path.resolve()), name).replace(str(path), name)
    return text


def _resolve(command: Sequence[str]) -> list[str]:
    start = {"python": [sys.executable], "weixing": [sys.executable, "-m", "weixing"]}
    return [*start.get(command[0], [command[0]]), *command[1:]]


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    # Compiled files are kept, as for any user: else every start would compile every module again.
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    quiet = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "PYTHONUNBUFFERED": "1"}
    return {**kept, **quiet, "PYTHONPATH": str(ROOT), **(more or {})}


@contextmanager
def _ended(child: subprocess.Popen[str]) -> Iterator[None]:
    """Whatever happens, nothing of the child runs on."""
    try:
        yield
    finally:
        if child.returncode is None:
            _kill(child)
            child.wait()
        if child.stderr:
            child.stderr.close()


@contextmanager
def _deadline(child: subprocess.Popen[str], seconds: float) -> Iterator[threading.Event]:
    late = threading.Event()

    def expire() -> None:
        late.set()
        _kill(child)

    timer = threading.Timer(seconds, expire)
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()


def _kill(child: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


@contextmanager
def _memory(child: subprocess.Popen[str]) -> Iterator[list[int]]:
    """The highest `_peak_bytes` of the child so far, in a list of one; 0 without /proc."""
    highest, end = [0], threading.Event()

    def watch() -> None:
        while not end.wait(SECONDS_BETWEEN_SAMPLES):
            highest[0] = max(highest[0], _peak_bytes(child.pid))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield highest
    finally:
        end.set()
        thread.join()


def _peak_bytes(process: int) -> int:
    """The most resident bytes that a process and all below it have had, each for itself; 0 once it is gone."""
    try:
        kilobytes = re.search(r"^VmHWM:\s*(\d+) kB", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
        below = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return 0
    return (int(kilobytes[1]) * 1024 if kilobytes else 0) + sum(_peak_bytes(int(child)) for child in below)
