"""Result files → the generated parts of docs/performance.md, docs/planning.md, the READMEs; the plots.

Reads and writes files.

A generated part lies between ``<!-- bench:NAME -->`` and ``<!-- bench:end -->``; all else there is written by hand.
"""

import re
from pathlib import Path

from bench import plots
from bench.children import ROOT
from bench.readme import readme_table
from bench.tables import (
    NOT_MEASURED,
    Cases,
    Column,
    by_case,
    by_side,
    checks_table,
    commands,
    machines,
    notes,
    shares_of_peak,
)
from weixing.errors import UserError
from weixing.files import atomic_file, read_json

# In the order of the page.
SECTIONS = (
    "prepare",
    "pretrain",
    "finetune",
    "fill_mask",
    "features",
    "inference",
    "faithful",
    "gpu",
    "growth",
    "plan",
)
PAGE = Path("docs") / "performance.md"
PAGES = (PAGE, Path("docs") / "planning.md")
READMES = {"README.md": "en", "README.zh.md": "zh"}
START = "<!-- bench:(?!end)"
MARK = re.compile(rf"({START}(\S+) -->\n)((?:(?!<!-- bench:).)*?)(<!-- bench:end -->)", re.DOTALL)

MEMORY: Column = ("peak_memory_mb", "peak memory, MB", ",.0f")
PREPARE: list[Column] = [
    ("mb_per_second", "MB/s", ",.1f"),
    ("seconds", "seconds", ",.2f"),
    ("startup_seconds", "of which start-up", ",.2f"),
    ("tokenizing_mb_per_second", "tokenization alone, MB/s", ",.1f"),
    MEMORY,
]
FINETUNE: list[Column] = [
    ("epoch_and_dev_seconds", "epoch and dev, s", ",.2f"),
    ("dev_seconds", "of which dev, s", ",.2f"),
    ("seconds", "18 cells, s", ",.0f"),
]
FILL_MASK: list[Column] = [("median_ms", "median, ms", ",.2f"), ("p95_ms", "95 % of calls within, ms", ",.2f")]
FEATURES: list[Column] = [("texts_per_second", "texts/s", ",.0f"), ("seconds", "seconds", ",.2f")]
INFERENCE: list[Column] = [
    ("texts_per_second", "texts/s", ",.1f"),
    ("latency_ms", "one text, ms", ",.2f"),
    ("memory_mb", "peak memory, MB", ",.0f"),
    ("dev_accuracy", "dev accuracy, %", ".2f"),
]
FAITHFUL: list[Column] = [
    ("eval_loss", "held-out loss", ".4f"),
    ("dev_accuracy", "dev accuracy, %", ".2f"),
    ("seconds", "seconds", ",.0f"),
]
ENTRIES: Column = ("vocabulary_trained", "entries trained", ",.0f")
STEP: list[Column] = [
    ("step_ms", "step, ms", ",.1f"),
    ("tokens_per_second", "tokens/s", ",.0f"),
    ("gflops", "GFLOP/s", ",.0f"),
    ("peak_fraction", "share of the peak", ".1%"),
    ENTRIES,
    MEMORY,
]
PLAN: list[Column] = [("planned_mb", "planned, MB", ",.0f"), ("peak_mb", "most it took, MB", ",.0f")]
GPU: list[Column] = [
    ("tflops", "useful TFLOP/s", ",.0f"),
    ("eval_loss", "held-out loss", ".4f"),
]
PEAKS: list[Column] = [("bf16_gflops", "bf16 peak", ",.0f"), ("float32_gflops", "float32 peak", ",.0f")]


def load(folder: Path) -> dict[str, Cases]:
    """The cases of every section that has results."""
    files = [file for section in SECTIONS if (file := folder / f"{section}.json").exists()]
    return {file.stem: read_json(file, "results of a section")["cases"] for file in files}


