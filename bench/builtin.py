"""``python -m bench.builtin RUN``: a finished pretraining run → the model that comes with the package. Writes a folder.

Its matrices go into 8 bits (`weixing.formats.compact`); what that costs in held-out loss is measured and printed.
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import safetensors.torch
import torch

from weixing.data.shards import ShardSet
from weixing.files import atomic_folder
from weixing.formats.compact import compact
from weixing.formats.huggingface import export_masked_lm
from weixing.formats.naming import BUILTIN_FOLDER, load_masked_lm
from weixing.formats.weight_files import WEIGHTS, read_weights
from weixing.model.compiled.workers import Workers
from weixing.training.evaluation import HeldOut

LARGEST = 12e6  # bytes in the package


def main() -> None:
    """Parse, pack, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.builtin", description=__doc__)
    parser.add_argument("run", help="run folder or model folder")
    parser.add_argument("--held-out", type=Path, help="shards to measure the cost of 8 bits on")
    parser.add_argument("--out", type=Path, default=BUILTIN_FOLDER, help="folder to write; default: the package's own")
    given = parser.parse_args()
    model, vocabulary = load_masked_lm(given.run)
    with atomic_folder(given.out, overwrite=True) as folder, tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch) / "model"
        export_masked_lm(model, vocabulary, whole)
        weights = compact(read_weights(whole / WEIGHTS))
        shutil.copytree(whole, folder, dirs_exist_ok=True)
        safetensors.torch.save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
        size = sum(file.stat().st_size for file in folder.iterdir())
        if size > LARGEST:
            parser.error(f"{size:,} bytes, where {LARGEST:,.0f} are the most")
    small, _ = load_masked_lm(str(given.out))
    result: dict[str, object] = {"bytes": size, "parameters": small.encoder.shape.parameters}
    if given.held_out:
        held_out, cpu, workers = HeldOut(ShardSet(given.held_out), isolate=True), torch.device("cpu"), Workers()
        for name, each in (("float32", model), ("8 bits", small)):
            evaluation = held_out.evaluate(each, cpu, "float32", workers)
            result[f"held-out loss, {name}"] = evaluation.loss
            result[f"held-out accuracy, {name}"] = evaluation.accuracy
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
