"""What comes before the timing: runs long enough from the first round on, and nothing compiled while it is timed."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from bench import faithful, features, fill_mask, finetune, prepare
from bench.children import Finished, SideFailed
from bench.inputs import Inputs
from bench.measure import Measured
from bench.pretrain import WeixingTraining


class Machine:
    """Stands for the inputs: notes the steps of each run, which trains at this speed."""

    vocabulary_size = 21_128

    def __init__(self, tokens_per_second):
        self.tokens_per_second, self.steps = tokens_per_second, []

    def shards(self, layout, sequence_length):
        return f"shards-{layout}"

    def reached_entries(self, shards):
        return 9_000

    def remove(self, name):
        pass

    def run(self, command, timeout):
        self.steps.append(int(command[command.index("--steps") + 1]))
        result = {"tokens_per_second": self.tokens_per_second, "peak_fraction": 0.5}
        return Finished(" ".join(command), 1.0, json.dumps(result), [], 100.0)


@pytest.mark.parametrize("tokens_per_second", [2_000, 50_000, 5_000_000])
def test_from_the_first_round_on_a_run_of_training_lasts_as_long_as_is_said(tokens_per_second):
    machine, tokens = Machine(tokens_per_second), 16 * 128
    training = WeixingTraining(SimpleNamespace(inputs=machine), "2/128", 16, seconds=15.0)
    readings = [training(), training()]
    lasts = [(steps - 10) * tokens / tokens_per_second for steps in machine.steps]
    assert lasts[1:] == pytest.approx([15.0, 15.0], rel=0.04)
    for steps, reading in zip(machine.steps[1:], readings, strict=True):
        assert f"--steps {steps} " in reading.command
    assert machine.steps[0] == 13  # does not count


def test_where_few_steps_are_long_enough_no_run_is_made_for_nothing():
    machine = Machine(600)  # 14 s a step
    training = WeixingTraining(SimpleNamespace(inputs=machine), "12/768", 64, seconds=15.0)
    assert [training().figures["tokens_per_second"] for _ in range(2)] == [600, 600]
    assert machine.steps == [13, 13]


def test_fine_tuning_is_run_once_on_few_rows_before_any_is_timed(tmp_path, monkeypatch):
    inputs, trained = Inputs(tmp_path, None, quick=False), []

    def run(command, timeout=900):
        if "finetune" not in command:
            raise SideFailed("not of interest")
        trained.append(command[command.index("--train") + 1])
        (tmp_path / "tuned").mkdir()
        (tmp_path / "tuned" / "results.jsonl").write_text(json.dumps({"seconds": 1.0}))
        return Finished(" ".join(command), 1.0, "", [], 100.0)

    monkeypatch.setattr(inputs, "run", run)
    setting = SimpleNamespace(inputs=inputs, uer="left out", rounds=2, quick=False)
    case = next(iter(finetune.cases(setting).values()))()
    assert trained == ["small-task/train.tsv", *["task/train.tsv"] * 4]
    assert len((tmp_path / "small-task" / "train.tsv").read_text(encoding="utf-8").splitlines()) == 65
    assert case.sides["weixing, batch 32"].values == {"epoch_and_dev_seconds": [1.0, 1.0]}


def test_a_processor_without_bf16_leaves_these_sides_out_and_fails_none(tmp_path):
    def run(command, timeout=900):
        figures = {"median_ms": 2.0, "p95_ms": 3.0, "texts_per_second": 9.0}
        if command[2] == "bench.workers.features":
            for pooling in ("mean", "cls"):
                np.save(tmp_path / f"{command[6]}.{pooling}.npy", np.ones((2, 4), np.float32))
        return Finished(" ".join(command), 1.0, json.dumps(figures), [], 100.0)

    inputs = SimpleNamespace(run=run, model=lambda shape: "model", texts="texts.txt", folder=tmp_path)
    setting = SimpleNamespace(inputs=inputs, rounds=1, quick=True, bf16=False)
    for section in (fill_mask, features, faithful):
        case = next(iter(section.cases(setting).values()))()
        assert case.skipped
        assert all("bf16" in side for side in case.skipped)
        assert not any("bf16" in side or measured.failure for side, measured in case.sides.items())
        assert [check.value is None for check in case.checks] == ["bf16" in check.name for check in case.checks]


def test_two_workers_are_compared_with_one_on_a_small_corpus_too_without_a_target():
    speeds = {prepare.ONE: 10.0, prepare.TWO: 11.0, prepare.ONE_MANY: 20.0, prepare.TWO_MANY: 38.0}
    measured = {name: Measured(values={"mb_per_second": [speed]}) for name, speed in speeds.items()}
    checks = {check.name: check for check in prepare._checks({**measured, prepare.TOKENIZERS: Measured()})}
    small = checks["prepare, two workers over one, the corpus 8 times over"]
    assert (small.value, small.target) == (1.1, None)
    assert checks["prepare, two workers over one"].value == 1.9
