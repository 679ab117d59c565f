"""Several processes train as one: the same losses and the same order of the rows, whatever their number."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.training.side_by_side import finish, run, start, train, train_and_tell_rows, train_by_autograd
from weixing.data.loader import RowOrder
from weixing.data.shards import ShardSet
from weixing.training.checkpoint_files import list_checkpoints, step_of
from weixing.training.runlog import read_metrics

STEPS, BATCH = 50, 8


def given(shards: Path, **more) -> dict:
    plain = {"data": shards, "model": "2/64", "steps": STEPS, "batch_size": BATCH, "precision": "float32"}
    return {**plain, "report_every": 10, "eval_every": 25, "eval_data": shards, **more}


def losses(output: Path) -> list[float]:
    """All losses that a run has reported, held-out ones among them."""
    return [report.get("train_loss", report.get("eval_loss")) for report in read_metrics(output)]


def test_one_two_and_four_processes_have_the_same_losses(tiny_shards, tmp_path):
    # Recipe weixing has no dropout. By DistributedDataParallel, as GPUs do it, in micro-batches.
    train(tmp_path / "1", **given(tiny_shards))
    for name, ranks, work in (("2", 2, train), ("4", 4, train), ("by autograd", 2, train_by_autograd)):
        done = run(ranks, work, tmp_path / name, **given(tiny_shards, micro_batch_size=2))
        assert losses(tmp_path / name) == pytest.approx(losses(tmp_path / "1"), rel=1e-5)
        for one in done:
            assert (one["steps"], one["train_loss"]) == (STEPS, losses(tmp_path / name)[-2])
    assert json.loads((tmp_path / "4" / "run.json").read_text())["machine"]["ranks"] == 4


def test_a_compiled_loss_within_distributed_data_parallel_gives_the_same(tiny_shards, tmp_path):
    options = given(tiny_shards, steps=6, report_every=2, eval_data=None, model="1/64")
    train(tmp_path / "1", **options)
    run(2, train_by_autograd, tmp_path / "2", **options, compiled_by="aot_eager")
    assert losses(tmp_path / "2") == pytest.approx(losses(tmp_path / "1"), rel=1e-5)


def test_every_process_reads_its_own_rows_alone_which_make_up_the_updates_of_one_process(tiny_shards, tmp_path):
    steps = given(tiny_shards, steps=12, eval_data=None)
    whole = RowOrder(len(ShardSet(tiny_shards)), seed=7)
    for ranks in (2, 4):
        read = run(ranks, train_and_tell_rows, tmp_path / str(ranks), **steps)
        assert [[len(rows) for rows in one] for one in read] == [[BATCH // ranks] * 12] * ranks
        together = np.concatenate([np.concatenate(of_step) for of_step in zip(*read, strict=True)])
        assert together.tolist() == whole.indices(0, 12 * BATCH).tolist()


def test_dropout_of_compiled_passes_is_the_same_on_any_number_of_processes(tiny_shards, tmp_path):
    # A pass of one row each: what is dropped is decided by the first row of a pass.
    for ranks in (1, 2):
        run(ranks, train, tmp_path / str(ranks), **given(tiny_shards, recipe="uer", micro_batch_size=1))
    assert losses(tmp_path / "2") == pytest.approx(losses(tmp_path / "1"), rel=1e-5)


def test_a_batch_that_cannot_be_shared_evenly_is_refused(tiny_shards, tmp_path):
    for side in finish(start(3, train, tmp_path / "run", **given(tiny_shards))):
        assert "8 rows on 3 processes" in side.answer["error"]
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_with_another_number_of_processes_in_the_same_order(tiny_shards, tmp_path):
    options = given(tiny_shards, save_every=20, eval_every=STEPS)
    train(tmp_path / "whole", **options)
    for before, after in ((2, 1), (1, 2)):
        output = tmp_path / f"{before} to {after}"
        for side in finish(start(before, train_until_killed, output, 33, **options)):
            assert side.process.exitcode == -9
        saved = step_of(list_checkpoints(output / "checkpoints")[-1])
        read = run(after, train_and_tell_rows, output, resume=True)
        order = RowOrder(len(ShardSet(tiny_shards)), seed=7).indices(saved * BATCH, STEPS * BATCH)
        assert np.concatenate([np.concatenate(step) for step in zip(*read, strict=True)]).tolist() == order.tolist()
        assert losses(output) == pytest.approx(losses(tmp_path / "whole"), rel=1e-5)


def test_a_run_of_two_processes_that_is_killed_goes_on_to_the_same_losses(tiny_shards, tmp_path):
    options = given(tiny_shards, save_every=20, eval_every=STEPS)
    run(2, train, tmp_path / "whole", **options)
    finish(start(2, train_until_killed, tmp_path / "killed", 33, **options))
    run(2, train, tmp_path / "killed", resume=True)
    assert losses(tmp_path / "killed") == pytest.approx(losses(tmp_path / "whole"), rel=1e-6)


def train_until_killed(output: Path, step: int, **options) -> None:
    from weixing.training.pretraining import Run

    go_on = Run._step

    def step_until_killed(self: Run) -> None:
        if self.done.step == step:
            os.kill(os.getpid(), 9)
        go_on(self)

    Run._step = step_until_killed
    train(output, **options)


def test_torchrun_starts_a_run_whose_first_process_alone_speaks(tiny_shards, tmp_path):
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "weixing"),
        *("pretrain", "--data", str(tiny_shards), "--model", "2/64", "--out", str(tmp_path / "run"), "--steps", "4"),
        *("--batch-size", "4", "--eval-data", str(tiny_shards), "--eval-every", "2", "--device", "cpu", "--json"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tokens"] == 4 * 4 * 32
    assert done.stderr.count("step 4: held-out loss") == 1
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
