"""The command promises that what fails is told by its exit code, and that all else is measured and written."""

import json
import sys

import pytest

from bench import __main__ as bench
from bench import record
from bench.children import SideFailed
from bench.measure import Case, Measured


@pytest.fixture
def measure(monkeypatch, tmp_path):
    """Run the command on made-up cases of section prepare; gives the exit code and the result file, if there is one."""

    def run(cases, busy=0.0):
        monkeypatch.setitem(bench.SECTIONS, "prepare", lambda setting: cases)
        monkeypatch.setattr(sys, "argv", ["bench", "prepare", "render", "--out", str(tmp_path), "--rounds", "3"])
        monkeypatch.setattr(bench.signal, "signal", lambda *_: None)
        monkeypatch.setattr(record, "busy_cores", lambda: busy)
        monkeypatch.delenv("UER_DIR", raising=False)
        code, file = bench.main(), tmp_path / "prepare.json"
        return code, json.loads(file.read_text())["cases"] if file.exists() else None

    return run


def good():
    return Case({"weixing": Measured("weixing prepare", {"mb_per_second": [1.0, 2.0]})}, [])


def test_all_well_is_exit_code_0_and_the_rounds_are_those_that_were_made(measure, capsys):
    code, cases = measure({"one": good})
    assert code == 0
    assert cases["one"]["rounds"] == 2
    assert "warning" not in capsys.readouterr().err


def test_a_side_that_failed_is_exit_code_1_after_everything_is_written(measure, tmp_path, capsys):
    bad = Case({**good().sides, "tokenizers": Measured(failure="why")}, [])
    code, cases = measure({"one": lambda: bad, "two": good})
    assert code == 1
    assert list(cases) == ["one", "two"]
    assert cases["one"]["sides"]["weixing"]["figures"]["mb_per_second"]["median"] == 1.5
    assert (tmp_path / "performance.md").exists()
    assert "FAILED: prepare, one: tokenizers" in capsys.readouterr().err


def test_a_case_whose_preparation_fails_leaves_the_others(measure, capsys):
    def fail():
        raise SideFailed("weixing prepare\nended with 2:\nno such file")

    code, cases = measure({"one": fail, "two": good})
    assert code == 1
    assert list(cases) == ["two"]
    err = capsys.readouterr().err
    assert "no such file" in err
    assert "FAILED: prepare, one" in err


def test_a_machine_that_other_work_keeps_busy_is_warned_of_and_noted(measure, capsys):
    code, cases = measure({"one": good}, busy=0.8)
    assert code == 0
    assert "warning: 0.8 cores" in capsys.readouterr().err
    assert cases["one"]["machine"]["busy_before"] == 0.8


def test_busy_cores_are_the_ticks_of_all_cores_over_the_time(monkeypatch, tmp_path):
    ticks, file = record.os.sysconf("SC_CLK_TCK"), tmp_path / "stat"
    monkeypatch.setattr(record, "STAT", file)
    assert record.busy_cores() is None

    class Clock:
        now = 0.0

        def perf_counter(self):
            return self.now

        def sleep(self, seconds):
            self.now += seconds
            file.write_text(f"cpu  {1000 + ticks} 5 {50 + ticks} 99000 777 {3 + ticks} 2 0 0 0\ncpu0 1\n")

    file.write_text("cpu  1000 5 50 90000 7 3 2 0 0 0\ncpu0 1\n")
    monkeypatch.setattr(record, "time", Clock())
    assert record.busy_cores(2.0) == 1.5
