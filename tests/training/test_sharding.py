"""A model cut among processes (FSDP) trains as a whole one does, and is saved and exported in the same form."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training.side_by_side import finish, run, start, train
from tests.training.test_ranks import losses, train_until_killed
from weixing.errors import UserError
from weixing.formats.huggingface import import_masked_lm
from weixing.training import gradients, optimizers, pretraining
from weixing.training.cutting import has_cut
from weixing.training.evaluation import ROWS_AT_ONCE, HeldOut
from weixing.training.replicas import ReplicatedGradients
from weixing.training.runlog import read_metrics
from weixing.training.sharding import Memory

STEPS = 20
CUT, LEAST = Memory(shard=True), Memory(shard=True, offload=True, recompute=True)


def given(shards: Path, **more) -> dict:
    plain = {"data": shards, "model": "3/64", "steps": STEPS, "batch_size": 12, "precision": "float32"}
    return {**plain, "report_every": 5, "eval_every": 10, "eval_data": shards, "save_every": 10, **more}


def train_exactly(output: Path, **options) -> dict:
    as_on_a_gpu()
    return train(output, **options)


def as_on_a_gpu() -> None:
    """Several processes have autograd and torch's optimizers, cut or not.

    And no bf16 in Muon, where a difference in the last place of float32 would become one of bf16.
    """
    optimizers.has_bf16 = lambda device: False
    make = gradients.make_gradients

    def by_autograd(model, precision, device, *, dropout, micro_batch_size, entries, compiled, ranks):
        if ranks.count == 1 or has_cut(model):
            return make(model, precision, device, dropout=dropout, micro_batch_size=micro_batch_size, entries=entries,
                        compiled=compiled, ranks=ranks)  # fmt: skip
        return ReplicatedGradients(model, precision, micro_batch_size, ranks, entries)

    pretraining.make_gradients = by_autograd


@pytest.mark.parametrize(("recipe", "ranks", "memory"), [("weixing", 2, CUT), ("weixing", 3, LEAST), ("uer", 3, CUT)])
def test_a_model_cut_among_processes_trains_as_a_whole_one(tiny_shards, tmp_path, recipe, ranks, memory):
    options = given(tiny_shards, recipe=recipe, dropout=0.0, export=True)
    run(1, train_exactly, tmp_path / "whole", **options)
    run(ranks, train_exactly, tmp_path / "cut", **options, memory=memory, micro_batch_size=2)
    assert losses(tmp_path / "cut") == pytest.approx(losses(tmp_path / "whole"), rel=1e-5)
    norms = [[r["grad_norm"] for r in read_metrics(tmp_path / name) if "grad_norm" in r] for name in ("whole", "cut")]
    assert norms[1] == pytest.approx(norms[0], rel=1e-4)
    folders = [tmp_path / name / "checkpoints" / f"step-{STEPS:07d}" for name in ("whole", "cut")]
    saved = [load_file(folder / "weights.safetensors") for folder in folders]
    models = [import_masked_lm(tmp_path / name / "model")[0].state_dict() for name in ("whole", "cut")]
    for whole, cut in (saved, models):
        assert whole.keys() == cut.keys()
        for name, value in whole.items():
            matters = torch.ones(len(value), dtype=torch.bool)
            if name.endswith("query_key_value.bias"):
                # A bias of keys changes no probability: its gradient is rounding, of which AdamW makes whole steps.
                matters[len(value) // 3 : 2 * len(value) // 3] = False
            torch.testing.assert_close(cut[name][matters], value[matters], rtol=0, atol=1e-4, msg=name)


def test_a_run_that_is_killed_goes_on_on_another_number_of_processes(tiny_shards, tmp_path):
    options = given(tiny_shards)
    run(1, train_exactly, tmp_path / "whole", **options)
    for side in finish(start(2, kill_exactly, tmp_path / "killed", 13, **options, memory=CUT)):
        assert side.process.exitcode == -9
    run(3, train_exactly, tmp_path / "killed", resume=True, memory=LEAST)
    assert losses(tmp_path / "killed") == pytest.approx(losses(tmp_path / "whole"), rel=1e-5)


def test_where_optimizers_are_torchs_a_run_goes_on_with_its_model_cut_or_whole(tiny_shards, tmp_path):
    # On a GPU they are; a run on a CPU is refused, for its own keep other states.
    options = given(tiny_shards)
    run(1, train_exactly, tmp_path / "whole", **options)
    for name, before, after in (("cut", {}, {"memory": CUT}), ("joined", {"memory": CUT}, {})):
        output = tmp_path / name
        finish(start(2, kill_exactly, output, 13, **options, **before))
        for side in finish(start(2, train_exactly, output, resume=True, **after)):
            assert "of no use with" in side.answer["error"]
        record = json.loads((output / "run.json").read_text())
        record["machine"]["sharded"] = not record["machine"]["sharded"]
        (output / "run.json").write_text(json.dumps(record))
        run(2, train_exactly, output, resume=True, **after)
        assert losses(output) == pytest.approx(losses(tmp_path / "whole"), rel=1e-5)


def kill_exactly(output: Path, step: int, **options) -> None:
    as_on_a_gpu()
    train_until_killed(output, step, **options)


def test_held_out_rows_are_too_few_for_every_process_to_have_some(tiny_shards, tmp_path, monkeypatch):
    rows = 2 * ROWS_AT_ONCE + 5
    results = [run(ranks, evaluate_few, tmp_path / str(ranks), rows, tiny_shards, memory)
               for ranks, memory in ((1, Memory()), (2, CUT), (4, CUT))]  # fmt: skip
    for one in (value for of_ranks in results for value in of_ranks):
        assert one == pytest.approx(results[0][0], rel=1e-5)


def evaluate_few(output: Path, rows: int, shards: Path, memory: Memory) -> float:
    """Held-out loss of a short run, on its first rows alone."""
    begin = HeldOut.__init__

    def few(self: HeldOut, *arguments) -> None:
        begin(self, *arguments)
        self.shards = FirstRows(self.shards, rows)

    HeldOut.__init__ = few
    return train_exactly(output, **given(shards, steps=2, eval_every=2), memory=memory)["eval_loss"]


class FirstRows:
    """The first rows of a set."""

    def __init__(self, shards, rows: int) -> None:
        self.vocabulary, self.rows, self._rows = shards.vocabulary, shards.rows, rows

    def __len__(self) -> int:
        return self._rows


@pytest.mark.parametrize(
    ("memory", "said"),
    [
        (CUT, "--shard with one process.*torchrun"),
        (Memory(offload=True), "--offload alone"),
        (Memory(recompute=True), "--recompute on a CPU"),
    ],
)
def test_what_cannot_save_memory_is_refused(tiny_shards, tmp_path, memory, said):
    with pytest.raises(UserError, match=said):
        train(tmp_path / "run", **given(tiny_shards), memory=memory)
    assert not (tmp_path / "run").exists()
