"""How fast, how exact and how large each way to compute a model is on this machine. Starts a process for each.

Texts/s count tokenization in and vectors out, a text's latency likewise; loading is not counted.
"""

import importlib.util
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from weixing.errors import UserError
from weixing.inference.choosing import LEAST_COSINE, WAYS, Way, choose
from weixing.text.sample.generator import sample_documents
from weixing.training.devices import pick_device

TRANSFORMERS = "transformers"
MOST_TEXTS = 1000
FIRST_TEXTS = 64  # which are computed before something is timed, so that memory and compiled loops are there
BATCH_SIZE, MAX_LENGTH = 32, 512  # of transformers, as its own pipeline is told for long lists
LATENCY_CALLS = 30


@dataclass(frozen=True)
class Measured:
    """What one way came to.

    Attributes:
        backend, precision: of the way; transformers has its own.
        texts_per_second: of the texts, as often as the time given allows.
        latency_ms: median of one text a call.
        memory_mb: the most resident memory of the process, libraries included.
        cosine: the least, of a text's vector and the one that ``compiled`` in float32 gives.
    """

    backend: str
    precision: str
    texts_per_second: float
    latency_ms: float
    memory_mb: float | None
    cosine: float

    @property
    def is_exact_enough(self) -> bool:
        """Whether it loses no more than ``auto`` may."""
        return self.cosine >= LEAST_COSINE


def sample_texts(count: int = 512) -> list[str]:
    """Texts of 8 to 75 characters of the sample corpus."""
    return [text[: 8 + 37 * number % 68] for number, text in enumerate(islice(sample_documents(), count))]


def ways_here() -> list[Way]:
    """Those that this processor can, and whose libraries are installed."""
    device = pick_device()
    found = []
    for way in WAYS:
        if way.backend.startswith("onnx") and not (_installed("onnx") and _installed("onnxruntime")):
            continue
        try:
            if choose(*way, device) == way:
                found.append(way)
        except UserError:  # not on this device
            continue
    return found


def measure(model: str, texts: Sequence[str], seconds: float, on_way: Callable[[str], None]) -> list[Measured]:
    """Every way here, and transformers if it is installed, one after the other, the exact one first.

    Args:
        model: a model's name.
        seconds: that each way computes at least, beside its first texts.
        on_way: hears which is next.

    Raises:
        UserError: a process failed, with the last line that it wrote.
    """
    names = [f"{way.backend} {way.precision}" for way in ways_here()]
    if _installed(TRANSFORMERS):
        names.append(f"{TRANSFORMERS} float32")
    results, exact = [], None
    with tempfile.TemporaryDirectory(prefix="weixing-") as folder:
        given = Path(folder) / "texts.json"
        given.write_text(json.dumps(list(texts)[:MOST_TEXTS]), encoding="utf-8")
        for number, name in enumerate(names):
            on_way(name)
            vectors = Path(folder) / f"{number}.npy"
            found = _child(model, name, given, vectors, seconds)
            values = np.load(vectors).astype(np.float64)
            values /= np.linalg.norm(values, axis=1, keepdims=True)
            exact = values if exact is None else exact
            backend, precision = name.split()
            cosine = float((values * exact).sum(1).min())
            results.append(Measured(backend, precision, cosine=cosine, **found))
    return results


def _child(model: str, name: str, texts: Path, vectors: Path, seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-m", __name__, model, name, str(texts), str(vectors), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no word")
        raise UserError(f"{name} ended with {done.returncode}: {last}", where=model)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _installed(library: str) -> bool:
    return importlib.util.find_spec(library) is not None


def _peak_memory_mb() -> float | None:
    """The most that this process ever had; None where the system does not tell."""
    try:
        found = re.search(r"^VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return round(int(found[1]) * 1024 / 1e6, 1) if found else None


def _weixing(model: str, backend: str, precision: str) -> Callable[[list[str]], np.ndarray]:
    from weixing.inference.model import load

    loaded = load(model, backend, precision)
    return lambda texts: np.asarray(loaded.features(texts, "mean"))


def _transformers(model: str) -> Callable[[list[str]], np.ndarray]:
    """Mean over the tokens, BATCH_SIZE texts at a time in their order, padded to the longest of them."""
    import torch
    from transformers import BertModel, BertTokenizer

    from weixing.formats.huggingface import write_folder
    from weixing.formats.naming import load_source

    source = load_source(model)
    assert source.vocabulary
    with tempfile.TemporaryDirectory(prefix="weixing-") as folder:
        write_folder(source.bert, source.vocabulary, Path(folder), labels=source.labels)
        tokenizer, bert = BertTokenizer.from_pretrained(folder), BertModel.from_pretrained(folder).eval()
    most = min(MAX_LENGTH, source.bert.shape.positions)

    def features(texts: list[str]) -> np.ndarray:
        means = []
        with torch.inference_mode():
            for start in range(0, len(texts), BATCH_SIZE):
                some = texts[start : start + BATCH_SIZE]
                batch = tokenizer(some, padding=True, truncation=True, max_length=most, return_tensors="pt")
                hidden, real = bert(**batch).last_hidden_state, batch["attention_mask"][..., None]
                means.append((hidden * real).sum(1) / real.sum(1))
        return torch.cat(means).numpy()

    return features


def figures(model: str, name: str, texts: list[str], seconds: float) -> tuple[np.ndarray, dict[str, Any]]:
    """Vectors of the texts, and what a `Measured` has of them, of one way by its name: ``BACKEND PRECISION``."""
    backend, precision = name.split()
    features = _transformers(model) if backend == TRANSFORMERS else _weixing(model, backend, precision)
    features(texts[:FIRST_TEXTS])
    vectors = features(texts)
    rates: list[float] = []
    end = time.perf_counter() + seconds
    while not rates or time.perf_counter() < end:
        began = time.perf_counter()
        features(texts)
        rates.append(len(texts) / (time.perf_counter() - began))
    latencies = []
    for number in range(LATENCY_CALLS):
        began = time.perf_counter()
        features([texts[number % len(texts)]])
        latencies.append(1e3 * (time.perf_counter() - began))
    return vectors, {
        "texts_per_second": round(statistics.median(rates), 2),
        "latency_ms": round(statistics.median(latencies), 3),
        "memory_mb": _peak_memory_mb(),
    }


def main() -> None:
    """One way, in a process of its own: ``MODEL NAME TEXTS VECTORS SECONDS``; prints JSON."""
    model, name, given, out, seconds = sys.argv[1:]
    vectors, found = figures(model, name, json.loads(Path(given).read_text(encoding="utf-8")), float(seconds))
    np.save(out, vectors)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
