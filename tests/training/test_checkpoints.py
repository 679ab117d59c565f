"""Checkpoints: which are kept, and what becomes of a run whose newest ones are damaged, half written or of old form."""

import json
import shutil
from pathlib import Path

import pytest

from tests.training.test_pretraining import train, untimed
from weixing.errors import UserError
from weixing.training.evaluation import Evaluation, HeldOut
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
