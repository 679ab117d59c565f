"""Faults that real processes meet: the short version of `make chaos`, each tried once, and what it found."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.test_pretraining import EXPORT, Killed, options, train
from weixing.errors import UserError
from weixing.formats.naming import load_masked_lm
from weixing.training.pretraining import Run
from weixing.training.start import pretrain

ROOT = Path(__file__).parents[2]
SHORT = {
    "pretrain: SIGKILL at a random moment": "same result",
    "pretrain: SIGKILL while a checkpoint is written": "same result",
    "pretrain: SIGTERM (exit code 143 within 10 s)": "same result",
    "prepare: SIGKILL at a random moment": "same result",
}


@pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="forks")
def test_faults_come_to_the_same_result_or_a_clear_error(tmp_path):
    command = [sys.executable, "-m", "tests.acceptance.chaos", "--quick", "--out", str(tmp_path / "rows"), "--only"]
    done = subprocess.run([*command, *SHORT], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("data lost: none\n")
    rows = {row["fault"]: row for row in map(json.loads, (tmp_path / "rows").read_text().splitlines())}
    for fault, outcome in SHORT.items():
        assert rows[fault]["tried"] == rows[fault][outcome] >= 1


def killed_before_its_first_checkpoint(run: Path, monkeypatch, shards: Path, **given) -> None:
    def killed(self, urgent=False):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Run, "save", killed)
        with pytest.raises(Killed):
            train(shards, run, **given)


@pytest.mark.parametrize("with_init", [False, True])
def test_a_run_killed_before_its_first_checkpoint_is_resumed_from_its_beginning(
    tiny_shards, tmp_path, monkeypatch, with_init
):
    given = {"model": "1/64", "steps": 4, "batch_size": 4, "report_every": 1}
    if with_init:
        train(tiny_shards, tmp_path / "before", **given)
        given |= {"init": str(tmp_path / "before"), "model": None}
    train(tiny_shards, tmp_path / "whole", **given)
    killed_before_its_first_checkpoint(tmp_path / "killed", monkeypatch, tiny_shards, **given)
    assert not (tmp_path / "killed" / "checkpoints").exists()
    train(None, tmp_path / "killed", resume=True)
    files = [tmp_path / name / "model" / "model.safetensors" for name in ("whole", "killed")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_it_is_not_resumed_from_a_model_of_another_shape(tiny_shards, tmp_path, monkeypatch):
    given = {"steps": 2, "batch_size": 4}
    train(tiny_shards, tmp_path / "before", model="1/64", **given)
    killed_before_its_first_checkpoint(
        tmp_path / "killed", monkeypatch, tiny_shards, init=str(tmp_path / "before"), **given
    )
    shutil.rmtree(tmp_path / "before")
    train(tiny_shards, tmp_path / "before", model="2/64", **given)
    with pytest.raises(UserError, match="no longer the model"):
        train(None, tmp_path / "killed", resume=True)


def test_a_run_that_has_reports_but_no_checkpoint_is_not_begun_again_silently(tiny_shards, tmp_path):
    train(tiny_shards, tmp_path / "run", model="1/64", steps=3, batch_size=4, report_every=1)
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    with pytest.raises(UserError, match="no checkpoint to go on from"):
        train(None, tmp_path / "run", resume=True)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", None])
def test_a_run_whose_record_is_damaged_or_gone_is_not_resumed(tiny_shards, tmp_path, content):
    train(tiny_shards, tmp_path / "run", model="1/64", steps=2, batch_size=4)
    record = tmp_path / "run" / "run.json"
    record.unlink() if content is None else record.write_bytes(content)
    with pytest.raises(UserError, match=r"run\.json"):
        train(None, tmp_path / "run", resume=True)


def test_a_run_folder_in_which_its_record_was_half_written_is_as_good_as_new(tiny_shards, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".run.json.writing-999999999").write_text("{")
    given = options(tiny_shards, model="1/64", steps=2, batch_size=4)
    pretrain(given, tmp_path / "run", load=load_masked_lm, export=EXPORT, device_name="cpu")
    assert not list((tmp_path / "run").glob(".*"))
