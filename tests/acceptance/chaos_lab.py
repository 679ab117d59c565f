"""What faults are tried on: shards and runs of a tiny model, made by forks of this process.

Forks, because a new process would take seconds to import what it needs; so nothing is computed here.
"""

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import weixing.formats.huggingface  # before any fork
import weixing.formats.naming
import weixing.training.start  # noqa: F401
from weixing.cli.main import main
from weixing.files import half_made
from weixing.text.sample.generator import sample_documents
from weixing.training.runlog import read_metrics

CORPUS_BYTES = 200_000
LONG_CORPUS_BYTES = 3_000_000
PATIENCE = 300.0  # seconds, for any one process


class Failed(Exception):
    """A fault had an outcome that it must not have."""


class Ended(NamedTuple):
    """How a process ended: exit code (below 0: by a signal), what it said on stderr, how long it took."""

    code: int
    said: str
    seconds: float


class Child:
    """`weixing` with these arguments in a fork.

    Args:
        arguments: of the command line.
        log: where its stderr goes.
        before: done in the fork first.
    """

    def __init__(self, arguments: list[str], log: Path, before: Callable[[], object] = lambda: None) -> None:
        self.log, self.began = log, time.monotonic()
        log.parent.mkdir(parents=True, exist_ok=True)
        sys.stdout.flush()
        self.process = os.fork()
        if not self.process:
            _become(arguments, log, before)

    def send(self, number: int) -> None:
        """A signal."""
        os.kill(self.process, number)

    def ended(self) -> Ended:
        """Wait for its end."""
        while not (found := os.waitpid(self.process, os.WNOHANG))[0]:
            if time.monotonic() - self.began > PATIENCE:
                self.send(signal.SIGKILL)
                os.waitpid(self.process, 0)
                raise Failed(f"did not end in {PATIENCE:.0f} s: {self.log.read_text(encoding='utf-8')[-500:]}")
            time.sleep(0.002)
        code = os.waitstatus_to_exitcode(found[1])
        return Ended(code, self.log.read_text(encoding="utf-8"), time.monotonic() - self.began)

    def runs(self) -> bool:
        """Whether it has not ended yet; asks without taking its exit code."""
        return os.waitid(os.P_PID, self.process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def _become(arguments: list[str], log: Path, before: Callable[[], object]) -> None:
    """Never returns."""
    code = 99
    try:
        stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        before()
        sys.argv = ["weixing", *arguments]
        main()
    except SystemExit as left:
        code = int(left.code or 0)
        for thread in threading.enumerate():  # as Python does at its end, which a fork must not have
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


class Lab:
    """A folder to try faults in.

    Args:
        folder: where everything is made.
        steps: updates of a run; a checkpoint is saved every `save_every`.
        model: its shape.
    """

    def __init__(self, folder: Path, steps: int = 60, save_every: int = 5, model: str = "2/128") -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.steps, self.save_every, self.model = folder, steps, save_every, model

    def do(self, *arguments: str | Path, before: Callable[[], object] = lambda: None) -> Ended:
        """Run `weixing` to its end."""
        return self.start(*arguments, before=before).ended()

    def start(self, *arguments: str | Path, before: Callable[[], object] = lambda: None) -> Child:
        """Start `weixing`."""
        return Child([str(word) for word in arguments], self.folder / "log" / str(time.monotonic_ns()), before)

    def new(self, name: str) -> Path:
        """A folder's name that is free."""
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        return path

    @cached_property
    def shards(self) -> Path:
        """Of the built-in corpus."""
        corpus = self.folder / "corpus.txt"
        corpus.write_text("\n".join(sample_documents(CORPUS_BYTES)) + "\n", encoding="utf-8")
        expect(self.do("prepare", corpus, "--out", self.folder / "shards", "--seq-length", "64", "--workers", "1"), 0)
        return self.folder / "shards"

    @cached_property
    def long_corpus(self) -> Path:
        """That takes `prepare` some seconds."""
        corpus = self.folder / "long.txt"
        corpus.write_text("\n".join(sample_documents(LONG_CORPUS_BYTES)) + "\n", encoding="utf-8")
        return corpus

    def pretrain(self, out: Path, *more: str | Path, data: Path | None = None) -> list[str | Path]:
        """The arguments of a run into `out`."""
        return [
            *("pretrain", "--data", data or self.shards, "--out", out, "--model", self.model, "--batch-size", "4"),
            *("--steps", str(self.steps), "--save-every", str(self.save_every), "--report-every", "5"),
            *("--device", "cpu", *more),
        ]

    @cached_property
    def whole(self) -> tuple[Path, float]:
        """A run that nothing happens to, and the seconds it took."""
        out = self.new("whole")
        expect(self.do(*self.pretrain(self.new("warm"))), 0)  # what is compiled is on the disk now
        done = expect(self.do(*self.pretrain(out)), 0)
        return out, done.seconds

    def copy(self, name: str) -> Path:
        """A copy of that run as it was before its model was exported."""
        return Path(shutil.copytree(self.whole[0], self.new(name), ignore=shutil.ignore_patterns("model")))

    def require_same(self, out: Path) -> None:
        """That the run in `out` came to the same model, bit for bit, by the same reports; nothing is half made."""
        whole = self.whole[0]
        for name in ("model.safetensors", "config.json", "vocab.txt"):
            if (out / "model" / name).read_bytes() != (whole / "model" / name).read_bytes():
                raise Failed(f"{name} is not the same")
        if untimed(out) != untimed(whole):
            raise Failed("metrics.jsonl is not the same")
        for folder in (out.parent, out, out / "checkpoints", out / "model"):
            if left := [name for name in half_made(folder) if name == out.name or folder != out.parent]:
                raise Failed(f"left half made: {left}")

    def require_same_resumed(self, out: Path) -> bool:
        """Resume the run in `out` and require the same; whether there was one.

        One that was killed before its run.json was there has not begun: that is said, and it is begun.
        """
        found = sorted(str(path.relative_to(out)) for path in out.rglob("*"))
        done = self.do("pretrain", "--out", out, "--resume")
        if begun := (out / "run.json").exists():
            if done.code:
                raise Failed(f"exit code {done.code} of --resume: {done.said[-500:]}; what was there: {found}")
        else:
            require_error(done, "there is no run.json")
            expect(self.do(*self.pretrain(out)), 0)
        self.require_same(out)
        return begun


def expect(done: Ended, code: int) -> Ended:
    """That a process ended with an exit code and without a traceback."""
    if done.code != code or "Traceback" in done.said:
        raise Failed(f"exit code {done.code} where {code} was expected: {done.said[-500:]}")
    return done


def require_error(done: Ended, *words: str) -> None:
    """That a process ended with exit code 2 and one message, with these words in it."""
    messages = [line for line in expect(done, 2).said.splitlines() if line.startswith("weixing: ")]
    if len(messages) != 1:
        raise Failed(f"{len(messages)} messages: {done.said[-500:]}")
    if missing := [word for word in words if word not in messages[0]]:
        raise Failed(f"{missing} not in: {messages[0]}")


def untimed(run: Path) -> list[dict[str, Any]]:
    """A run's reports without what depends on the clock."""
    return [
        {key: value for key, value in report.items() if key not in ("seconds", "tokens_per_second")}
        for report in read_metrics(run)
    ]


def content(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Callable[[int], None]]:
    """A disk of that size at `folder`; yields what gives it another size. Linux, as root."""
    folder.mkdir(parents=True, exist_ok=True)

    def size(megabytes: int, *more: str) -> None:
        code = os.spawnlp(os.P_WAIT, "mount", "mount", "-t", "tmpfs", "-o", ",".join([f"size={megabytes}m", *more]),
                          "tmpfs", str(folder))  # fmt: skip
        if code:
            raise Failed("no disk could be mounted")

    size(megabytes)
    try:
        yield lambda megabytes: size(megabytes, "remount")
    finally:
        os.spawnlp(os.P_WAIT, "umount", "umount", str(folder))
