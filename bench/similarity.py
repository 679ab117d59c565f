"""``python -m bench.similarity``: sentence vectors before and after `finetune --task similarity`, on lcqmc.

Starts processes; writes bench/results/similarity.jsonl and docs/similarity.md. The pairs of the test file are trained
on, those of the dev file measured: there is no training file in DATA.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import weixing
from bench import record
from bench.children import ROOT, run
from bench.children import weixing as program
from weixing.files import atomic_file
from weixing.tasks.files import read_examples
from weixing.tasks.rows import Layout
from weixing.tasks.scores import auc, spearman

RESULTS = ROOT / "bench" / "results" / "similarity.jsonl"
PAGE = ROOT / "docs" / "similarity.md"
MODEL = "builtin"
CELLS: dict[str, list[str]] = {
    "simcse": ["--epochs", "1", "--learning-rates", "3e-5"],
    "in-batch": ["--epochs", "3", "--learning-rates", "1e-4"],
    "cosent": ["--epochs", "3", "--learning-rates", "1e-4"],
}
COLUMNS = ["--text", "1", "--text-pair", "2", "--label", "3"]
LONGEST = 4 * 3600.0  # seconds


def before(dev: Path) -> dict[str, Any]:
    """The model's own vectors, mean of the tokens."""
    pairs = read_examples(dev, Layout("1", "2", "3", "number"))
    model = weixing.load(MODEL, precision="float32")
    first, second = (np.asarray(model.features(texts)) for texts in (pairs.texts, pairs.second_texts or []))
    cosines = (first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    gold = np.array(pairs.labels, dtype=np.float64)
    return {"contrast": None, "auc": 100 * auc(cosines, gold > 0.5), "spearman": 100 * spearman(cosines, gold)}


def after(contrast: str, train: Path, dev: Path) -> dict[str, Any]:
    """The same after training."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        files = ["--train", train.resolve(), "--dev", dev.resolve(), *COLUMNS]
        command = program("finetune", "--model", MODEL, "--task", "similarity", *files, "--contrast", contrast)
        environment = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "OMP_NUM_THREADS": "1"}
        run([*command, *CELLS[contrast], "--out", str(out)], Path(folder), timeout=LONGEST, environment=environment)
        result = json.loads((out / "results.jsonl").read_text(encoding="utf-8"))
        lines = next((out / "predictions").iterdir()).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    cosines, gold = (np.array([row[key] for row in rows]) for key in ("predicted", "label"))
    keys = ("epochs", "batch_size", "learning_rate", "seed", "seconds", "steps", "epoch_scores", "train_loss")
    score = {"auc": result["score"], "spearman": 100 * spearman(cosines, gold)}
    return {"contrast": contrast, **score, **{key: result[key] for key in keys}}


def main() -> None:
    """Measure, write, render."""
    parser = argparse.ArgumentParser("python -m bench.similarity", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with tasks/lcqmc/{dev,test}.txt; without it only the page")
    given = parser.parse_args()
    if given.data:
        folder = given.data / "tasks" / "lcqmc"
        facts = {"model": MODEL, "machine": record.machine()["processor"], "versions": record.versions(None)}
        lines = []
        for contrast in (None, *CELLS):
            train, dev = folder / "test.txt", folder / "dev.txt"
            result = after(contrast, train, dev) if contrast else before(dev)
            lines.append(json.dumps({**result, **facts}, ensure_ascii=False) + "\n")
        with atomic_file(RESULTS) as beside:
            beside.write_text("".join(lines), encoding="utf-8")
    results = [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]
    told, _, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    PAGE.write_text(told + MARK + rendered(results), encoding="utf-8")


def rendered(results: list[dict[str, Any]]) -> str:
    """The measured part of the page."""
    return "\n".join(
        [
            "\n| contrast | epochs | learning rate | AUC | Spearman | minutes |",
            "|---|---:|---:|---:|---:|---:|",
            *map(row, results),
            f"\nMachine: {results[0]['machine']}, two cores busy with other work.",
            "Data: bench/results/similarity.jsonl.\n",
            "```\npython -m bench.similarity --data DATA\n```\n",
        ]
    )


def row(result: dict[str, Any]) -> str:
    """One row of the table."""
    contrast = f"`{result['contrast']}`" if result["contrast"] else "before"
    minutes = f"{result['seconds'] / 60:.0f}" if "seconds" in result else ""
    setting = f"{result.get('epochs', '')} | {result.get('learning_rate', '')}"
    return f"| {contrast} | {setting} | {result['auc']:.1f} | {result['spearman']:.1f} | {minutes} |"


MARK = "<!-- what follows is written by bench/similarity.py -->\n"


if __name__ == "__main__":
    main()
