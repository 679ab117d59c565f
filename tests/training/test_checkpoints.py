"""Checkpoints: which are kept, and what becomes of a run whose newest ones are damaged, half written or of old form."""

import errno
import json
import os
import shutil
from pathlib import Path
from threading import Event

import pytest
import torch
from torch import nn

from tests.training.test_pretraining import train, untimed
from weixing.errors import UserError
from weixing.training import checkpoints
from weixing.training.checkpoint_files import list_checkpoints
from weixing.training.checkpoints import Checkpoints
from weixing.training.copies import copy_to_host
from weixing.training.evaluation import Evaluation, HeldOut
from weixing.training.pretraining import Run
from weixing.training.snapshots import model_at

GIVEN = {"model": "1/64", "steps": 12, "batch_size": 4, "save_every": 4, "report_every": 3}


def names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def model_of(run: Path) -> bytes:
    return (run / "model" / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def whole(tiny_shards, tmp_path_factory) -> Path:
    """A finished run that nothing happened to: checkpoints at 4, 8 and 12."""
    run = tmp_path_factory.mktemp("whole") / "run"
    train(tiny_shards, run, **GIVEN)
    return run


@pytest.fixture
def run(whole, tmp_path) -> Path:
    """A copy of it, without its model."""
    shutil.copytree(whole, tmp_path / "run", ignore=shutil.ignore_patterns("model"))
    return tmp_path / "run"


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


FILES = ("weights.safetensors", "state.pt", "checksums.json")
DAMAGES = {
    "flip": (flip, "is not what was written|cannot be read"),
    "cut": (cut, "bytes where|cannot be read"),
    "empty": (lambda path: path.write_bytes(b""), "has 0 bytes where|cannot be read"),
    "gone": (Path.unlink, "is missing"),
}


@pytest.mark.parametrize(
    ("damage", "file"),
    [(damage, file) for damage in DAMAGES for file in FILES if (damage, file) != ("gone", "checksums.json")],
)  # without checksums it is one of an older version, and whole
def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_it_used(run, whole, capfd, damage, file):
    make, said = DAMAGES[damage]
    if (damage, file) == ("flip", "checksums.json"):  # a bit of a checksum
        path = run / "checkpoints" / "step-0000012" / file
        content = json.loads(path.read_text())
        sha256 = content["files"]["state.pt"]["sha256"]
        content["files"]["state.pt"]["sha256"] = sha256[:-1] + ("0" if sha256[-1] != "0" else "1")
        path.write_text(json.dumps(content))
    else:
        make(run / "checkpoints" / "step-0000012" / file)
    train(None, run, resume=True)
    err = capfd.readouterr().err
    (warning,) = (line for line in err.splitlines() if line.startswith("warning: "))
    assert str(run / "checkpoints" / "step-0000012") in warning
    assert any(part in warning for part in said.split("|"))
    assert f"resuming from {run / 'checkpoints' / 'step-0000008'}" in err
    assert model_of(run) == model_of(whole)
    assert untimed(run) == untimed(whole)
    assert names(run) == ["step-0000004", "step-0000008", "step-0000012"]


def test_damaged_ones_do_not_crowd_out_whole_ones(run, capfd):
    for step in (8, 12):
        cut(run / "checkpoints" / f"step-{step:07d}" / "state.pt")
    train(None, run, resume=True, keep=2)
    assert capfd.readouterr().err.count("warning: ") == 2
    assert names(run) == ["step-0000008", "step-0000012"]
    train(None, run, resume=True)
    assert "warning" not in capfd.readouterr().err


def test_if_all_are_damaged_each_is_named_and_nothing_is_changed(run):
    for step, file in ((4, "state.pt"), (8, "weights.safetensors"), (12, "checksums.json")):
        (run / "checkpoints" / f"step-{step:07d}" / file).write_bytes(b"{")
    before = {path: path.read_bytes() for path in (run / "checkpoints").rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=r"all checkpoints.*step-0000012: .*-0000008: .*-0000004: .*--overwrite"):
        train(None, run, resume=True)
    assert before == {path: path.read_bytes() for path in (run / "checkpoints").rglob("*") if path.is_file()}


def test_what_a_killed_process_was_writing_is_named_removed_and_not_used(run, whole, capfd):
    checkpoints = run / "checkpoints"
    (checkpoints / "step-0000012").rename(checkpoints / ".step-0000012.writing-999999999")
    train(None, run, resume=True)
    err = capfd.readouterr().err
    assert f"{checkpoints / 'step-0000012'} was being written" in err
    assert f"resuming from {checkpoints / 'step-0000008'}" in err
    assert names(run) == ["step-0000004", "step-0000008", "step-0000012"]
    assert model_of(run) == model_of(whole)


def test_a_run_of_the_form_before_checksums_and_keep_is_resumed(run, whole):
    record = json.loads((run / "run.json").read_text())
    del record["settings"]["keep"]
    (run / "run.json").write_text(json.dumps(record))
    shutil.rmtree(run / "checkpoints" / "step-0000012")
    for path in (run / "checkpoints").iterdir():
        (path / "checksums.json").unlink()
    train(None, run, resume=True)
    assert model_of(run) == model_of(whole)


def test_a_run_of_the_form_before_checksums_falls_back_where_it_cannot_be_read(run, whole):
    for path in (run / "checkpoints").iterdir():
        (path / "checksums.json").unlink()
    cut(run / "checkpoints" / "step-0000012" / "state.pt")
    train(None, run, resume=True)
    assert model_of(run) == model_of(whole)


def test_the_newest_and_the_best_evaluated_are_kept(tiny_shards, tmp_path, monkeypatch):
    losses = iter([5.0, 3.0, 4.0, 6.0, 6.0, 6.0, 6.0])
    monkeypatch.setattr(HeldOut, "evaluate", lambda *_: Evaluation(next(losses), 0.5))
    given = {"model": "1/64", "batch_size": 2, "save_every": 5, "eval_every": 3, "eval_data": tiny_shards, "keep": 2}
    train(tiny_shards, tmp_path / "run", steps=20, **given)
    # Best at 6, which is no multiple of 5: it was saved because it was the best.
    assert names(tmp_path / "run") == ["step-0000006", "step-0000015", "step-0000020"]


def test_a_resumed_run_still_knows_which_was_the_best(tiny_shards, tmp_path, monkeypatch):
    losses = iter([3.0, 4.0, 5.0, 4.0])
    monkeypatch.setattr(HeldOut, "evaluate", lambda *_: Evaluation(next(losses), 0.5))
    given = {"model": "1/64", "batch_size": 2, "save_every": 4, "eval_every": 4, "eval_data": tiny_shards, "keep": 2}
    train(tiny_shards, tmp_path / "run", steps=16, **given)
    assert names(tmp_path / "run") == ["step-0000004", "step-0000012", "step-0000016"]
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step-0000016")
    losses = iter([5.0, 4.0])
    train(None, tmp_path / "run", resume=True, keep=1)
    assert names(tmp_path / "run") == ["step-0000004", "step-0000016"]


@pytest.mark.parametrize("keep", [0, -1])
def test_keeping_none_is_refused(tiny_shards, run, tmp_path, keep):
    with pytest.raises(UserError, match="--keep"):
        train(tiny_shards, tmp_path / "new", **GIVEN, keep=keep)
    with pytest.raises(UserError, match="--keep"):
        train(None, run, resume=True, keep=keep)


def test_a_damaged_checkpoint_is_no_model(run):
    flip(run / "checkpoints" / "step-0000008" / "weights.safetensors")
    with pytest.raises(UserError, match="SHA-256"):
        model_at(run / "checkpoints" / "step-0000008")


CPU = torch.device("cpu")


class Gate:
    """Takes the place of `write_files`: lets writing go on when it is told to."""

    def __init__(self, monkeypatch) -> None:
        self.open, self.begun = Event(), Event()
        self._write = checkpoints.write_files
        monkeypatch.setattr(checkpoints, "write_files", self)

    def __call__(self, path, state, go_on):
        self.begun.set()
        assert self.open.wait(60)
        self._write(path, state, go_on)


def test_what_is_written_is_the_state_at_the_save_though_training_has_gone_on(
    tiny_shards, run, whole, tmp_path, monkeypatch
):
    """The checkpoint of step 4 is written after step 7, the run killed after it; it goes on from 4 to the same end."""

    class Killed(BaseException):
        pass

    step = Run._step

    def step_until_killed(self):
        if self.done.step == 3:
            gate.append(Gate(monkeypatch))
        if self.done.step == 7:
            gate[0].open.set()
            self.checkpoints.wait()
            raise Killed
        step(self)

    gate: list[Gate] = []
    with monkeypatch.context() as patch:
        patch.setattr(Run, "_step", step_until_killed)
        with pytest.raises(Killed):
            train(tiny_shards, tmp_path / "killed", **GIVEN)
    assert names(tmp_path / "killed") == ["step-0000000", "step-0000004"]
    train(None, tmp_path / "killed", resume=True)
    assert model_of(tmp_path / "killed") == model_of(whole)
    assert untimed(tmp_path / "killed") == untimed(whole)


def test_a_disk_that_fills_up_under_the_thread_ends_the_run_at_its_next_step(tiny_shards, tmp_path, monkeypatch):
    step, write = Run._step, checkpoints.write_files

    def full(path, state, go_on):
        if state["step"] == 8:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, state, go_on)

    def step_after_the_thread(self):
        if self.done.step == 8:
            self.checkpoints._thread.join()
        step(self)
        done.append(self.done.step)

    done: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write_files", full)
        patch.setattr(Run, "_step", step_after_the_thread)
        with pytest.raises(OSError, match=r"No space left.*step-0000008"):
            train(tiny_shards, tmp_path / "run", **GIVEN)
    assert done[-1] == 9
    assert names(tmp_path / "run") == ["step-0000000", "step-0000004"]
    train(None, tmp_path / "run", resume=True)


