"""docs/results.md and its plots, written from the data files in bench/results/first_road. Reads and writes files.

`python bench/results_page.py --collect WORK` first copies those files from the work folder of bench/first_road.sh.
"""

import argparse
import csv
import json
import shutil
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from weixing.reporting.rendering import render
from weixing.reporting.table import table
from weixing.tasks.results import Result, read_results

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "bench" / "results" / "first_road"
REFERENCE = ROOT / "bench" / "results" / "uer_py_loss_curve.csv"
DOCS = ROOT / "docs"
BOUND, FROM_STEP = 0.15, 200  # how near the curve is to be, and from where on


def collect(work: Path) -> None:
    """Copy what the page is written from; run.json names its folders without the work folder's own path."""
    for run in ("tiny", "curve"):
        if not (work / run / "model").exists():
            continue  # not yet finished there: what was collected before stays
        (DATA / run).mkdir(parents=True, exist_ok=True)
        shutil.copy(work / run / "metrics.jsonl", DATA / run)
        text = (work / run / "run.json").read_text(encoding="utf-8")
        (DATA / run / "run.json").write_text(text.replace(f"{work}/", ""), encoding="utf-8")
    new = [line for file in sorted((work / "grids").glob("*/results.jsonl")) for line in _lines(file)]
    again = {_of(line) for line in new}
    kept = [line for line in _lines(DATA / "finetune.jsonl") if _of(line) not in again]
    (DATA / "finetune.jsonl").write_text("".join(kept + new), encoding="utf-8")


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines(keepends=True)


def _of(line: str) -> tuple[str, str]:
    """Model and task of a line: grids are made over several sittings, and each replaces what it is anew."""
    result = json.loads(line)
    return result["model"], result["task"]


