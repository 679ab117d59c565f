"""``python -m bench.quality``: pretraining recipes compared at equal compute. Starts processes, writes files.

``python -m bench.quality --quick --data DATA``: the headline alone, in minutes, with the ratio of tokens needed.

Every trial of `bench.trials` is one ``weixing pretrain`` on one core, resumed if it was stopped, and one line of
``trials.jsonl`` once it is finished: settings, held-out loss at the end of the decay (15 % masked uniformly, fixed
seed, on rows of either layout), the curve against tokens and seconds, and the machine.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from bench import quality_page, record
from bench.children import ROOT, SideFailed, run, weixing
from bench.headline import headline
from bench.trials import QUICK, TRIALS, Trial
from weixing.data.shards import ShardSet
from weixing.errors import UserError
from weixing.formats.naming import load_masked_lm
from weixing.progress import say
from weixing.training.evaluation import HeldOut

RESULTS = ROOT / "bench" / "results" / "quality"
LAYOUT = {"uer": "uer", "weixing": "packed"}  # by recipe
LONGEST_RUN = 10 * 3600.0  # seconds
SMOKE_SHARE = 1000  # --smoke takes so much less of everything


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser("python -m bench.quality", description=__doc__.splitlines()[0])
    add = parser.add_argument
    what = ("list", "run", "render")
    add("what", nargs="?", choices=what, help="the trials; those without a result; the page")
    add("--data", type=Path, help="folder with corpus/{open,research,heldout}.jsonl.xz")
    add("--work", type=Path, help="folder for shards and runs, kept: a stopped run is resumed there")
    add("--out", type=Path, default=RESULTS, help="folder of the results")
    add("--only", default="", metavar="TEXT", help="only trials with this in their study or name, such as 2x128")
    add("--threads", type=int, default=1, help="cores of a run; default: 1")
    add("--quick", action="store_true", help="the headline alone: 2/128, 10 M tokens, two runs at a time, 10 minutes")
    add("--smoke", action="store_true", help=f"see that everything runs: 1/{SMOKE_SHARE} of the tokens; needs an --out")
    given = parser.parse_args()
    if bool(given.what) == given.quick:
        parser.error("either --quick or one of list, run, render")
    if given.quick and not given.data:
        parser.error("--quick needs --data")
    if given.what == "run" and not (given.data and given.work):
        parser.error("run needs --data and --work")
    if given.smoke and given.out == RESULTS:
        parser.error("--smoke measures nothing worth keeping: name a folder for it with --out")
    return given


def finished(out: Path, name: str = "trials.jsonl") -> list[dict[str, Any]]:
    """The results so far."""
    file = out / name
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def shards(data: Path, work: Path, threads: int) -> None:
    """Prepare what is not yet there: the whole corpus and the held-out set, in both layouts."""
    corpus = data.resolve() / "corpus"
    for layout in ("packed", "uer"):
        for name, files in (("train", ("open", "research")), ("heldout", ("heldout",))):
            if not (work / f"{name}-{layout}").exists():
                sources = [corpus / f"{file}.jsonl.xz" for file in files]
                command = weixing("prepare", *sources, "--layout", layout, "--out", f"{name}-{layout}")
                run([*command, "--workers", str(threads)], work, timeout=LONGEST_RUN, environment=_environment(threads))


def measure(trial: Trial, work: Path, threads: int, evaluations: int = 10) -> dict[str, Any]:
    """Run a trial to its end and return its line of results; `evaluations` on the way."""
    folder = work / "runs" / trial.name
    layout = LAYOUT[trial.recipe]
    if not (folder / "model").exists():
        command = trial.command(f"train-{layout}", f"heldout-{layout}", f"runs/{trial.name}")
        command += ["--eval-every", str(-(-trial.steps // evaluations))]
        if any(folder.glob("checkpoints/step-*")):
            command = ["pretrain", "--out", f"runs/{trial.name}", "--resume", "--json"]
        elif folder.exists():  # killed before its first checkpoint
            command.append("--overwrite")
        run(weixing(*command), work, timeout=LONGEST_RUN, environment=_environment(threads))
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    reports = [line for line in lines if "train_loss" in line]
    return {
        "study": trial.study, "name": trial.name, "model": trial.model, "recipe": trial.recipe,
        "batch_size": trial.batch_size, "options": dict(trial.options), "seed": trial.seed,
        "steps": trial.steps, "tokens": reports[-1]["tokens"],
        "seconds": reports[-1]["seconds"], "tokens_per_second": reports[-1]["tokens_per_second"], "threads": threads,
        "train_loss": reports[-1]["train_loss"], "held_out": held_out(folder, work),
        "curve": list(curve(lines)), "machine": record.machine()["processor"], "versions": record.versions(None),
    }  # fmt: skip


def held_out(folder: Path, work: Path) -> dict[str, dict[str, float]]:
    """Loss and accuracy of a run's model on the held-out rows of either layout."""
    model, _ = load_masked_lm(str(folder))
    results = {}
    for layout in LAYOUT.values():
        rows = HeldOut(ShardSet(work / f"heldout-{layout}"), isolate=layout == "packed")
        evaluation = rows.evaluate(model, torch.device("cpu"), "float32")
        results[layout] = {"loss": evaluation.loss, "accuracy": evaluation.accuracy}
    return results


