"""A grid that was killed, stopped or found no room goes on as if nothing had been: the same folder, but for times."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch

from weixing.cli.main import run

LISTS = ["--epochs", "1,2", "--batch-sizes", "16", "--learning-rates", "1e-3,3e-3", "--seeds", "7,8"]
CELLS = 8


@pytest.fixture(scope="module")
def options(model_folder: str, task_files: tuple[Path, Path]) -> list[str]:
    train, dev = map(str, task_files)
    return [
        "--model", model_folder, "--train", train, "--dev", dev, *LISTS, "--max-length", "32", "--threads", "1",
        "--device", "cpu",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def whole(options: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one uninterrupted run in one process leaves."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert run(["finetune", "--out", str(out), *options]) == 0
    return content(out)


def results(out: Path) -> list[dict[str, Any]]:
    return [timeless(line) for line in (out / "results.jsonl").read_text(encoding="utf-8").splitlines()]


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


def test_killed_at_three_moments_it_leaves_the_same_as_one_that_was_not(options, whole, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert killed("moments", "7", "--out", out, *options) == 3
    assert content(out) == whole


def test_killed_between_any_two_outputs_it_leaves_the_same(options, whole, tmp_path: Path) -> None:
    """Fewer cells; each of them is better than those before it, so that the model is replaced as well."""
    out = tmp_path / "out"
    assert killed("renames", "--out", out, *options, "--seeds", "7", "--learning-rates", "1e-3") >= 10
    left = content(out)
    assert left.pop("results") == [one for one in whole["results"] if one["seed"] == 7 and one["learning_rate"] == 1e-3]
    assert left["model of"] == whole["model of"]
    assert left.items() <= whole.items()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="asks /proc for the processes of cells")
def test_a_process_that_is_killed_takes_its_cell_along_and_no_other(options, whole, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = started(out, *options, "--processes", "2")
    victim, other = wait_for(lambda: len(children := cells_at_work(process.pid)) == 2 and children)
    os.kill(victim, signal.SIGKILL)
    streams = process.communicate(timeout=120)
    assert process.returncode == 2
    assert streams[0] == ""
    (message,) = (line for line in streams[1].splitlines() if line.startswith("weixing: "))
    assert "its process was ended by SIGKILL, as happens when memory runs out" in message
    assert f"{CELLS - 1} results are kept; --resume runs what is missing" in message
    assert gone(other)
    kept = results(out)
    assert len(kept) == CELLS - 1
    assert kept == [one for one in whole["results"] if one in kept]
    assert run(["finetune", "--out", str(out), *options, "--resume"]) == 0
    assert content(out) == whole


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="asks /proc for the processes of cells")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_processes_and_keeps_what_is_done(options, whole, tmp_path: Path, number: int) -> None:
    out = tmp_path / "out"
    process = started(out, *options, "--processes", "2")
    wait_for((out / "results.jsonl").exists)
    children = cells_at_work(process.pid)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    streams = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "Traceback" not in streams[1]
    assert all(map(gone, children))
    assert 1 <= len(results(out)) < CELLS
    assert run(["finetune", "--out", str(out), *options, "--resume"]) == 0
    assert content(out) == whole


def test_a_disk_that_fills_up_leaves_what_is_done(options, whole, tmp_path: Path, capsys, monkeypatch) -> None:
    out = str(tmp_path / "out")
    save = safetensors.torch.save
    saved: list[int] = []

    def save_once(*arguments, **named):
        saved.append(1)
        if len(saved) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return save(*arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(safetensors.torch, "save", save_once)
        assert run(["finetune", "--out", out, *options]) == 2
    assert "no space left on the disk" in capsys.readouterr().err
    assert whole["results"][: len(results(Path(out)))] == results(Path(out)) != []
    assert run(["finetune", "--out", out, *options, "--resume"]) == 0
    assert content(Path(out)) == whole
