"""What a run is doing is told by rules; each is seen to hold, and not to cry wolf."""

import json
import os
import random
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from weixing.cli.main import run
from weixing.errors import UserError
from weixing.files import read_json
from weixing.reporting.runs import RecordedRun, read_runs, silent_seconds
from weixing.reporting.runs_plot import runs_figure
from weixing.reporting.runs_text import as_lines
from weixing.reporting.watching import Spike, patience, seconds_left, spikes, watched
from weixing.training import start

NOISE = random.Random(7)


def reports(count: int, seconds: float = 5.0, loss: float = 6.0) -> list[dict]:
    """Of a steady run: one every 50 steps and `seconds`."""
    return [
        {"step": 50 * at, "tokens": 5000 * at, "seconds": seconds * at, "train_loss": loss, "tokens_per_second": 1000.0}
        for at in range(1, count + 1)
    ]


def recorded(count: int, *, steps: int = 1000, record: dict | None = None, **given: float) -> RecordedRun:
    made = reports(count, **given)
    return RecordedRun(Path("runs/a"), "a", "2/128", "weixing", steps, record or {"kind": "pretrain"}, made)


@pytest.mark.parametrize(
    ("run", "silent", "state"),
    [
        (recorded(4), 10, "running"),
        (recorded(4), 119, "running"),  # ten intervals are 50 s, but two minutes are always granted
        (recorded(4), 121, "stalled"),
        (recorded(4, seconds=60.0), 599, "running"),
        (recorded(4, seconds=60.0), 601, "stalled"),
        (recorded(0), 599, "running"),
        (recorded(0), 601, "stalled"),
        (recorded(20), 9_999_999, "finished"),
        (recorded(4, record={"ended": {"why": "SIGINT"}}), 9_999_999, "stopped"),
        (recorded(20, record={"ended": {"why": "a full disk"}}), 1, "finished"),
        (RecordedRun(Path("a"), "a", problem="metrics.jsonl cannot be read"), 1, "unreadable"),
    ],
)
def test_states_follow_the_rules(run, silent, state):
    assert watched(run, silent).state == state


def test_the_usual_interval_is_the_median_one_so_that_one_evaluation_changes_nothing():
    made = reports(9, seconds=60.0)
    made[5]["seconds"] += 50.0
    made.insert(6, {"step": 300, "eval_loss": 5.0})
    assert patience([report for report in made if "train_loss" in report]) == 600.0


def test_time_left_is_that_of_the_steps_to_come_at_the_pace_of_late():
    made = reports(200, seconds=100.0)
    late = [{**report, "seconds": 20_000 + 2.0 * (report["step"] - 10_000)} for report in reports(260)[200:]]
    assert seconds_left(made + late, 14_000) == pytest.approx(2.0 * 1_000)
    assert seconds_left(made[:1], 14_000) is None
    assert watched(recorded(4), 1).seconds_left == pytest.approx(16 * 5.0)
    assert watched(recorded(4), 500).seconds_left is None  # stalled


def falling(count: int, noise: float) -> list[tuple[int, float]]:
    """A loss that falls from 9 to 3, with normal noise."""
    return [(at, 3 + 6 * 0.97**at + NOISE.gauss(0, noise)) for at in range(count)]


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.1])
def test_a_leap_is_found_at_its_step_and_once(noise):
    losses = falling(200, noise)
    losses[150:153] = [(at, loss + 2.0) for at, loss in losses[150:153]]
    found = spikes(losses)
    assert [spike.step for spike in found] == [150]
    assert found[0].loss == losses[150][1]
    assert found[0].usual == pytest.approx(3.1, abs=0.2)


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.1])
def test_a_run_without_a_leap_has_no_spike(noise):
    assert spikes(falling(2000, noise)) == []


def test_a_rise_of_less_than_three_percent_is_none_however_steady_the_run_was():
    steady = [(at, 4.0) for at in range(50)]
    assert spikes([*steady, (50, 4.119)]) == []
    assert spikes([*steady, (50, 4.121)]) == [Spike(50, 4.121, 4.0)]
    assert spikes([(at, 4.0) for at in range(9)] + [(9, 99.0)]) == []  # of too few


def test_lines_name_state_loss_and_leaps():
    run = recorded(15)
    run.reports[12]["train_loss"] = 8.5
    table = "\n".join(as_lines([watched(run, 1_000), watched(recorded(20), 5)]))
    assert re.search(r"a +2/128 +weixing +stalled +750 / 1,000 +6\.0000 .* 1$", table, re.MULTILINE)
    assert re.search(r"a +2/128 +weixing +finished +1,000 / 1,000 ", table)
    assert "a: loss 8.5000 at step 650, where 6.0000 was usual" in table
    assert "a: nothing reported for 17 min" in table


