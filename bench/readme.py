"""The table of ratios in README.md and README.zh.md. Pure."""

from dataclasses import dataclass

from bench.tables import MISSING, Cases, table

PEERS = ("UER-py", "transformers", "tokenizers")
SHAPES = ("2/128", "4/256", "8/512", "12/768")
INFERENCE_SHAPES = ("2/128", "8/512")
PRECISIONS = ("float32", "bf16")


@dataclass(frozen=True)
class Row:
    """One line of the table: its label in both languages, and the checks that it shows side by side."""

    section: str
    en: str
    zh: str
    checks: tuple[str, ...]


ROWS = [
    Row("prepare", "corpus → shards, one process", "语料 → 分片，单进程", ("prepare, one process each",)),
    Row("prepare", "tokenization alone, one core", "只算分词，单核", ("tokenization alone, one core each",)),
    Row(
        "pretrain",
        "pretraining 2/128 · 4/256 · 8/512 · 12/768, rows 64 × 128",
        "预训练 2/128 · 4/256 · 8/512 · 12/768，每步 64 × 128",
        tuple(f"pretrain {shape}, 64 × 128" for shape in SHAPES),
    ),
    Row(
        "pretrain",
        "the same, rows 16 × 128",
        "同上，每步 16 × 128",
        tuple(f"pretrain {shape}, 16 × 128" for shape in SHAPES),
    ),
    Row(
        "finetune",
        "fine-tuning, the published grid of 18 (extrapolated)",
        "微调，公开的 18 组网格（外推）",
        ("fine-tune 18 cells, extrapolated",),
    ),
    *(
        Row(
            "features",
            f"vectors 2/128 · 8/512, {precision}",
            f"句向量 2/128 · 8/512，{precision}",
            tuple(f"features {shape}, {precision}" for shape in INFERENCE_SHAPES),
        )
        for precision in PRECISIONS
    ),
    *(
        Row(
            "fill_mask",
            f"fill-mask 2/128 · 8/512, {precision}",
            f"完形填空 2/128 · 8/512，{precision}",
            tuple(f"fill-mask {shape}, {precision}, calls a second" for shape in INFERENCE_SHAPES),
        )
        for precision in PRECISIONS
    ),
]
HEADING = {"en": "times as fast as", "zh": "速度是其几倍"}
SOURCE = {
    "en": "Medians of interleaved runs, CPU ({machines}). Every figure, with its target: "
    "[docs/performance.md](docs/performance.md).",
    "zh": "交替运行取中位数，CPU（{machines}）。全部数字与目标见 [docs/performance.md](docs/performance.md)。",
}
MACHINE = {"en": "{processor}, {cores} cores", "zh": "{processor}，{cores} 核"}
OR = {"en": "; or ", "zh": "；或 "}
NOT_MEASURED = {"en": "Not measured yet: `make bench`.\n", "zh": "尚未测量：`make bench`。\n"}


def readme_table(results: dict[str, Cases], language: str) -> str:
    """A row for each thing that is measured, a column for each peer that it was measured against."""
    ratios = {
        (section, check["name"], check["peer"]): multiple(check["value"])
        for section, cases in results.items()
        for case in cases.values()
        for check in case["checks"]
        if check["value"] is not None
    }
    peers = [peer for peer in PEERS if any(key[2] == peer for key in ratios)]
    rows = []
    for row in ROWS:
        cells = [[ratios.get((row.section, check, peer), MISSING) for check in row.checks] for peer in peers]
        shown = [MISSING if set(cell) == {MISSING} else " · ".join(cell) for cell in cells]
        if set(shown) - {MISSING}:
            rows.append([getattr(row, language), *shown])
    if not rows:
        return NOT_MEASURED[language]
    machines = [
        case["machine"]
        for section, cases in results.items()
        if section not in ("gpu", "plan")
        for case in cases.values()
    ]
    named = dict.fromkeys(MACHINE[language].format(**machine) for machine in machines)
    source = SOURCE[language].format(machines=OR[language].join(named))
    return f"{table([HEADING[language], *peers], rows)}\n{source}\n"


def multiple(ratio: float) -> str:
    """A ratio for people."""
    return f"{ratio:.0f}×" if ratio >= 20 else f"{ratio:.1f}×" if ratio >= 1 else f"{ratio:.2f}×"
