"""Long tests of a grid that is stopped (`make test-grid`): signals, and a kill between any two outputs.

A grid goes on as if nothing had been: the same folder, but for times.
"""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.tasks.grids import CELLS, cells_at_work, content, gone, killed, results, started, wait_for
from weixing.cli.main import run


def test_killed_between_any_two_outputs_it_leaves_the_same(grid_options, whole_grid: Path, tmp_path: Path) -> None:
    """Fewer cells; each of them is better than those before it, so that the model is replaced as well."""
    out = tmp_path / "out"
    assert killed("renames", "--out", out, *grid_options, "--seeds", "7", "--learning-rates", "1e-3") >= 10
    left = content(out)
    assert left.pop("results") == [
        one for one in results(whole_grid) if one["seed"] == 7 and one["learning_rate"] == 1e-3
    ]
    assert left["model of"] == content(whole_grid)["model of"]
    assert left.items() <= content(whole_grid).items()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_processes_and_keeps_what_is_done(
    grid_options, whole_grid: Path, tmp_path: Path, number: int
) -> None:
    out = tmp_path / "out"
    process = started(out, *grid_options, "--processes", "2")
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
    assert run(["finetune", "--out", str(out), *grid_options, "--resume"]) == 0
    assert content(out) == content(whole_grid)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="asks /proc for the processes of cells")
def test_killed_three_times_with_two_processes_it_leaves_the_same(
    grid_options, whole_grid: Path, tmp_path: Path
) -> None:
    out, chance = tmp_path / "out", random.Random(7)
    kill_after_one_more_result(out, chance.uniform(0, 0.1), *grid_options)
    kill_after_one_more_result(out, chance.uniform(0, 0.1), *grid_options, "--resume")
    kill_after_one_more_result(out, chance.uniform(0, 0.1), *grid_options, "--resume")
    assert 3 <= len(results(out)) < CELLS
    assert run(["finetune", "--out", str(out), *grid_options, "--processes", "2", "--resume"]) == 0
    assert content(out) == content(whole_grid)


def kill_after_one_more_result(out: Path, seconds: float, *options: str) -> None:
    """Start it with two processes and kill it so long after a result; they end by themselves."""
    known = len(results(out)) if out.exists() else 0
    process = started(out, *options, "--processes", "2")
    children = wait_for(lambda: len(some := cells_at_work(process.pid)) == 2 and some)
    wait_for(lambda: (out / "results.jsonl").exists() and len(results(out)) > known)
    time.sleep(seconds)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    wait_for(lambda: all(map(gone, children)))
