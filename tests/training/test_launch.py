"""Several processes that cannot work together, or lose each other, end soon, and each of them says why."""

import os
import signal
import socket
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from torch.distributed import TCPStore

from tests.training.side_by_side import SECONDS, finish, free_port, start, train
from weixing.data.prepare import prepare
from weixing.text.vocabulary import Vocabulary
from weixing.training import meeting, watch
from weixing.training.checkpoint_files import list_checkpoints
from weixing.training.checkpoints import Checkpoints
from weixing.training.pretraining import Run
from weixing.training.runlog import read_metrics

HERE = socket.gethostname()


def given(shards: Path, **more) -> dict:
    return {"data": shards, "model": "1/64", "steps": 40, "batch_size": 4, "report_every": 1, **more}


def train_in_haste(output: Path, **options) -> dict:
    """Waits are as short as they can be for a test."""
    meeting.SECONDS, meeting.GRACE_SECONDS = 3.0, 1.0
    watch.SIGNAL_SECONDS, watch.GRACE_SECONDS, watch.LIFELESS_SECONDS, watch.BEAT_SECONDS = 1.0, 0.5, 1.5, 0.2
    return train(output, stall_seconds=4.0, **options)


def at_step(number: int, of_rank: int, happens, output: Path, **options) -> dict:
    """Train until something happens to a rank, in the middle of a step."""
    read = Run._read

    def read_by(self: Run, step: int) -> object:
        if step == number and self.ranks.rank == of_rank:
            happens()
        return read(self, step)

    Run._read = read_by
    return train_in_haste(output, **options)


def kill_myself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stop_myself() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def sleep_long() -> None:
    time.sleep(SECONDS)


def break_down() -> None:
    raise OSError(28, "No space left on device", "/somewhere")


