"""What the machine does to the program (full disks, paths, memory, signals) becomes an exit code and one message."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from weixing.cli.main import run


@pytest.fixture
def verb_that_fails(monkeypatch: pytest.MonkeyPatch):
    """Makes `weixing table x` raise an error."""

    def fail_with(error: BaseException) -> list[str]:
        def fail(_):
            raise error

        monkeypatch.setattr("weixing.tasks.results.read_results", fail)
        return ["table", "x"]

    return fail_with


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


class BackendCompilerFailed(type("TorchDynamoException", (RuntimeError,), {})):
    """As torch has them, which would take seconds to import."""


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        *[
            (OSError(number, os.strerror(number), "some/place"), f"some/place: {os.strerror(number)}.")
            for number in (errno.EACCES, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ENOENT)
        ],
        (FULL, "no space left on the disk. "),
        (OSError(errno.EDQUOT, "Quota exceeded", "some/place"), "no space left on the disk (some/place). "),
        (caused(RuntimeError("unexpected pos 704 vs 598"), FULL), "no space left on the disk. "),
        (Exception("I/O error: No space left on device (os error 28)"), "no space left on the disk. "),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), "out of memory: CUDA out of memory. Lower"),
        (torch.OutOfMemoryError("CUDA out of memory."), "--micro-batch-size (pretrain), --batch-sizes (finetune)"),
        (MemoryError(), "--batch-tokens (features)"),
        (
            BackendCompilerFailed("\nno C compiler\nadvice"),
            "failed: no C compiler. Start again with --no-compile.",
        ),
    ],
    ids=repr,
)
def test_errors_of_the_machine_give_one_message(verb_that_fails, capsys, error, message):
    assert run(verb_that_fails(error)) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.startswith("weixing: ")
    assert streams.err.count("\n") == 1
    assert message in streams.err


@pytest.mark.parametrize("error", [RuntimeError("a mistake"), OSError("without a place"), ZeroDivisionError()])
def test_faults_of_the_program_are_not_hidden(verb_that_fails, error):
    with pytest.raises(type(error)):
        run(verb_that_fails(error))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_prepare_and_its_workers_leaves_nothing_and_says_nothing(tmp_path: Path, number):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "0.txt").write_text("一二三四五六七八九十\n" * 1_000_000, encoding="utf-8")
    for link in range(1, 100):  # 3 GB to read: it cannot be done before the signal comes
        os.link(corpus / "0.txt", corpus / f"{link}.txt")
    command = [sys.executable, "-m", "weixing", "prepare", str(corpus), "--out", "out", "--workers", "2"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True,
        # A shell that starts the tests in the background has them, and so the child, ignore SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while sum(file.stat().st_size for file in tmp_path.glob(".out.partial/*")) < 10_000_000:  # both are at work
        assert time.monotonic() < deadline
        time.sleep(0.02)
    send = os.killpg if number == signal.SIGINT else os.kill  # Ctrl-C reaches the workers too
    send(process.pid, number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "Traceback" not in errors
    assert os.listdir(tmp_path) == ["corpus"]
