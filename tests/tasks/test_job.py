"""A job taken apart for another process and put together there; errors on their way."""

import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch

from weixing.errors import UserError
from weixing.model.encoder import Encoder
from weixing.tasks.cells import Cell
from weixing.tasks.encoding import encode_examples
from weixing.tasks.files import Task
from weixing.tasks.job import Here, Job, as_it_travels, run_cell, with_tensors, without_tensors
from weixing.tasks.kinds import objective_for
from weixing.tasks.tuning import Tuning
from weixing.text.tokenizer import Tokenizer

CPU = torch.device("cpu")
CELL = Cell(epochs=1, batch_size=16, learning_rate=1e-3, seed=7)


@pytest.fixture
def job(encoder: Encoder, task: Task, tokenizer: Tokenizer) -> Job:
    objective = objective_for(task)
    train, dev = (encode_examples(e, objective, tokenizer, 32) for e in (task.train, task.dev))
    return Job(encoder.shape, encoder.state_dict(), train, dev, objective, 32, "float32", 1, Tuning())


def nothing(cell: Cell, rows: int, note: str) -> None:
    pass


def test_a_job_is_the_same_after_its_tensors_went_by_file_and_the_rest_by_pickle(job: Job, tmp_path: Path) -> None:
    hollow, tensors = without_tensors(job)
    safetensors.torch.save_file(tensors, tmp_path / "tensors")
    sent = pickle.dumps(hollow)
    assert len(sent) < 20_000 < sum(tensor.nbytes for tensor in tensors.values())
    arrived = with_tensors(pickle.loads(sent), safetensors.torch.load_file(tmp_path / "tensors"))
    assert without_tensors(arrived)[0].shape == job.shape
    for name, tensor in without_tensors(arrived)[1].items():
        assert torch.equal(tensor, tensors[name]), name
    here, there = (run_cell(one, CELL, CPU, 0.0, nothing) for one in (job, arrived))
    assert here.outcome.epoch_losses == there.outcome.epoch_losses
    assert here.weights
    assert there.weights
    assert here.weights.keys() == there.weights.keys()
    assert all(torch.equal(tensor, there.weights[name]) for name, tensor in here.weights.items())


def test_the_pretrained_weights_stay_as_they_are(job: Job) -> None:
    before = {name: tensor.clone() for name, tensor in job.weights.items()}
    run_cell(job, CELL, CPU, 0.0, nothing)
    assert all(torch.equal(tensor, before[name]) for name, tensor in job.weights.items())


def test_a_model_comes_along_if_its_score_is_wanted(job: Job) -> None:
    score = run_cell(job, CELL, CPU, 0.0, nothing).outcome.score
    wanted, unwanted = run_cell(job, CELL, CPU, score, nothing), run_cell(job, CELL, CPU, score + 0.01, nothing)
    assert unwanted.weights is None
    model, weights = wanted.model(), wanted.weights
    assert weights
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())


def test_torch_uses_as_many_cores_as_the_job_says_and_then_what_it_did(job: Job, monkeypatch) -> None:
    used: list[int] = []
    torch.set_num_threads(3)  # of this test alone: see tests/conftest.py

    def look(*arguments, **options):
        used.append(torch.get_num_threads())
        raise UserError("seen")

    monkeypatch.setattr("weixing.tasks.job.fine_tune", look)
    with pytest.raises(UserError, match="seen"):
        run_cell(job, CELL, CPU, 0.0, nothing)
    assert used == [1]
    assert torch.get_num_threads() == 3


def test_a_cell_that_fails_here_does_not_keep_others_from_running(job: Job) -> None:
    with Here(job, CPU) as here:
        cells = [CELL, Cell(epochs=1, batch_size=4, learning_rate=1e38, seed=7), CELL]
        first, failed, last = here.run(cells, lambda: 0.0, nothing)
    assert "the training loss is nan" in str(failed.error)
    assert first.outcome.epoch_losses == last.outcome.epoch_losses


def test_errors_arrive_in_another_process_as_they_are_and_faults_with_their_trace() -> None:
    wrong = UserError("nothing", where="there", accepted="something", action="Look again")
    arrived = pickle.loads(pickle.dumps(as_it_travels(wrong)))
    assert isinstance(arrived, UserError)
    assert str(arrived) == str(wrong)
    assert vars(arrived) == vars(wrong)
    full = pickle.loads(pickle.dumps(as_it_travels(OSError(28, "No space left", "place"))))
    assert (type(full), full.errno, full.filename) == (OSError, 28, "place")
    try:
        _ = [][1]
    except IndexError as error:
        fault = pickle.loads(pickle.dumps(as_it_travels(error)))
    assert type(fault) is RuntimeError
    assert "_ = [][1]" in str(fault)
    assert "IndexError: list index out of range" in str(fault)