def write(folder: Path, run: RecordedRun) -> Path:
    folder.mkdir(parents=True)
    settings = {"shape": {"layers": 2, "hidden": 128}, "recipe": {"name": run.recipe, "steps": run.steps}}
    (folder / "run.json").write_text(json.dumps({**run.record, "settings": settings}))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(report) + "\n" for report in run.reports))
    return folder


def test_the_command_reads_folders_prints_a_table_or_json_and_draws(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    write(tmp_path / "runs" / "one", recorded(20))
    old = write(tmp_path / "runs" / "two", recorded(4))
    for file in old.iterdir():
        os.utime(file, (time.time() - 3_000,) * 2)
    assert run(["runs", str(tmp_path / "runs")]) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[0].split()[:4] == ["run", "model", "recipe", "state"]
    plots = [tmp_path / "runs.svg", tmp_path / "runs.png"]
    for plot in plots:
        assert run(["runs", str(tmp_path / "runs" / "two"), str(tmp_path / "runs" / "one"), "--plot", str(plot)]) == 0
    assert "<svg" in plots[0].read_text()
    assert plots[1].read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    assert run(["runs", str(tmp_path / "runs"), "--json"]) == 0
    one, two = json.loads(capsys.readouterr().out)
    assert (one["name"], one["state"], one["step"], one["train_loss"]) == ("one", "finished", 1000, 6.0)
    assert (two["name"], two["state"]) == ("two", "stalled")
    assert two["silent_seconds"] == pytest.approx(3_000, abs=60)


def test_curves_have_the_losses_of_the_files_and_rings_at_spikes():
    pytest.importorskip("matplotlib")
    run = recorded(15)
    run.reports[12]["train_loss"] = 8.5
    run.reports.append({"step": 750, "tokens": 75_000, "eval_loss": 5.5})
    loss, speed = runs_figure([run], [watched(run, 1)]).axes
    training, held_out, rings = (line.get_xydata().tolist() for line in loss.lines)
    assert training == [[report["tokens"], report["train_loss"]] for report in run.reports[:-1]]
    assert held_out == [[75_000, 5.5]]
    assert rings == [[65_000, 8.5]]
    assert speed.lines[0].get_ydata().tolist() == [1000.0] * 15
    assert speed.get_ylim()[0] == 0 < 1000.0 <= speed.get_ylim()[1]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["gone"], "no such folder"), (["."], "no runs here"), ([".", "--plot", "a.pdf"], ".svg or .png")],
)
def test_wrong_folders_and_names_are_refused(tmp_path, monkeypatch, arguments, told, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["runs", *arguments]) == 2
    assert told in capsys.readouterr().err


def test_without_matplotlib_a_plot_is_refused_and_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    write(tmp_path / "one", recorded(20))
    assert run(["runs", str(tmp_path), "--plot", str(tmp_path / "a.svg")]) == 2
    assert "weixing[plot]" in capsys.readouterr().err


def test_a_run_that_a_signal_or_an_error_ended_is_stopped_until_it_is_resumed(tiny_shards, tmp_path, monkeypatch):
    def train(*more: str) -> int:
        return run(["pretrain", "--out", str(tmp_path / "run"), *more])

    def state() -> tuple[str, str | None]:
        (one,) = read_runs([tmp_path / "run"])
        seen = watched(one, silent_seconds(one.folder, time.time()))
        return seen.state, seen.remark

    step = start.Run._step

    def stop_in_third(self) -> None:
        step(self)
        if self.done.step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(start.Run, "_step", stop_in_third)
    options = ["--model", "1/64", "--steps", "6", "--batch-size", "2", "--report-every", "1", "--device", "cpu"]
    assert train("--data", str(tiny_shards), *options) == 130
    assert state() == ("stopped", "SIGINT")

    def break_in_fifth(self) -> None:
        step(self)
        if self.done.step == 5:
            assert state()[0] == "running"
            raise UserError("the loss is not finite in step 5", where="somewhere")

    monkeypatch.setattr(start.Run, "_step", break_in_fifth)
    assert train("--resume") == 2
    assert state() == ("stopped", "the loss is not finite in step 5")
    monkeypatch.setattr(start.Run, "_step", step)
    assert train("--resume") == 0
    assert state() == ("finished", None)
    assert "ended" not in read_json(tmp_path / "run" / "run.json", "run.json")
