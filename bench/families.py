"""``python -m bench.families``: shapes taught by a trained model, and the same alone. Starts processes, writes files.

Every trial is one ``weixing pretrain-family`` on one core, resumed if it was stopped, and a line of ``families.jsonl``
for each of its shapes: settings, held-out loss at the end, and the seconds of one core that the whole family took.
"""

import argparse
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import record
from bench.children import ROOT, run, weixing
from bench.quality import LONGEST_RUN, RESULTS, curve, held_out, shards
from bench.render import fill
from bench.tables import table
from bench.trials import SEQUENCE_LENGTH
from weixing.progress import say
from weixing.training.family_start import folder_of

FILE = "families.jsonl"
PAGE = ROOT / "docs" / "families.md"
BATCH_SIZE, LEARNING_RATE, SEED = 16, "4e-3", 7
Line = dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """One family, or one shape alone.

    Args:
        models: shapes.
        steps: updates of 16 rows of 128.
        share: of the targets that the built-in model gives; 0: no teacher.
    """

    models: tuple[str, ...]
    steps: int
    share: float = 0.0
    name: str = field(init=False)

    def __post_init__(self) -> None:
        shapes = "+".join(map(folder_of, self.models))
        object.__setattr__(self, "name", f"family-{shapes}-{self.steps}-share-{self.share:g}")

    def command(self) -> list[str]:
        """The command line that runs it, in the folder of the shards."""
        teacher = ["--teacher", "builtin", "--teacher-share", str(self.share)] if self.share else []
        return [
            "pretrain-family", "--data", "train-packed", "--eval-data", "heldout-packed", "--models",
            ",".join(self.models), "--steps", str(self.steps), "--batch-size", str(BATCH_SIZE), "--learning-rate",
            LEARNING_RATE, "--seed", str(SEED), "--precision", "bf16", *teacher, "--out", f"runs/{self.name}", "--json",
        ]  # fmt: skip


SMALL, THREE = ("2/128",), ("2/128", "4/128", "2/256")
TRIALS = [
    Trial(SMALL, 1465, 0.5),  # 3 M tokens
    Trial(THREE, 1465, 0.5),
    Trial(THREE, 1953),  # as long as 1,465 taught ones: steps of 243 ms, and the teacher's 85
    Trial(THREE, 1465),
    Trial(SMALL, 1465),
    Trial(SMALL, 4250),  # as long as 1,465 taught ones: steps of 44 ms, and the teacher's 85
    Trial(SMALL, 1465, 0.9),
]
"""In the order in which they are run: what says most first."""


def measure(trial: Trial, work: Path) -> list[Line]:
    """Run a trial to its end; its lines of results.

    A trial that had been stopped has no ``core_seconds``.
    """
    folder, spent = work / "runs" / trial.name, None
    if not all((folder / folder_of(model) / "model").exists() for model in trial.models):
        command, resumed = trial.command(), (folder / "family.json").exists()
        if resumed:
            command = ["pretrain-family", "--out", f"runs/{trial.name}", "--resume", "--json"]
        before = os.times().children_user
        environment = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "OMP_NUM_THREADS": "1"}
        run(weixing(*command), work, timeout=LONGEST_RUN, environment=environment)
        spent = None if resumed else os.times().children_user - before
    return [line_of(trial, model, work, spent) for model in trial.models]


def line_of(trial: Trial, model: str, work: Path, core_seconds: float | None) -> Line:
    """What became of one shape of a trial whose runs are finished."""
    folder = work / "runs" / trial.name / folder_of(model)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return {
        "name": trial.name, "model": model, "models": trial.models, "teacher": "builtin" if trial.share else None,
        "share": trial.share, "steps": trial.steps, "tokens": trial.steps * BATCH_SIZE * SEQUENCE_LENGTH,
        "learning_rate": float(LEARNING_RATE), "seed": SEED, "core_seconds": core_seconds and round(core_seconds, 1),
        "held_out": held_out(folder, work)["packed"], "curve": list(curve(lines)),
        "machine": record.machine()["processor"], "versions": record.versions(None),
    }  # fmt: skip


def finished(out: Path) -> list[Line]:
    """The results so far."""
    file = out / FILE
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def results(lines: list[Line]) -> str:
    """A row a trial: held-out loss of each shape, tokens, seconds."""
    rows = []
    for name in dict.fromkeys(line["name"] for line in lines):
        own = [line for line in lines if line["name"] == name]
        one = own[0]
        rows.append(
            [
                ", ".join(one["models"]),
                f"`builtin`, {100 * one['share']:.0f} %" if one["share"] else "none",
                f"{one['tokens'] / 1e6:.1f} M",
                "–" if one["core_seconds"] is None else f"{one['core_seconds']:.0f}",
                ", ".join(f"{line['held_out']['loss']:.3f}" for line in own),
            ]
        )
    head = ["shapes", "teacher, share of the targets", "tokens", "seconds of one core, all shapes", "held-out loss"]
    return table(head, rows)


def main() -> int:
    """Parse, run or render; the exit code."""
    parser = argparse.ArgumentParser("python -m bench.families", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("what", choices=("run", "render"), help="the trials without a result; the table of docs/families.md")
    add("--data", type=Path, help="folder with corpus/{open,research,heldout}.jsonl.xz")
    add("--work", type=Path, help="folder for shards and runs, kept: a stopped run is resumed there")
    add("--out", type=Path, default=RESULTS, help="folder of the results")
    add("--only", default="", metavar="TEXT", help="only trials with this in their name")
    given = parser.parse_args()
    if given.what == "render":
        text = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(fill(text, {"families": results(finished(given.out))}), encoding="utf-8")
        return 0
    if not (given.data and given.work):
        parser.error("run needs --data and --work")
    given.work.mkdir(parents=True, exist_ok=True)
    given.out.mkdir(parents=True, exist_ok=True)
    shards(given.data, given.work, 1)
    for trial in TRIALS:
        if given.only not in trial.name or any(line["name"] == trial.name for line in finished(given.out)):
            continue
        say(trial.name)
        lines = measure(trial, given.work)
        with open(given.out / FILE, "a", encoding="utf-8") as stream:
            stream.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