@pytest.mark.parametrize("best", [None, 1])
def test_a_checkpoint_that_is_being_written_gives_way_to_an_urgent_one_unless_it_is_the_best(
    tmp_path, monkeypatch, best
):
    gate, kept = Gate(monkeypatch), Checkpoints(tmp_path, 3)
    model = nn.Linear(3, 2)
    kept.save(1, model, [], {}, CPU)
    kept.save(1, model, [], {}, CPU, best=best)  # evaluated after it was begun
    assert gate.begun.wait(60)
    join = kept.wait
    monkeypatch.setattr(kept, "wait", lambda: (gate.open.set(), join()))
    kept.save(2, model, [], {}, CPU, best=best, urgent=True)
    kept.wait()
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-0000001"] * bool(best) + ["step-0000002"]
    assert names_in(tmp_path) == names_in(tmp_path, "step-")


def names_in(folder: Path, start: str = "") -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith(start))


def test_a_second_interrupt_gives_up_the_checkpoint_under_way_and_leaves_nothing_half_made(tmp_path, monkeypatch):
    kept, model = Checkpoints(tmp_path, 3), nn.Linear(3, 2)
    kept.save(1, model, [], {}, CPU)
    kept.wait()
    gate = Gate(monkeypatch)

    def interrupted():
        with kept:
            kept.save(2, model, [], {}, CPU)
            gate.begun.wait(60)
            monkeypatch.setattr(kept._cancelled, "set", lambda cancel=kept._cancelled.set: (cancel(), gate.open.set()))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert names_in(tmp_path) == ["step-0000001"]


def test_a_copy_is_written_over_an_earlier_one_where_that_has_the_form():
    first = {"a": torch.arange(3), "b": [torch.ones(2), (1, torch.zeros(1))], "c": "text"}
    copy = copy_to_host(first)
    places = copy["a"].data_ptr(), copy["b"][0].data_ptr()
    second = {"a": torch.arange(3) + 5, "b": [torch.ones(4), (2, torch.ones(1)), torch.ones(1)], "d": {}}
    again = copy_to_host(second, copy)
    assert again["a"].data_ptr() == places[0]
    assert again["b"][0].data_ptr() != places[1]
    assert list(again) == ["a", "b", "d"]
    assert again["a"].tolist() == [5, 6, 7]
    assert again["b"][1][0] == 2
    assert [one.tolist() for one in (again["b"][0], again["b"][1][1], again["b"][2])] == [[1.0] * 4, [1.0], [1.0]]
    second["a"].zero_()
    assert again["a"].tolist() == [5, 6, 7]