def wait_for_steps(output: Path, steps: int) -> None:
    """Until a run has done so many."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and not (output.is_dir() and len(read_metrics(output)) >= steps):
        time.sleep(0.02)


@pytest.mark.parametrize("silent", [True, False])
def test_a_port_where_something_else_listens(tiny_shards, tmp_path, silent):
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        environment = {"MASTER_PORT": other.getsockname()[1]}
        sides = start(2, train_in_haste, tmp_path / "run", environment=environment, **given(tiny_shards))
        if not silent:
            other.settimeout(10)
            connection, _ = other.accept()
            connection.sendall(b"220 mail.example.com\r\n" * 10)
        began = time.monotonic()
        first, second = finish(sides)
    assert time.monotonic() - began < 20
    assert "rank 0 cannot listen at 127.0.0.1:" in first.answer["error"]
    assert f"rank 1 on {HERE} cannot meet the others at 127.0.0.1:" in second.answer["error"]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("here", "missing"), [([0, 2], "rank 1 of 3 did"), ([1, 2], "cannot meet the others at")])
def test_a_process_that_does_not_come(tiny_shards, tmp_path, here, missing):
    for side in finish(start(3, train_in_haste, tmp_path / "run", only=here, **given(tiny_shards, batch_size=3))):
        assert missing in side.answer["error"]


def train_otherwise(differences: dict, output: Path, **options) -> dict:
    """Options that rank 1 alone has."""
    mine = differences if os.environ["RANK"] == "1" else {}
    return train_in_haste(output, **{**options, **mine})


def test_processes_that_differ_in_data_vocabulary_or_options(tiny_shards, tiny_vocabulary, tmp_path):
    (tmp_path / "corpus.txt").write_text("".join(tiny_vocabulary.tokens[110:170]) + "\n", encoding="utf-8")
    prepare([tmp_path / "corpus.txt"], tmp_path / "other", vocabulary=tiny_vocabulary, sequence_length=32)
    tokens = list(tiny_vocabulary.tokens)
    tokens[104], tokens[105] = tokens[105], tokens[104]
    prepare([tmp_path / "corpus.txt"], tmp_path / "mixed", vocabulary=Vocabulary(tokens), sequence_length=32)
    cases = [
        ({"data": tmp_path / "other"}, ["rows "]),
        ({"data": tmp_path / "mixed"}, ["rows ", "vocabulary of rows "]),
        ({"recipe": "uer", "seed": 8}, ["--recipe uer (rank 0: none)", "--seed 8 (rank 0: none)"]),
        ({"data": tmp_path / "none"}, [str(tmp_path / "none")]),
    ]
    for differences, words in cases:
        for side in finish(start(2, train_otherwise, differences, tmp_path / "run", **given(tiny_shards))):
            assert f"rank 1 on {HERE}" in side.answer["error"]
            for word in words:
                assert word in side.answer["error"]
        assert not (tmp_path / "run").exists()


def test_an_error_of_one_process_is_told_by_all(tiny_shards, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").touch()  # only rank 0 looks there
    for side in finish(start(2, train_in_haste, tmp_path / "run", **given(tiny_shards))):
        assert f"rank 0 on {HERE}: " in side.answer["error"]
        assert "never replaced" in side.answer["error"]


def test_a_store_that_still_holds_what_earlier_processes_left(tiny_shards, tmp_path):
    # As torchrun's does after a restart.
    store = TCPStore("127.0.0.1", free_port(), None, True, timedelta(seconds=9), wait_for_workers=False)
    environment = {"MASTER_PORT": store.port, "TORCHELASTIC_USE_AGENT_STORE": "True"}
    for number in range(3):
        options = given(tiny_shards, steps=3)
        sides = start(2, train_in_haste, tmp_path / str(number), environment=environment, **options)
        assert [side.value["steps"] for side in finish(sides)] == [3, 3]


def test_a_process_that_is_killed_or_fails_is_named_by_the_others(tiny_shards, tmp_path):
    full = "has ended: [Errno 28] No space left on device: '/somewhere'"
    for name, rank, happens, said in (
        ("killed", 1, kill_myself, f"rank 1 on {HERE} (at step 5)"),
        ("first killed", 0, kill_myself, f"rank 0 on {HERE} (at step 5)"),
        ("failed", 1, break_down, f"rank 1 on {HERE} {full}"),
        ("first failed", 0, break_down, f"rank 0 on {HERE} {full}"),
    ):
        sides = finish(start(3, at_step, 5, rank, happens, tmp_path / name, **given(tiny_shards, batch_size=3)))
        for other in (number for number in range(3) if number != rank):
            assert said in sides[other].said + sides[other].answer.get("error", ""), name


@pytest.mark.parametrize(
    ("happens", "said"), [(stop_myself, "No sign of life from"), (sleep_long, "The others wait for")]
)
def test_a_process_that_stands_still_is_named_with_its_step(tiny_shards, tmp_path, happens, said):
    sides = start(3, at_step, 7, 2, happens, tmp_path / "run", **given(tiny_shards, batch_size=3))
    living = sides[: 2 if happens is stop_myself else 3]
    finish(living)
    sides[2].process.kill()
    for side in living:
        assert f"{said} rank 2 on {HERE} (at step 7" in side.said + side.answer.get("error", "")
        assert side.process.exitcode == 1 or side.answer


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_one_process_stops_all_of_them_at_one_step(tiny_shards, tmp_path, number):
    sides = start(2, train_in_haste, tmp_path / "run", **given(tiny_shards, steps=100_000))
    wait_for_steps(tmp_path / "run", 3)
    os.kill(sides[1].process.pid, number)
    first, second = (side.value for side in finish(sides))
    assert first["stopped_by"] == second["stopped_by"] == number
    saved = list_checkpoints(tmp_path / "run" / "checkpoints")[-1]
    assert saved.name == f"step-{first['steps']:07d}"
    assert first["steps"] == second["steps"] >= 3


def slow_to_save(output: Path, **options) -> dict:
    """A checkpoint takes longer than a rank waits for one that never comes."""
    save = Checkpoints.save

    def slowly(self: Checkpoints, step: int, *arguments) -> None:
        if step:
            time.sleep(3)
        save(self, step, *arguments)

    Checkpoints.save = slowly
    return train_in_haste(output, **options)


def test_a_signal_waits_for_the_checkpoint_however_long_it_takes(tiny_shards, tmp_path):
    sides = start(2, slow_to_save, tmp_path / "run", **given(tiny_shards, steps=100_000))
    wait_for_steps(tmp_path / "run", 3)
    for side in sides:
        os.kill(side.process.pid, signal.SIGTERM)
    first, second = (side.value for side in finish(sides))
    assert first["stopped_by"] == second["stopped_by"] == signal.SIGTERM
    assert list_checkpoints(tmp_path / "run" / "checkpoints")[-1].name == f"step-{first['steps']:07d}"


def test_a_signal_ends_a_process_that_waits_for_one_that_never_comes(tiny_shards, tmp_path):
    sides = start(2, at_step, 3, 1, stop_myself, tmp_path / "run", **given(tiny_shards))
    wait_for_steps(tmp_path / "run", 3)
    time.sleep(0.5)
    os.kill(sides[0].process.pid, signal.SIGTERM)
    finish(sides[:1])
    sides[1].process.kill()
    assert sides[0].process.exitcode == 128 + signal.SIGTERM
    assert f"rank 0 on {HERE} got SIGTERM while it waited." in sides[0].said
