"""Event files promise what metrics.jsonl says, each report once, however often the run was stopped."""

import os
import signal
import sys
from pathlib import Path

import pytest

from weixing.cli.main import run
from weixing.training import start
from weixing.training.runlog import MetricsLog, read_metrics
from weixing.training.tensorboard import EVENT_FILES, TAGS

accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def read_back(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """By tag, step and value, as TensorBoard itself reads the files of a folder."""
    events = accumulator.EventAccumulator(str(folder), size_guidance={accumulator.SCALARS: 0}).Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def expected(folder: Path) -> dict[str, list[tuple[int, float]]]:
    reports = read_metrics(folder)
    said = {tag: [(r["step"], pytest.approx(r[key])) for r in reports if key in r] for key, tag in TAGS.items()}
    return {tag: points for tag, points in said.items() if points}


@pytest.fixture
def pretrain(tiny_shards, tmp_path, monkeypatch):
    """Pretrain for ten steps, and again; `stop_at`: a signal comes within that step."""
    step = start.Run._step

    def train(*more: str, stop_at: int | None = None) -> int:
        def stopping_step(self) -> None:
            step(self)
            if self.done.step == stop_at:
                os.kill(os.getpid(), signal.SIGTERM)

        monkeypatch.setattr(start.Run, "_step", stopping_step)
        return run(["pretrain", "--out", str(tmp_path / "run"), *more])

    options = ["--data", str(tiny_shards), "--eval-data", str(tiny_shards), "--model", "1/64", "--device", "cpu"]
    options += ["--steps", "10", "--batch-size", "2", "--report-every", "2", "--eval-every", "3", "--save-every", "4"]
    return train, options, tmp_path / "run"


def test_a_run_that_was_stopped_twice_is_read_back_as_one(pretrain):
    train, options, folder = pretrain
    assert train(*options, "--tensorboard", stop_at=6) == 143
    assert read_back(folder) == expected(folder)
    assert train("--resume", stop_at=8) == 143
    assert train("--resume") == 0
    assert len(list(folder.glob(EVENT_FILES))) == 3
    said = read_back(folder)
    assert said == expected(folder)
    assert [step for step, _ in said["train/loss"]] == [2, 4, 6, 8, 10]
    assert [step for step, _ in said["eval/loss"]] == [3, 6, 9, 10]


def test_event_files_that_are_asked_for_later_hold_what_was_before(pretrain):
    train, options, folder = pretrain
    assert train(*options, stop_at=5) == 143
    assert not list(folder.glob(EVENT_FILES))
    assert train("--resume", "--tensorboard") == 0
    assert [step for step, _ in read_back(folder)["train/loss"]] == [2, 4, 6, 8, 10]
    assert read_back(folder) == expected(folder)


def test_what_a_killed_run_had_reported_after_its_last_checkpoint_is_not_doubled(tmp_path):
    def log(first: int, last: int, loss: float) -> None:
        one = MetricsLog(tmp_path, first, tensorboard=True)
        for step in range(first + 1, last + 1):
            one.write({"step": step, "train_loss": loss})
            one.write({"step": step, "eval_loss": loss})
        one.close()

    log(0, 8, 1.0)
    log(5, 7, 2.0)
    assert read_back(tmp_path)["train/loss"] == [(1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 2), (7, 2)]
    assert read_back(tmp_path)["eval/loss"] == [(1, 1), (2, 1), (3, 1), (4, 1), (6, 2), (7, 2)]
    assert read_back(tmp_path) == expected(tmp_path)


def test_without_the_library_the_option_is_refused_before_anything_is_made(pretrain, monkeypatch, capsys):
    train, options, folder = pretrain
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert train(*options, "--tensorboard") == 2
    assert "weixing[track]" in capsys.readouterr().err
    assert not folder.exists()


def test_without_the_library_a_run_that_has_event_files_is_resumed_without_them(pretrain, monkeypatch, capsys):
    train, options, folder = pretrain
    assert train(*options, "--tensorboard", stop_at=5) == 143
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert train("--resume") == 0
    assert "event files of this run are not gone on with" in capsys.readouterr().err
    assert len(list(folder.glob(EVENT_FILES))) == 1
