"""Child processes: what comes back, and that nothing of them stays."""

import os
import time

import pytest

from bench.children import SideFailed, run


def python(code):
    return ["python", "-c", code]


def gone(pid):
    """Whether a process has ended (a zombie that init has yet to reap has)."""
    for _ in range(100):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
                if stat.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def test_the_result_is_the_last_line_of_stdout(tmp_path):
    done = run(python("print('hello'); print('{\"a\": 1}')"), tmp_path, timeout=60)
    assert done.result == {"a": 1}
    assert done.command.startswith("python -c ")
    assert 0 < done.seconds < 60


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="elsewhere it is that of the largest process")
def test_peak_memory_counts_the_child_and_its_own_children(tmp_path):
    fill = "block = b'x' * 60_000_000; import time; time.sleep(0.5)"
    alone = run(python(fill), tmp_path, timeout=60).peak_memory_mb
    both = run(
        python(f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {fill!r}]); {fill}; p.wait()"),
        tmp_path,
        timeout=60,
    ).peak_memory_mb
    assert 60 < alone < 110
    assert both > 120


def test_a_failure_shows_the_last_lines_without_paths_of_this_machine(tmp_path):
    code = "import os, sys; print('early', file=sys.stderr); sys.exit('no such file: ' + os.getcwd() + '/corpus.txt')"
    with pytest.raises(SideFailed) as failure:
        run(python(code), tmp_path, timeout=60)
    assert "ended with 1" in str(failure.value)
    assert "no such file: ./corpus.txt" in str(failure.value)
    assert str(tmp_path) not in str(failure.value)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks at /proc")
def test_a_child_that_is_too_slow_is_stopped_with_all_its_children(tmp_path):
    sleeper = "import time; time.sleep(600)"
    code = (
        "import os, subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {sleeper!r}])\n"
        "open('pids', 'w').write(f'{os.getpid()} {child.pid}')\n"
        "time.sleep(600)"
    )
    began = time.monotonic()
    with pytest.raises(SideFailed, match="stopped after 2 s"):
        run(python(code), tmp_path, timeout=2)
    assert time.monotonic() - began < 20
    assert all(gone(pid) for pid in (tmp_path / "pids").read_text().split())


def test_a_child_is_stopped_once_its_log_says_enough(tmp_path):
    code = (
        "import sys, time\n"
        "for n in range(1000):\n    print('step', n, file=sys.stderr, flush=True)\n    time.sleep(0.01)"
    )
    done = run(python(code), tmp_path, timeout=60, stop_when=lambda line: line == "step 5\n")
    assert done.lines == [f"step {n}" for n in range(6)]
