"""A grid that was killed or found no room goes on as if nothing had been: the same folder, but for times.

More of it, which takes longer, is in check_grid.py.
"""

import errno
import os
import signal
from pathlib import Path

import pytest
import safetensors.torch

from tests.tasks.grids import CELLS, cells_at_work, content, gone, killed, results, seconds_of, started, wait_for
from weixing.cli.main import run


def test_killed_at_three_moments_it_leaves_the_same_as_one_that_was_not(
    grid_options, whole_grid: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    seconds = seconds_of(whole_grid) / 6  # that each run has at most: half of the time in all, should it be quicker now
    assert killed("moments", "7", str(seconds), "--out", out, *grid_options) == 3
    assert content(out) == content(whole_grid)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="asks /proc for the processes of cells")
def test_a_process_that_is_killed_takes_its_cell_along_and_no_other(
    grid_options, whole_grid: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = started(out, *grid_options, "--processes", "2")
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
    assert kept == [one for one in results(whole_grid) if one in kept]
    assert run(["finetune", "--out", str(out), *grid_options, "--resume"]) == 0
    assert content(out) == content(whole_grid)


def test_a_disk_that_fills_up_leaves_what_is_done(
    grid_options, whole_grid: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
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
        assert run(["finetune", "--out", out, *grid_options]) == 2
    assert "no space left on the disk" in capsys.readouterr().err
    assert results(whole_grid)[: len(results(Path(out)))] == results(Path(out)) != []
    assert run(["finetune", "--out", out, *grid_options, "--resume"]) == 0
    assert content(Path(out)) == content(whole_grid)