def reports(run: str, key: str) -> list[dict[str, Any]]:
    """The reports of a collected run that have `key`."""
    lines = (DATA / run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [report for report in map(json.loads, lines) if key in report]


def reference_curve() -> dict[int, float]:
    """UER-py's own loss at each reported step."""
    with open(REFERENCE, encoding="utf-8") as stream:
        return {int(row["step"]): float(row["train_loss"]) for row in csv.DictReader(stream)}


def curve_section() -> str:
    """The loss curves side by side, as a table with the largest difference."""
    theirs = reference_curve()
    ours = {report["step"]: report["train_loss"] for report in reports("curve", "train_loss")}
    rows = [f"| {step} | {theirs[step]:.2f} | {ours[step]:.3f} | {ours[step] - theirs[step]:+.3f} |" for step in theirs]
    worst = max(abs(ours[step] - theirs[step]) for step in theirs if step >= FROM_STEP)
    verdict = "within" if worst <= BOUND else "NOT within"
    return "\n".join(
        ["| step | UER-py | weixing, recipe `uer` | difference |", "|---:|---:|---:|---:|", *rows, "",
         f"Largest difference from step {FROM_STEP} on: {worst:.3f}, {verdict} the bound of {BOUND}."]
    )  # fmt: skip


def plot_curve(path: Path) -> None:
    """Both loss curves, with the bound."""
    theirs = reference_curve()
    ours = [(report["step"], report["train_loss"]) for report in reports("curve", "train_loss")]
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    steps, losses = list(theirs), list(theirs.values())
    axes.fill_between(steps, [x - BOUND for x in losses], [x + BOUND for x in losses], alpha=0.2, label=f"± {BOUND}")
    axes.plot(steps, losses, "o-", markersize=3, label="UER-py")
    axes.plot(*zip(*ours, strict=True), "s--", markersize=3, label="weixing, recipe uer")
    axes.set(xlabel="step (64 rows of 128)", ylabel="training loss, mean of 50 steps", title="2/128, 8 MB corpus")
    axes.legend()
    figure.savefig(path, dpi=120)


def plot_pretraining(path: Path) -> None:
    """Training and held-out loss of the long run against tokens."""
    train, held_out = reports("tiny", "train_loss"), reports("tiny", "eval_loss")
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    axes.plot([r["tokens"] / 1e6 for r in train], [r["train_loss"] for r in train], linewidth=0.8, label="training")
    axes.plot([r["tokens"] / 1e6 for r in held_out], [r["eval_loss"] for r in held_out], "o-", label="held out")
    axes.set(xlabel="million tokens fed", ylabel="masked-LM loss (nats)", title="2/128, recipe weixing")
    axes.legend()
    figure.savefig(path, dpi=120)


def effort(results: list[Result]) -> str:
    """Cells and hours of each task, as a table."""
    by_task: dict[str, list[float]] = {}
    for result in results:
        by_task.setdefault(result.task, []).append(result.seconds)
    rows = [f"| {task} | {len(seconds)} | {sum(seconds) / 3600:.1f} |" for task, seconds in by_task.items()]
    hours = sum(map(sum, by_task.values())) / 3600
    total = f"| together | {sum(map(len, by_task.values()))} | {hours:.1f} |"
    return "\n".join(["| task | runs, both models | hours, one core |", "|---|---:|---:|", *rows, total])


def page() -> str:
    """The whole page."""
    record = json.loads((DATA / "tiny" / "run.json").read_text(encoding="utf-8"))
    machine, recipe = record["machine"], record["settings"]["recipe"]
    last, evaluation = reports("tiny", "train_loss")[-1], reports("tiny", "eval_loss")[-1]
    results = read_results([DATA / "finetune.jsonl"])
    scores = render(table(results), "markdown")
    rows = [
        f"| {r['step']:,} | {r['tokens'] / 1e6:.1f} | {r['eval_loss']:.3f} | {100 * r['eval_accuracy']:.1f} |"
        for r in reports("tiny", "eval_loss")
    ]
    newline = "\n"
    return f"""# Results: from raw text to a fine-tuned 2/128

Written by `python bench/results_page.py` from the data files in `bench/results/first_road`, which
`bench/first_road.sh DATA WORK` produces; that script holds every command. Machine: {machine["device"]},
{machine["cores"]} cores, of which {machine["threads"]} was used; torch {machine["torch"]}, Python {machine["python"]}.

## Pretraining

2/128 with recipe `weixing` on `corpus/research` + `corpus/open` (332 MB, 110.8 M tokens), {recipe["steps"]:,} updates
of {recipe["batch_size"]} × {recipe["sequence_length"]}: {last["tokens"] / 1e6:.1f} M tokens in
{last["seconds"] / 60:.0f} minutes, on one core of a machine whose other core was busy with other work
({last["tokens_per_second"]:,.0f} tokens/s). Held-out loss (15 % uniform mask, fixed):
**{evaluation["eval_loss"]:.3f}**, accuracy {100 * evaluation["eval_accuracy"]:.1f} %.

```
weixing prepare corpus/research.jsonl.xz corpus/open.jsonl.xz --out full128 --vocab google_zh_vocab.txt
weixing pretrain --data full128 --eval-data heldout128 --model 2/128 --steps {recipe["steps"]} --out tiny
```

| step | M tokens | held-out loss | accuracy, % |
|---:|---:|---:|---:|
{newline.join(rows)}

![loss against tokens](pretraining.png)

## Fine-tuning

Of the published grid (3, 5, 8 epochs × batch 32, 64 × learning rate 3e-5, 1e-4, 3e-4; length 128, seed 7, then two more
seeds of its best cell) one is run to its end: chnsenticorp with the untrained shape. The other rows are one setting, 3
epochs at batch 32 and 3e-4, with three seeds. tiny, above, is of recipe `weixing` before its fresh weights looked at
neighbours ([experiments.md](experiments.md)); it has seen 0.05 % of what the published model was trained on.
Training data of lcqmc is not at hand. One core. The script goes on with the rest:

```
bench/first_road.sh DATA WORK
weixing table WORK/grids
```

{scores}
{effort(results)}

## The loss curve of recipe `uer`

UER-py itself (2/128, 8.2 MB corpus, 64 × 128, peak learning rate 1e-3, 1,000 steps, seed 7) beside recipe `uer`, layout
`uer`, the same shuffling window of 25,600 rows. Each figure is the mean of the 50 steps before it. One seed; bf16.
The run was stopped after step 444 and resumed (first with two threads, then with one).

```
weixing prepare corpus_8mb.txt.xz --out uer128 --layout uer --vocab google_zh_vocab.txt
weixing pretrain --data uer128 --model 2/128 --recipe uer --learning-rate 1e-3 --batch-size 64 --steps 1000 \\
  --shuffle-window 25600 --report-every 50 --out curve
```

{curve_section()}

![loss curves](loss-curve.png)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--collect", type=Path, metavar="WORK", help="copy the data files from this folder, and stop")
    arguments = parser.parse_args()
    if arguments.collect:
        collect(arguments.collect)
        return
    (DOCS / "results.md").write_text(page(), encoding="utf-8")
    plot_curve(DOCS / "loss-curve.png")
    plot_pretraining(DOCS / "pretraining.png")


if __name__ == "__main__":
    main()
