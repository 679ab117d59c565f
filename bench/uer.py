"""The UER-py side: its command lines, and what its log says. Copies a checkout's scripts; nothing of it is kept.

UER-py reads ``models/special_tokens_map.json`` in the current folder and writes there while it works, so its scripts
are copied into the bench's temporary folder and run there.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from bench.children import Finished, run
from bench.inputs import SEQUENCE_LENGTH, Inputs
from weixing.errors import UserError
from weixing.zoo import ZOO

NAME = "UER-py"
VARIABLE = "UER_DIR"
SCRIPTS = ("preprocess.py", "pretrain.py", "uer", "finetune")
SPECIAL_TOKENS = Path("models") / "special_tokens_map.json"
REPORT = re.compile(r"\|\s*(\d+)/\s*\d+ steps\|\s*([\d.]+) tokens/s")
TIME = re.compile(r"^\[(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) ")
NEVER = 1_000_000_000  # steps: a run is stopped when enough is known


class Uer:
    """A checkout of UER-py, its scripts copied beside the bench's inputs."""

    def __init__(self, checkout: Path, inputs: Inputs) -> None:
        self.inputs = inputs
        if missing := [name for name in (*SCRIPTS, str(SPECIAL_TOKENS)) if not (checkout / name).exists()]:
            raise UserError(f"there is no {', '.join(missing)} here", where=f"{VARIABLE}={checkout}",
                            accepted="a checkout of https://github.com/dbiir/UER-py")  # fmt: skip
        for name in SCRIPTS:
            source, target = checkout / name, inputs.folder / NAME / name
            target.parent.mkdir(exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        (inputs.folder / SPECIAL_TOKENS.parent).mkdir()
        shutil.copy(checkout / SPECIAL_TOKENS, inputs.folder / SPECIAL_TOKENS)
        git = subprocess.run(
            ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
        )
        self.version = git.stdout.strip() or "unknown"

    def preprocess(self, corpus: str, out: str, timeout: float = 900) -> Finished:
        """preprocess.py: corpus → dataset."""
        words = ["--corpus_path", corpus, "--vocab_path", self.inputs.vocabulary, "--dataset_path", out,
                 "--processes_num", 1, "--seq_length", SEQUENCE_LENGTH, "--data_processor", "mlm",
                 "--dynamic_masking"]  # fmt: skip
        return self._run("preprocess.py", words, timeout)

    def dataset(self) -> str:
        """The corpus once, as its preprocess.py makes it."""
        if not (self.inputs.folder / "dataset.pt").exists():
            self.preprocess(self.inputs.corpus(), "dataset.pt")
        return "dataset.pt"

    def pretrain(self, shape: str, batch_size: int, seconds: float, timeout: float = 900) -> tuple[Finished, "Speed"]:
        """pretrain.py, stopped when its reports after the first cover `seconds` of training."""
        speed = Speed(batch_size * SEQUENCE_LENGTH, seconds)
        words = ["--dataset_path", self.dataset(), "--vocab_path", self.inputs.vocabulary,
                 "--config_path", self._config(shape), "--output_model_path", "uer-model.bin",
                 "--total_steps", NEVER, "--save_checkpoint_steps", NEVER, "--report_steps", 1,
                 "--batch_size", batch_size, "--learning_rate", "1e-4", "--data_processor", "mlm", "--target", "mlm",
                 "--embedding", "word", "pos", "seg", "--encoder", "transformer", "--mask", "fully_visible",
                 "--tie_weights"]  # fmt: skip
        command = ["python", f"{NAME}/pretrain.py", *map(str, words)]
        return run(command, self.inputs.folder, timeout=timeout, stop_when=speed.enough_after), speed

    def finetune(self, shape: str, batch_size: int, timeout: float = 900) -> Finished:
        """run_classifier.py on the task: one epoch, from random weights."""
        task = self.inputs.task
        words = ["--train_path", f"{task}/train.tsv", "--dev_path", f"{task}/dev.tsv",
                 "--vocab_path", self.inputs.vocabulary, "--config_path", self._config(shape),
                 "--output_model_path", "uer-model.bin", "--epochs_num", 1, "--batch_size", batch_size,
                 "--learning_rate", "1e-4", "--seq_length", SEQUENCE_LENGTH, "--report_steps", 1,
                 "--embedding", "word", "pos", "seg", "--encoder", "transformer",
                 "--mask", "fully_visible"]  # fmt: skip
        return self._run("finetune/run_classifier.py", words, timeout)

    def _run(self, script: str, words: Iterable[object], timeout: float) -> Finished:
        return run(["python", f"{NAME}/{script}", *map(str, words)], self.inputs.folder, timeout=timeout)

    def _config(self, name: str) -> str:
        shape, file = ZOO[name], f"uer-{name.replace('/', '-')}.json"
        config = {"emb_size": shape.hidden, "feedforward_size": shape.feed_forward, "hidden_size": shape.hidden,
                  "hidden_act": "gelu", "heads_num": shape.heads, "layers_num": shape.layers,
                  "max_seq_length": shape.positions, "dropout": 0.1}  # fmt: skip
        (self.inputs.folder / file).write_text(json.dumps(config), encoding="utf-8")
        return file


class Speed:
    """Tokens/s from the reports of pretrain.py, the first left out: it holds the start-up.

    Args:
        tokens: positions fed between two reports.
        seconds: of training that are enough.
    """

    def __init__(self, tokens: int, seconds: float) -> None:
        self.tokens, self.seconds = tokens, seconds
        self.reports: list[float] = []

    def enough_after(self, line: str) -> bool:
        """Take a line of the log; whether enough is known."""
        if match := REPORT.search(line):
            self.reports.append(float(match[2]))
        return self.measured_seconds >= self.seconds

    @property
    def measured_seconds(self) -> float:
        """What the reports after the first cover."""
        return sum(self.tokens / rate for rate in self.reports[1:])

    @property
    def steps(self) -> int:
        """Reports after the first."""
        return len(self.reports) - 1

    @property
    def tokens_per_second(self) -> float:
        """Over all reports after the first."""
        return self.steps * self.tokens / self.measured_seconds


def epoch_seconds(lines: Iterable[str]) -> tuple[float, float]:
    """Seconds of an epoch's training and of its dev evaluation, from the times in run_classifier.py's log.

    Training lasts from "Start training." to the last report of a step (there is one for each); evaluation, in which the
    dev file is read and tokenized again, from there to its accuracy.
    """
    start = trained = evaluated = None
    for line in lines:
        if match := TIME.match(line):
            at = datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S,%f")
            if "Start training." in line:
                start = at
            elif "Training steps:" in line:
                trained = at
            elif "Acc. (Correct/Total):" in line:
                evaluated = at
    if start is None or trained is None or evaluated is None:
        raise ValueError("no log of one epoch of run_classifier.py")
    return (trained - start).total_seconds(), (evaluated - trained).total_seconds()


def find(inputs: Inputs) -> Uer | str:
    """The checkout that UER_DIR names, or why there is none."""
    checkout = os.environ.get(VARIABLE)
    return Uer(Path(checkout).resolve(), inputs) if checkout else f"{VARIABLE} is not set"
