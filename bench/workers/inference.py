"""Vectors or labels in one of the ways to compute a model.

``inference features MODEL NAME TEXTS OUT``: texts/s, latency, memory, and the vectors as OUT, as `weixing
bench-inference` measures them. ``inference classify MODEL NAME TASK``: texts/s and accuracy on a task's dev file.
NAME is a back end and a precision, such as "onnx-int8 int8", or "transformers float32".
"""

import csv
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from weixing.inference.measuring import TRANSFORMERS, figures

WARM_UP = 64  # texts

verb, folder, name, given, *out = sys.argv[1:]
if verb == "features":
    vectors, found = figures(folder, name, Path(given).read_text(encoding="utf-8").splitlines(), 0)
    np.save(out[0], vectors)
    print(json.dumps(found))
else:
    with open(Path(given) / "dev.tsv", encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    texts = [row["text_a"] for row in rows]
    classify: Callable[[list[str]], list[str]]
    backend, precision = name.split()
    if backend == TRANSFORMERS:
        from transformers import pipeline

        pipe = pipeline("text-classification", model=folder, device="cpu", batch_size=32, truncation=True)

        def classify(texts: list[str]) -> list[str]:
            """The label of each text."""
            return [each["label"] for each in pipe(texts)]
    else:
        from weixing.inference.model import load

        model = load(folder, backend, precision)

        def classify(texts: list[str]) -> list[str]:
            """The label of each text."""
            return [ranked[0]["label"] for ranked in model.classify(texts, top_k=1)]

    classify(texts[:WARM_UP])
    began = time.perf_counter()
    predicted = classify(texts)
    seconds = time.perf_counter() - began
    right = sum(label == row["label"] for label, row in zip(predicted, rows, strict=True))
    print(json.dumps({"texts_per_second": len(texts) / seconds, "dev_accuracy": 100 * right / len(rows)}))
