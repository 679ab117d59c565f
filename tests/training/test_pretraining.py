"""Pretraining promises: exact resume, micro-batches that change nothing, honest records, clear stops."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from weixing.data.prepare import prepare
from weixing.data.reach import reach_of
from weixing.data.shards import ShardSet
from weixing.errors import UserError
from weixing.formats.huggingface import export_masked_lm, import_masked_lm
from weixing.formats.naming import load_masked_lm
from weixing.model.compiled.workers import Workers
from weixing.training.evaluation import HeldOut
from weixing.training.gradients import AutogradGradients, CompiledGradients
from weixing.training.pretraining import Run
from weixing.training.runlog import read_metrics
from weixing.training.start import pretrain

OPTIONS = (
    *("--data", "--model", "--init", "--recipe", "--steps", "--batch-size", "--micro-batch-size", "--learning-rate"),
    *("--matrix-learning-rate", "--masking-rate", "--masking-unit", "--shuffle-window", "--seed", "--precision"),
    *("--no-compile", "--eval-data", "--report-every", "--eval-every", "--save-every", "--keep"),
)


def options(shards: Path | None, **given) -> dict:
    values = {"--data": shards, **{"--" + name.replace("_", "-"): value for name, value in given.items()}}
    return {option: values.get(option) for option in OPTIONS}


EXPORT = partial(export_masked_lm, overwrite=True)


def train(shards: Path | None, output: Path, *, resume=False, export=EXPORT, **given):
    given = options(shards, **given)
    return pretrain(given, output, load=load_masked_lm, export=export, device_name="cpu", resume=resume)


def untimed(run: Path) -> list[dict]:
    """The run's reports without what depends on the clock."""
    return [
        {key: value for key, value in report.items() if key not in ("seconds", "tokens_per_second")}
        for report in read_metrics(run)
    ]


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the project may catch it."""


@pytest.mark.parametrize("recipe", ["weixing", "uer"])
@pytest.mark.parametrize("kill_at", [3, 5, 9])
def test_a_killed_run_resumes_as_if_never_stopped(tiny_shards, tmp_path, monkeypatch, recipe, kill_at):
    given = {"model": "2/64", "recipe": recipe, "steps": 12, "batch_size": 4, "save_every": 4, "report_every": 3,
             "eval_every": 4, "eval_data": tiny_shards, "learning_rate": 1e-3}  # fmt: skip
    whole = train(tiny_shards, tmp_path / "whole", **given)

    step = Run._step

    def step_until_killed(self):
        if self.done.step == kill_at:
            raise Killed
        step(self)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "_step", step_until_killed)
        with pytest.raises(Killed):
            train(tiny_shards, tmp_path / "killed", **given)
    resumed = train(None, tmp_path / "killed", resume=True)

    files = [tmp_path / name / "model" / "model.safetensors" for name in ("whole", "killed")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert untimed(tmp_path / "whole") == untimed(tmp_path / "killed")
    assert (resumed.eval_loss, resumed.train_loss) == (whole.eval_loss, whole.train_loss)


def test_a_kill_while_a_checkpoint_is_written_falls_back_to_the_one_before(tiny_shards, tmp_path, monkeypatch):
    given = {"model": "2/64", "steps": 8, "batch_size": 4, "save_every": 3}
    train(tiny_shards, tmp_path / "whole", **given)

    def killed_half_way(state, stream):
        if state["step"] == 6:  # the weights are written, the rest is not
            raise Killed
        save(state, stream)

    save = torch.save
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", killed_half_way)
        with pytest.raises(Killed):
            train(tiny_shards, tmp_path / "killed", **given)
    train(None, tmp_path / "killed", resume=True)
    files = [tmp_path / name / "model" / "model.safetensors" for name in ("whole", "killed")]
    assert files[0].read_bytes() == files[1].read_bytes()


# Muon rounds to bf16 inside, where a difference in the last place of float64 can become one of bf16.
@pytest.mark.parametrize(("recipe", "tolerance"), [("weixing", 1e-4), ("uer", 1e-9)])
def test_micro_batches_give_the_update_of_the_whole_batch(tiny_shards, tmp_path, recipe, tolerance, monkeypatch):
    # By autograd in float64, where sums in another order differ by rounding alone (compiled gradients, in float32, have
    # this promise in test_gradients.py); dropout draws depend on the batch, so it is off.
    def by_autograd(model, precision, device, *, dropout, micro_batch_size, entries, compiled, ranks):
        return AutogradGradients(model.double(), precision, micro_batch_size, entries)

    monkeypatch.setattr("weixing.training.pretraining.make_gradients", by_autograd)
    monkeypatch.setattr("weixing.model.encoder.Encoder.set_dropout", lambda self, dropout: None)
    weights = []
    for micro in (8, 2, 1):
        train(tiny_shards, tmp_path / str(micro), model="2/64", recipe=recipe, steps=5, batch_size=8,
              micro_batch_size=micro, precision="float32", learning_rate=1e-3, export=lambda *_: None)  # fmt: skip
        weights.append(load_file(tmp_path / str(micro) / "checkpoints" / "step-0000005" / "weights.safetensors"))
    for name, whole in weights[0].items():
        assert whole.dtype == torch.float64
        for other in weights[1:]:
            torch.testing.assert_close(other[name], whole, rtol=0, atol=tolerance)


@pytest.mark.parametrize("recipe", ["weixing", "uer"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_by_compiled_gradients_is_the_run_by_autograd(tiny_shards, tmp_path, recipe, workers, monkeypatch):
    def by_autograd(model, precision, device, *, dropout, micro_batch_size, entries, compiled, ranks):
        return AutogradGradients(model, precision, micro_batch_size, entries)

    def compiled(model, precision, device, *, dropout, micro_batch_size, entries, compiled, ranks):
        return CompiledGradients(model, precision, Workers(workers), 0.0, micro_batch_size, entries)

    monkeypatch.setattr("weixing.model.encoder.Encoder.set_dropout", lambda self, dropout: None)
    done = []
    for make in (by_autograd, compiled):
        monkeypatch.setattr("weixing.training.pretraining.make_gradients", make)
        output = tmp_path / make.__name__
        run = train(tiny_shards, output, model="2/64", recipe=recipe, steps=20, batch_size=8, micro_batch_size=2,
                    report_every=5, precision="float32", learning_rate=1e-3, eval_data=tiny_shards)  # fmt: skip
        norms = [report["grad_norm"] for report in read_metrics(output) if "grad_norm" in report]
        done.append([run.train_loss, run.eval_loss, *norms])
    assert done[1] == pytest.approx(done[0], rel=1e-3)


@pytest.mark.parametrize("recipe", ["weixing", "uer"])
def test_entries_that_no_row_holds_end_as_rare_ones_unless_the_recipe_trains_them_too(tiny_shards, tmp_path, recipe):
    train(tiny_shards, tmp_path / "run", model="2/64", recipe=recipe, steps=3, batch_size=4)
    model, vocabulary = import_masked_lm(tmp_path / "run" / "model")
    reach = reach_of(ShardSet(tiny_shards))
    unreached = np.setdiff1d(np.arange(len(vocabulary)), reach.entries)
    assert len(unreached)
    for rows in (model.encoder.embeddings.token.weight, model.head.bias):
        as_rare = torch.isclose(rows[unreached], rows[reach.rarest].mean(0), rtol=1e-5, atol=1e-7)
        assert as_rare.all() if recipe == "weixing" else not as_rare.all()


def test_a_fresh_model_begins_at_the_frequencies_of_its_rows(tiny_shards, tmp_path):
    train(tiny_shards, tmp_path / "run", model="2/64", steps=1, batch_size=4)
    bias = load_file(tmp_path / "run" / "checkpoints" / "step-0000000" / "weights.safetensors")["head.bias"]
    counts = torch.from_numpy(reach_of(ShardSet(tiny_shards)).counts)
    assert torch.equal(bias.argsort(stable=True), counts.argsort(stable=True))


@pytest.mark.parametrize("recipe", ["weixing", "uer"])
def test_on_two_cores_a_run_can_be_repeated_and_resumed_bit_for_bit(tiny_shards, tmp_path, monkeypatch, recipe):
    torch.set_num_threads(2)
    given = {"model": "2/64", "recipe": recipe, "steps": 10, "batch_size": 5, "save_every": 4, "report_every": 2,
             "eval_every": 5, "eval_data": tiny_shards, "learning_rate": 1e-3}  # fmt: skip
    for name in ("once", "again"):
        train(tiny_shards, tmp_path / name, **given)

    step = Run._step

    def step_until_killed(self):
        if self.done.step == 6:
            raise Killed
        step(self)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "_step", step_until_killed)
        with pytest.raises(Killed):
            train(tiny_shards, tmp_path / "killed", **given)
    assert torch.get_num_threads() == 2  # given back, whatever happened
    train(None, tmp_path / "killed", resume=True)
    files = [tmp_path / name / "model" / "model.safetensors" for name in ("once", "again", "killed")]
    assert files[0].read_bytes() == files[1].read_bytes() == files[2].read_bytes()
    assert untimed(tmp_path / "once") == untimed(tmp_path / "again") == untimed(tmp_path / "killed")


def test_the_run_folder_holds_what_the_contract_says(tiny_shards, tmp_path):
    done = train(tiny_shards, tmp_path / "run", model="2/64", steps=30, batch_size=4, report_every=10, eval_every=15,
                 eval_data=tiny_shards, save_every=10)  # fmt: skip
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["settings"]["recipe"]["steps"] == 30
    assert record["settings"]["data_sha256"] == ShardSet(tiny_shards).manifest.sha256
    assert record["machine"]["torch"] == torch.__version__
    reports = [report for report in read_metrics(tmp_path / "run") if "train_loss" in report]
    assert [report["step"] for report in reports] == [10, 20, 30]
    assert set(reports[0]) == {
        "step", "tokens", "seconds", "train_loss", "learning_rate", "tokens_per_second", "grad_norm",
    }  # fmt: skip
    assert reports[-1]["tokens"] == done.tokens == 30 * 4 * 32
    assert [r["step"] for r in read_metrics(tmp_path / "run") if "eval_loss" in r] == [15, 30]
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == [
        "step-0000015",  # the first evaluation, so the best until then
        "step-0000020",
        "step-0000030",
    ]
    assert done.tokens_per_second > 0
    assert 0 < done.peak_fraction < 1


def test_reported_loss_is_the_mean_over_predicted_positions(tiny_shards, tmp_path, monkeypatch):
    sums = []
    original = Run._stop_if_not_finite
    monkeypatch.setattr(
        Run, "_stop_if_not_finite", lambda self, reading: (sums.append(reading.loss), original(self, reading))
    )
    train(tiny_shards, tmp_path / "run", model="2/64", steps=4, batch_size=4, report_every=2)
    reported = [report["train_loss"] for report in read_metrics(tmp_path / "run")]
    predicted = 2 * 4 * round(0.15 * 32)
    assert reported == pytest.approx([sum(sums[:2]) / predicted, sum(sums[2:]) / predicted])


def test_training_learns_the_character_frequencies(tiny_shards, tmp_path):
    done = train(tiny_shards, tmp_path / "run", model="2/64", steps=60, batch_size=16, report_every=20)
    first, *_, last = [report["train_loss"] for report in read_metrics(tmp_path / "run")]
    assert last < first
    assert done.train_loss == last


def test_evaluation_asks_the_same_questions_whatever_the_mode_and_the_random_state(tiny_shards, tmp_path):
    train(tiny_shards, tmp_path / "run", model="2/64", recipe="uer", steps=1, batch_size=4)
    model, _ = import_masked_lm(tmp_path / "run" / "model")
    model.encoder.set_dropout(0.5)
    held_out = HeldOut(ShardSet(tiny_shards), isolate=True)
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        model.train(seed == 1)
        results.append(asdict(held_out.evaluate(model, torch.device("cpu"), "float32")))
        assert model.training == (seed == 1)
    assert results[0] == results[1]


def test_evaluation_makes_few_logits_at_a_time_and_comes_to_the_same(tiny_shards, tmp_path, monkeypatch):
    train(tiny_shards, tmp_path / "run", model="2/64", steps=1, batch_size=4)
    model, vocabulary = import_masked_lm(tmp_path / "run" / "model")
    held_out, sizes = HeldOut(ShardSet(tiny_shards), isolate=True), []
    model.register_forward_hook(lambda _model, _inputs, logits: sizes.append(logits.numel()))

    def evaluate(workers: int) -> list[float]:
        sizes.clear()
        return list(asdict(held_out.evaluate(model, torch.device("cpu"), "float32", Workers(workers))).values())

    whole, of_a_row = evaluate(1), round(0.15 * 32) * len(vocabulary)
    assert max(sizes) > 7 * of_a_row
    monkeypatch.setattr("weixing.training.evaluation.LOGITS_AT_ONCE", 7 * of_a_row + 1)
    for workers in (1, 2):
        assert evaluate(workers) == pytest.approx(whole, rel=1e-6)
        assert max(sizes) == 7 * of_a_row


def test_a_loss_that_is_not_finite_stops_before_the_update_and_says_where(tiny_shards, tmp_path):
    with pytest.raises(UserError, match=r"not finite in step \d+, at learning rate .*--learning-rate"):
        train(tiny_shards, tmp_path / "run", model="2/64", recipe="uer", steps=60, batch_size=4, learning_rate=1e30)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_then_stops_with_its_exit_code_and_resumes_exactly(tiny_shards, tmp_path, number, code):
    common = ["--data", str(tiny_shards), "--model", "2/64", "--steps", "400", "--batch-size", "4", "--json"]
    command = [sys.executable, "-m", "weixing", "pretrain"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*command, *common, "--out", str(tmp_path / "run"), "--report-every", "1"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)  # fmt: skip
    metrics = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err.decode()
    stopped = json.loads(out)["steps"]
    assert 0 < stopped < 400
    assert (tmp_path / "run" / "checkpoints" / f"step-{stopped:07d}").is_dir()
    subprocess.run(
        [*command, "--out", str(tmp_path / "run"), "--resume"], check=True, capture_output=True, env=environment
    )
    subprocess.run([*command, *common, "--out", str(tmp_path / "whole"), "--report-every", "1"], check=True,
                   capture_output=True, env=environment)  # fmt: skip
    files = [tmp_path / name / "model" / "model.safetensors" for name in ("whole", "run")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_stage_two_starts_from_stage_ones_weights(tiny_shards, tmp_path):
    train(tiny_shards, tmp_path / "one", model="2/64", steps=2, batch_size=4)
    train(tiny_shards, tmp_path / "two", init=str(tmp_path / "one"), steps=1, batch_size=4, learning_rate=0.0,
          matrix_learning_rate=0.0)  # fmt: skip
    one, two = (import_masked_lm(tmp_path / name / "model")[0].state_dict() for name in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_run_from_other_weights_killed_before_its_first_save_resumes_from_those_weights(
    tiny_shards, tmp_path, monkeypatch
):
    train(tiny_shards, tmp_path / "one", model="2/64", steps=2, batch_size=4)
    given = {"init": str(tmp_path / "one"), "steps": 3, "batch_size": 4}
    train(tiny_shards, tmp_path / "whole", **given)

    def killed(self):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Run, "_step", killed)
        with pytest.raises(Killed):
            train(tiny_shards, tmp_path / "killed", **given)
    train(None, tmp_path / "killed", resume=True)
    files = [tmp_path / name / "model" / "model.safetensors" for name in ("whole", "killed")]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    "machine", [{"type": "cuda"}, {"type": None, "device": "NVIDIA H200", "torch": "2.13.0+cu130"}]
)
def test_a_run_that_began_on_another_kind_of_device_is_not_resumed_and_stays_as_it_was(tiny_shards, tmp_path, machine):
    train(tiny_shards, tmp_path / "run", model="2/64", steps=4, batch_size=4)
    change_machine(tmp_path / "run", machine)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=r"began on cuda.*--device cuda.*--init"):
        train(None, tmp_path / "run", resume=True)
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "machine",
    [{"type": "cpu"}, {"type": None}, {"type": None, "device": "another processor", "torch": "2.9.0"}],
)
def test_a_run_is_resumed_where_its_record_names_this_kind_of_device_or_none(tiny_shards, tmp_path, machine):
    train(tiny_shards, tmp_path / "run", model="2/64", steps=4, batch_size=4)
    change_machine(tmp_path / "run", machine)
    assert train(None, tmp_path / "run", resume=True).steps == 4
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert [resumed["machine"]["type"] for resumed in record["resumed"]] == ["cpu"]


def change_machine(run: Path, changes: dict) -> None:
    """Edit the machine of a run.json; what is None is left out."""
    record = json.loads((run / "run.json").read_text())
    machine = {**record["machine"], **changes}
    record["machine"] = {key: value for key, value in machine.items() if value is not None}
    (run / "run.json").write_text(json.dumps(record))


def test_windows_with_nothing_to_predict_carry_no_weight(tiny_vocabulary, tmp_path):
    # A document of one token less than a window leaves a second window with only its [SEP].
    (tmp_path / "corpus.txt").write_text("".join(tiny_vocabulary.tokens[104:119]) + "\n", encoding="utf-8")
    prepare(
        [tmp_path / "corpus.txt"], tmp_path / "shards", vocabulary=tiny_vocabulary, sequence_length=16, layout="uer"
    )
    assert len(ShardSet(tmp_path / "shards")) == 2
    done = train(tmp_path / "shards", tmp_path / "run", model="1/64", recipe="uer", steps=4, batch_size=1)
    assert done.steps == 4


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"seed": -1}, "--seed -1"),
        ({"report_every": 0}, "--report-every 0"),
        ({"micro_batch_size": 3}, "divisor of the batch size"),
        ({"masking_unit": "word"}, "--whole-words"),
        ({"recipe": "adam"}, "weixing or uer"),
        ({"learning_rate": -1.0}, "--learning-rate"),
        ({"init": "2/64"}, "names a shape"),
        ({"eval_data": "long"}, "at most 512"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_made(
    tiny_shards, tiny_corpus, tiny_vocabulary, tmp_path, wrong, message
):
    if "eval_data" in wrong:
        prepare([tiny_corpus], tmp_path / "long", vocabulary=tiny_vocabulary, sequence_length=1024)
        wrong = {"eval_data": tmp_path / "long"}
    with pytest.raises(UserError, match=message):
        train(tiny_shards, tmp_path / "run", **{"model": "2/64", "steps": 2, "batch_size": 4, **wrong})
    assert not (tmp_path / "run").exists()


def test_overwriting_never_deletes_what_the_run_is_made_from(tiny_corpus, tiny_vocabulary, tmp_path):
    prepare([tiny_corpus], tmp_path / "work" / "shards", vocabulary=tiny_vocabulary, sequence_length=32)
    (tmp_path / "work" / "run.json").write_text("{}")  # of an earlier run
    with pytest.raises(UserError, match="would delete"):
        pretrain(options(tmp_path / "work" / "shards", model="2/64", steps=2, batch_size=4), tmp_path / "work",
                 load=load_masked_lm, export=EXPORT, device_name="cpu", overwrite=True)  # fmt: skip
    assert (tmp_path / "work" / "shards" / "manifest.json").exists()
