"""``python -m bench.saving``: how long training stands still for a checkpoint. Writes a temporary run.

Trains on the built-in corpus in this process and saves again and again: in turn as `pretrain` does, by a thread, and
waiting for the disk, as it did before there was one. What is told is how long the loop stood still, how long until the
checkpoint was on the disk, and what a step takes with and without one being written.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from bench import record
from bench.children import ROOT
from weixing.cli.main import run as weixing
from weixing.data.prepare import prepare
from weixing.progress import say
from weixing.text.builtin_vocabulary import builtin_tokens
from weixing.text.sample.generator import sample_documents
from weixing.text.vocabulary import Vocabulary
from weixing.training.pretraining import Run

RESULTS = ROOT / "bench" / "results" / "saving.jsonl"
CORPUS_BYTES = 300_000
STEPS_BETWEEN = 6  # saves; a checkpoint should be on the disk by then


class Watched:
    """Seconds of the saves and steps of one run, taken by standing in for two methods of `Run`.

    Args:
        waiting: whether a save waits for the disk.
    """

    def __init__(self, waiting: bool) -> None:
        self.waiting = waiting
        self.paused: list[float] = []
        self.steps: dict[bool, list[float]] = {True: [], False: []}  # by whether a checkpoint was being written

    def __enter__(self) -> "Watched":
        self._save, self._step = Run.save, Run._step

        def save(run: Run, urgent: bool = False) -> None:
            began = time.perf_counter()
            self._save(run, urgent)
            if self.waiting:
                run.checkpoints.wait()
            if run.done.step:  # before the first step there are no optimizer states
                self.paused.append(time.perf_counter() - began)

        def step(run: Run) -> None:
            thread = run.checkpoints._thread
            writing, began = bool(thread and thread.is_alive()), time.perf_counter()
            self._step(run)
            if run.done.step > STEPS_BETWEEN:  # the first ones compile and make the optimizers' states
                self.steps[writing].append(time.perf_counter() - began)

        Run.save, Run._step = save, step  # type: ignore[method-assign,assignment]  # timed in their place
        return self

    def __exit__(self, *_: object) -> None:
        Run.save, Run._step = self._save, self._step  # type: ignore[method-assign]  # as they were


def measure(folder: Path, model: str, batch_size: int, saves: int, waiting: bool) -> dict[str, Any]:
    """One run of so many saves; times in seconds."""
    options = {
        "--data": folder / "shards", "--model": model, "--steps": STEPS_BETWEEN * saves, "--batch-size": batch_size,
        "--save-every": STEPS_BETWEEN, "--keep": 1, "--out": folder / "run",
    }  # fmt: skip
    with Watched(waiting) as watched, redirect_stdout(StringIO()):
        code = weixing(["pretrain", *(str(word) for pair in options.items() for word in pair), "--overwrite"])
    if code:
        sys.exit(code)
    newest = max((folder / "run" / "checkpoints").iterdir())
    return {
        "waiting": waiting,
        "bytes": sum(file.stat().st_size for file in newest.iterdir()),
        "paused_first": round(watched.paused[0], 3),
        "paused": round(statistics.median(watched.paused[1:]), 3),
        "longest": round(max(watched.paused[1:]), 3),
        "step": _median(watched.steps[False]),
        "step_while_writing": _median(watched.steps[True]),
        "steps_while_writing": len(watched.steps[True]),
    }


def _median(seconds: list[float]) -> float | None:
    return round(statistics.median(seconds), 4) if seconds else None


def main() -> int:
    """Measure both ways in turn; the exit code."""
    parser = argparse.ArgumentParser("python -m bench.saving", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="12/768")
    parser.add_argument("--batch-size", type=int, default=4, help="rows of 128 tokens an update; default: 4")
    parser.add_argument("--saves", type=int, default=5, help="of each run; default: 5")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each way; default: 2")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"default: {RESULTS.relative_to(ROOT)}")
    parser.add_argument("--temporary", type=Path, help="where the run is made; the disk is part of what is measured")
    given = parser.parse_args()
    runs = []
    with tempfile.TemporaryDirectory(prefix="weixing-saving-", dir=given.temporary) as name:
        folder = Path(name)
        (folder / "corpus.txt").write_text("\n".join(sample_documents(CORPUS_BYTES)) + "\n", encoding="utf-8")
        prepare(
            [folder / "corpus.txt"], folder / "shards", vocabulary=Vocabulary(builtin_tokens()), sequence_length=128
        )
        for waiting in [True, False] * given.rounds:
            runs.append(measure(folder, given.model, given.batch_size, given.saves, waiting))
            say(json.dumps(runs[-1]))
    line = {"model": given.model, "batch_size": given.batch_size, "machine": record.machine(), "runs": runs}
    with open(given.out, "a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
