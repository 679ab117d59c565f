"""What tests of grids share: a grid of eight quick cells, what is left of it, and its processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LISTS = ["--epochs", "1,2", "--batch-sizes", "16", "--learning-rates", "1e-3,3e-3", "--seeds", "7,8"]
CELLS = 8


def results(out: Path) -> list[dict[str, Any]]:
    return [timeless(line) for line in (out / "results.jsonl").read_text(encoding="utf-8").splitlines()]


def seconds_of(out: Path) -> float:
    """That its cells took."""
    return sum(json.loads(line)["seconds"] for line in (out / "results.jsonl").read_text().splitlines())


def timeless(line: str) -> dict[str, Any]:
    values = json.loads(line)
    assert values.pop("seconds") > 0
    return values


def content(out: Path) -> dict[str, Any]:
    """All that a grid leaves, but for times."""
    assert sorted(path.name for path in out.iterdir()) == ["model", "predictions", "results.jsonl", "run.json"]
    files = [path for path in out.rglob("*") if path.is_file() and path.parent != out and path.name != "result.json"]
    assert len([path for path in files if path.parent.name == "predictions"]) == len(results(out))
    return {
        "results": results(out),
        "model of": timeless((out / "model" / "result.json").read_text(encoding="utf-8")),
        **{str(path.relative_to(out)): path.read_bytes() for path in files},
    }


def started(out: Path, *options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "weixing", "finetune", "--out", str(out), *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        # A shell that starts the tests in the background has them, and so the child, ignore SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def killed(*arguments: str | Path) -> int:
    """How often killing.py killed."""
    command = [sys.executable, Path(__file__).with_name("killing.py"), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    return int(done.stdout.splitlines()[-1])


def cells_at_work(parent: int) -> list[int]:
    """The processes that run cells for `parent`."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def wait_for(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 120
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


def gone(process: int) -> bool:
    try:
        return "\nState:\tZ" in Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return True
