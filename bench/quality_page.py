"""docs/quality.md and its plot, from the results of `bench.quality`. Writes files."""

from pathlib import Path
from statistics import mean

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from bench.children import ROOT
from bench.headline import Line, headline, loss, ratio
from bench.trials import BUDGET_TOKENS, PUBLISHED_RATE, WEIXING_BATCH_SIZE

DOCS = ROOT / "docs"
PLOT = "quality.png"


def write(lines: list[Line], quick: list[Line], folder: Path = DOCS) -> None:
    """Write the page and the plot into `folder`, from the lines of trials and those of the headline."""
    draw(lines, folder / PLOT)
    said = [f"```\n{headline(quick)}\n```\n"] if quick else []
    text = "\n".join([HEAD, *said, *(part for model in BUDGET_TOKENS for part in section(model, lines)), TAIL])
    (folder / "quality.md").write_text(text, encoding="utf-8")


def section(model: str, lines: list[Line]) -> list[str]:
    """What was measured of one shape, as Markdown lines."""
    own = [line for line in lines if line["model"] == model]
    uer = [line for line in own if line["recipe"] == "uer"]
    if not own:
        return []
    title = f"## {model}, N = {BUDGET_TOKENS[model] / 1e6:g} million tokens\n"
    return [title, table([*uer, *as_it_stands(own)]), *verdict(model, uer, own), "", *levers(own), ""]


def as_it_stands(lines: list[Line]) -> list[Line]:
    """Recipe `weixing` without a change."""
    return [line for line in lines if line["study"].startswith("N/")]


def table(lines: list[Line]) -> str:
    """One row a trial."""
    head = "| recipe | changes | tokens | rows an update | seed | held-out loss | accuracy | minutes, one core |\n"
    rule = "|---|---|---:|---:|---:|---:|---:|---:|\n"
    return head + rule + "\n".join(map(row, lines))


def row(line: Line) -> str:
    """A trial as a row of `table`."""
    changes = ", ".join(f"`{key} {value}`" for key, value in line["options"].items()) or "none"
    accuracy = max(result["accuracy"] for result in line["held_out"].values())
    return (
        f"| `{line['recipe']}` | {changes} | {line['tokens'] / 1e6:.1f} M | {line['batch_size']} | {line['seed']} | "
        f"{loss(line):.3f} | {100 * accuracy:.1f} % | {line['seconds'] / 60:.1f} |"
    )


def verdict(model: str, uer: list[Line], own: list[Line]) -> list[str]:
    """Whether a fifth and a twentieth of the tokens reach what `uer` reaches."""
    goals = {5: ("at its best rate", uer), 20: (f"as published ({PUBLISHED_RATE})", _published(uer))}
    found = []
    for share, (what, theirs) in goals.items():
        mine = [line for line in own if line["study"] == f"N/{share}"]
        if not (theirs and mine):
            continue
        best, mean_loss = min(map(loss, theirs)), mean(map(loss, mine))
        says = "reaches" if mean_loss <= best else "does NOT reach"
        seeds = f"mean of {len(mine)} seeds" if len(mine) > 1 else "one seed"
        found.append(f"- N/{share}: {mean_loss:.3f} ({seeds}) {says} `uer` {what} after N: {best:.3f}.")
    found += [f"- {ratio(line, as_it_stands(own))}." for line in uer if as_it_stands(own)]
    return ["", *found] if found else []


def _published(lines: list[Line]) -> list[Line]:
    return [line for line in lines if line["options"].get("--learning-rate") == PUBLISHED_RATE]


def levers(lines: list[Line]) -> list[str]:
    """What one change of recipe `weixing` does, beside the same number of tokens without it."""
    found = []
    for line in (line for line in lines if line["study"] in ("before", "levers")):
        before = [each for each in as_it_stands(lines) if abs(each["tokens"] / line["tokens"] - 1) < 0.01]
        before = [each for each in before if each["seed"] == line["seed"]]
        if not before:
            continue
        changes = [f"`{key} {value}`" for key, value in line["options"].items()]
        if line["batch_size"] != WEIXING_BATCH_SIZE:
            changes = [f"`--batch-size {line['batch_size']}`", *changes]
        gain = loss(line) - loss(before[0])
        found.append(f"| {' '.join(changes)} | {line['tokens'] / 1e6:.1f} M | {loss(line):.3f} | {gain:+.3f} |")
    head = ["One thing changed in recipe `weixing`, one seed:\n", "| change | tokens | held-out loss | difference |"]
    return [*head, "|---|---:|---:|---:|", *found] if found else []


def draw(lines: list[Line], file: Path) -> None:
    """Held-out loss against tokens and against time, a panel for each shape and axis."""
    models = [model for model in BUDGET_TOKENS if any(line["model"] == model for line in lines)] or list(BUDGET_TOKENS)
    figure, panels = plt.subplots(len(models), 2, figsize=(11, 4.2 * len(models)), squeeze=False, layout="constrained")
    for model, (by_tokens, by_time) in zip(models, panels, strict=True):
        kept = [line for line in lines if line["model"] == model and line["study"] != "levers" and line["seed"] == 7]
        for line in kept:
            rate = "".join(f", {value}" for value in line["options"].values())
            label = f"{line['recipe']}{rate}, {line['tokens'] / 1e6:.0f} M"
            style = "-" if line["recipe"] == "weixing" else "--"
            losses = [point["eval_loss"] for point in line["curve"]]
            by_tokens.plot([point["tokens"] / 1e6 for point in line["curve"]], losses, style, marker=".", label=label)
            by_time.plot([point["seconds"] / 60 for point in line["curve"]], losses, style, marker=".", label=label)
        by_tokens.set(xscale="log", xlabel="million tokens", ylabel="held-out loss", title=model)
        by_time.set(xscale="log", xlabel="minutes, one core", title=model)
        by_time.legend(fontsize=8)
    figure.savefig(file, dpi=90)
    plt.close(figure)


HEAD = f"""# Recipes at equal compute

Held-out cross entropy (nats) at the end of the decay: 15 % of the characters masked uniformly with a fixed seed, on 626
documents that no trial trains on. A token is a position fed, padding included. Each trial is one run on one core in
bf16; other work ran on the machine, so minutes are rough and losses are not. Each model is measured on rows of either
layout (packed; UER-py's windows), and the lower loss counts. Corpus: 123 million characters of technical, legal, news
and literary prose. Data: [bench/results/quality](../bench/results/quality/trials.jsonl); the first command goes on with
it, the second renders this page:

```
python -m bench.quality run --data DATA --work WORK
python -m bench.quality render
```

![loss against tokens and time]({PLOT})

The headline alone, 10 M tokens of recipe `uer` at two rates, in about ten minutes on two cores
([quick.jsonl](../bench/results/quality/quick.jsonl); on a busy EPYC of family 25 it took 11):

```
python -m bench.quality --quick --data DATA
```
"""
TAIL = """Read loss with care: what a model is worth shows once it is fine-tuned ([experiments.md](experiments.md)).
"""