def curve(lines: list[dict[str, Any]]) -> Iterator[dict[str, float]]:
    """Tokens, seconds and held-out loss at each evaluation of a run."""
    seconds = 0.0
    for line in lines:
        seconds = line.get("seconds", seconds)
        if "eval_loss" in line:
            yield {"tokens": line["tokens"], "seconds": seconds, "eval_loss": line["eval_loss"]}


def _environment(threads: int) -> dict[str, str]:
    """The source beside this bench, whatever is installed."""
    return {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "OMP_NUM_THREADS": str(threads)}


def run_all(given: argparse.Namespace) -> int:
    """Run every trial that has no result; how many failed."""
    given.work.mkdir(parents=True, exist_ok=True)
    given.out.mkdir(parents=True, exist_ok=True)
    shards(given.data, given.work, given.threads)
    failed = 0
    for trial in chosen(given, TRIALS):
        if any(line["name"] == trial.name for line in finished(given.out)):
            continue
        say(f"{trial.study}: {trial.name}")
        try:
            line = measure(trial, given.work, given.threads)
        except (SideFailed, UserError) as failure:
            say(f"FAILED\n{failure}")
            failed += 1
            continue
        with open(given.out / "trials.jsonl", "a", encoding="utf-8") as stream:
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")
    return failed


def chosen(given: argparse.Namespace, known: Sequence[Trial]) -> list[Trial]:
    """The trials that were asked for."""
    share = SMOKE_SHARE if given.smoke else 1
    trials = [Trial(t.study, t.model, t.recipe, t.tokens // share, t.batch_size, t.options, t.seed) for t in known]
    return [trial for trial in trials if given.only in f"{trial.study} {trial.name}"]


def run_quick(given: argparse.Namespace) -> int:
    """Run the headline's trials, two at a time on one core each, keep their lines, and print what they say."""
    with tempfile.TemporaryDirectory(prefix="weixing-quality-") as temporary:
        work = given.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        shards(given.data, work, 2)

        def line(trial: Trial) -> dict[str, Any]:
            say(f"{trial.name} …")
            return measure(trial, work, 1, evaluations=1)

        with ThreadPoolExecutor(2) as pool:
            lines = list(pool.map(line, chosen(given, QUICK)))
    given.out.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (given.out / "quick.jsonl").write_text(text, encoding="utf-8")
    print(headline(lines))
    return 0


def main() -> int:
    """Parse, run, print; the exit code."""
    given = arguments()
    if given.quick:
        return run_quick(given)
    if given.what == "list":
        done = {line["name"]: line for line in finished(given.out)}
        for trial in chosen(given, TRIALS):
            loss = done[trial.name]["held_out"][LAYOUT[trial.recipe]]["loss"] if trial.name in done else None
            print(f"{trial.study:8} {trial.name:70} {f'{loss:.3f}' if loss else '-'}")
        return 0
    if given.what == "render":
        folder = quality_page.DOCS if given.out == RESULTS else given.out
        quality_page.write(finished(given.out), finished(given.out, "quick.jsonl"), folder)
        return 0
    return 1 if run_all(given) else 0


if __name__ == "__main__":
    sys.exit(main())