def render(folder: Path, root: Path | None) -> None:
    """Write page, plots and READMEs below `root`; without one, a page and plots into `folder`.

    Raises:
        UserError: there are no results, or a page's marks are wrong.
    """
    results = load(folder)
    if not results:
        raise UserError("there are no results here", where=folder, action="Measure first: make bench")
    generated = parts(results)
    for page in PAGES:
        target = root / page if root else folder / page.name
        _write(target, fill((ROOT / page).read_text(encoding="utf-8"), generated))
    plots.write_all(results, root / PAGE.parent if root else folder)
    for name, language in READMES.items() if root else ():
        text = (ROOT / name).read_text(encoding="utf-8")
        _write(ROOT / name, fill(text, {"ratios": readme_table(results, language)}))


def fill(text: str, named: dict[str, str]) -> str:
    """`text` with what lies between its marks replaced by the parts of those names.

    Raises:
        UserError: a mark whose name is none of them, or one without its end.
    """
    names = [match[2] for match in MARK.finditer(text)]
    if len(names) != len(re.findall(START, text)):
        raise UserError("a mark <!-- bench:… --> without its <!-- bench:end -->")
    if unknown := set(names) - set(named):
        raise UserError(f"no part is called {', '.join(sorted(unknown))}", accepted=", ".join(named))
    return MARK.sub(lambda match: f"{match[1]}{named[match[2]]}{match[4]}", text)


def parts(results: dict[str, Cases]) -> dict[str, str]:
    """The generated parts of the page."""

    def cases(section: str) -> Cases:
        return results.get(section, {})

    def whole(section: str, figures: str) -> str:
        own = cases(section)
        # The first case's commands; the others differ in shapes and sizes alone.
        shown = commands(next(iter(own.values()))["sides"].values()) if own else ""
        return f"{figures}\n{checks_table([own])}{notes(own)}{shown}" if own else NOT_MEASURED

    pretrain, growth = cases("pretrain"), cases("growth")
    speed = {section: own for section, own in results.items() if section != "plan"}  # that has a page of its own
    last = [list(case["sides"].values())[-1] for case in growth.values()]
    return {
        "machine": machines(speed),
        "ratios": checks_table(list(speed.values()), targets_alone=True),
        "prepare": whole("prepare", by_side(cases("prepare"), PREPARE)),
        "pretrain": whole("pretrain", by_case(pretrain, "tokens_per_second", ",.0f", [ENTRIES], "weixing")),
        "pretrain-gflops": by_case(pretrain, "gflops", ",.0f", PEAKS, "matrix products") + _images(results, "pretrain"),
        "pretrain-shares": shares_of_peak(pretrain, "weixing", "UER-py", ("matrix products", "bf16_gflops")),
        "finetune": whole("finetune", by_side(cases("finetune"), FINETUNE)),
        "fill_mask": whole("fill_mask", by_side(cases("fill_mask"), FILL_MASK)),
        "features": whole("features", by_side(cases("features"), FEATURES)),
        "inference": whole("inference", by_side(cases("inference"), INFERENCE)),
        "faithful": whole("faithful", by_side(cases("faithful"), FAITHFUL)),
        "gpu": whole("gpu", by_side(cases("gpu"), [("tokens_per_second", "tokens/s", ",.0f"), *GPU])),
        "plan": whole("plan", by_side(cases("plan"), PLAN)),
        "plan-machine": machines({"plan": cases("plan")}) if cases("plan") else NOT_MEASURED,
        **{
            f"growth-{what}": by_side({name: growth[name]}, columns) if name in growth else NOT_MEASURED
            for what, name, columns in (
                ("size", "prepare by corpus size", PREPARE),
                ("batch", "step by batch", STEP),
                ("length", "step by length", STEP),
                ("shape", "step by shape", STEP),
            )
        },
        "growth-plots": _images(results, "growth").lstrip() or NOT_MEASURED,
        "growth": f"{checks_table([growth])}{notes(growth)}{commands(last)}" if growth else NOT_MEASURED,
    }


def _images(results: dict[str, Cases], section: str) -> str:
    drawn = [plot for plot in plots.PLOTS if plot.section == section and plot.has(results)]
    return "".join(f"\n![{plot.title}]({plot.file})\n" for plot in drawn)


def _write(path: Path, text: str) -> None:
    with atomic_file(path) as beside:
        beside.write_text(text, encoding="utf-8")
