"""`make soak`: the service under load for minutes; what it must stand, measured. No part of the suite.

- 20,000 requests of all kinds over 16 connections, 2 in 100 of whose clients go away beside them: none lost, none mixed
  up, every answer compared with Python's;
- SIGTERM under the same load, again and again: whatever was taken is answered;
- schemathesis finds nothing in its openapi.json; OpenAI's client gets the right vectors.

Run as `python -m tests.acceptance.soak_serving PEERS` from the repository's root, PEERS being the folder of programs of
an environment with requirements-serving.txt. Writes bench/results/serving.json.
"""

import argparse
import json
import multiprocessing
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.record import machine, versions
from bench.serving_page import DATA, write_page
from tests.acceptance.serving_clients import Book, Notes, run_clients
from weixing.files import write_json
from weixing.formats.huggingface import export_classifier, export_masked_lm
from weixing.inference.model import load
from weixing.model.encoder import Encoder
from weixing.model.heads import Classifier, MaskedLanguageModel
from weixing.model.initialisation import initialise
from weixing.progress import say
from weixing.text.sample.generator import sample_documents
from weixing.text.vocabulary import load_vocabulary
from weixing.zoo import Shape, parse_shape

REQUESTS, PROCESSES, THREADS, LEAVING = 20_000, 2, 8, 0.02
ENDS = 10  # times that it is stopped under load
SHAPES = {"tiny": "2/128", "mini": "4/256"}
TOKEN = "open-sesame"
LABELS = ("good", "bad", "neither")
SECONDS = 600  # longest wait for any one part
# schemathesis' own list of what refuses wrong data, and 413: a body may be too large before it is wrong.
REFUSALS = """[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429, "5xx"]
"""


class Service(NamedTuple):
    """A service that runs."""

    process: subprocess.Popen[str]
    url: str
    port: int


@contextmanager
def service(models: dict[str, Path], *options: str) -> Iterator[Service]:
    """`weixing serve` of these models in a process of its own."""
    names = [word for name, folder in models.items() for word in ("--model", f"{name}={folder}")]
    command = [sys.executable, "-m", "weixing", "serve", *names, "--precision", "float32", "--port", "0", "--json"]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        started = json.loads(process.stdout.readline())
        yield Service(process, started["url"], started["port"])
    finally:
        process.kill()
        process.wait()


def end(running: Service) -> tuple[int, int]:
    """Wait for its end after SIGTERM: requests taken and answered, by its own count."""
    _, errors = running.process.communicate(timeout=SECONDS)
    assert running.process.returncode == 128 + signal.SIGTERM, errors
    assert "Traceback" not in errors, errors
    counts = re.search(r"stopped by SIGTERM: (\d+) requests taken, (\d+) answered", errors)
    assert counts, errors
    return int(counts[1]), int(counts[2])


def make_models(folder: Path) -> dict[str, Path]:
    """Two masked language models and a classifier, of fresh weights spread so far that texts differ clearly."""
    vocabulary = load_vocabulary(None)
    for seed, (name, shape) in enumerate(SHAPES.items()):
        described = parse_shape(shape)
        assert described
        model = MaskedLanguageModel(replace(described, vocabulary_size=len(vocabulary)))
        initialise(model, seed=seed)
        export_masked_lm(model, vocabulary, folder / name)
    classifier = Classifier(Encoder(Shape(2, 128, len(vocabulary))), len(LABELS))
    initialise(classifier, seed=9)
    classifier.output.weight.data *= 50
    export_classifier(classifier, vocabulary, LABELS, folder / "classifier")
    return {name: folder / name for name in (*SHAPES, "classifier")}


def make_book(models: dict[str, Path], texts: int = 600, masked: int = 200) -> Book:
    """Sentences of the built-in corpus, of 2 to 120 characters, and what must be answered to them."""
    rng = random.Random(7)
    corpus = "".join(document.strip() for document in sample_documents(400_000, 7))
    pieces: set[str] = set()
    while len(pieces) < texts + masked:
        start, length = rng.randrange(len(corpus) - 120), min(120, 2 + int(rng.expovariate(1 / 25)))
        pieces.add(corpus[start : start + length].strip())
    chosen = sorted(pieces)
    rng.shuffle(chosen)
    blanks = []
    for text in chosen[texts:]:
        place = rng.randrange(len(text) + 1)
        blanks.append(f"{text[:place]}[MASK]{text[place:]}")
    loaded = {name: load(str(folder), precision="float32") for name, folder in models.items()}
    classifier = loaded.pop("classifier")
    return Book.of(loaded, classifier, chosen[:texts], blanks)


def under_load(
    running: Service, book: Book, seed: int, requests: int | None, leaving: float, stop_after: float | None = None
) -> tuple[Notes, float]:
    """The notes of all client processes, and the seconds; with `stop_after`, SIGTERM comes after as many of them."""
    context = multiprocessing.get_context("spawn")
    share = None if requests is None else requests // PROCESSES
    with context.Manager() as manager, context.Pool(PROCESSES) as pool:
        begin = manager.Barrier(PROCESSES + 1)
        jobs = [
            pool.apply_async(run_clients, (running.port, book, seed + number, THREADS, share, leaving, begin))
            for number in range(PROCESSES)
        ]
        begin.wait(SECONDS)
        if stop_after is not None:
            time.sleep(stop_after)
            running.process.send_signal(signal.SIGTERM)
        notes, seconds = Notes(), 0.0
        for job in jobs:
            found, spent = job.get(timeout=SECONDS)
            notes.add(found)
            seconds = max(seconds, spent)
    assert not notes.wrong, f"{len(notes.wrong)} wrong answers, such as:\n" + "\n".join(notes.wrong[:3])
    return notes, seconds


def soak(models: dict[str, Path], book: Book) -> dict[str, Any]:
    """20,000 requests."""
    with service(models) as running:
        notes, seconds = under_load(running, book, 1, REQUESTS, LEAVING)
        running.process.send_signal(signal.SIGTERM)
        taken, answered = end(running)
    total = sum(notes.answers.values())
    assert (total, notes.unanswered) == (REQUESTS, 0), (total, notes.unanswered)
    assert taken >= answered >= REQUESTS, (taken, answered)
    everything = [value for values in notes.milliseconds.values() for value in values]
    return {
        "requests": total, "wrong": len(notes.wrong), "unanswered": notes.unanswered,
        "clients_that_left": taken - total, "connections": PROCESSES * THREADS, "seconds": round(seconds, 2),
        "requests_per_second": round(total / seconds, 1), "answers": dict(sorted(notes.answers.items())),
        "milliseconds": {
            kind: percentiles(values) for kind, values in [("all", everything), *sorted(notes.milliseconds.items())]
        },
    }  # fmt: skip


def percentiles(values: list[float]) -> dict[str, float]:
    """p50, p95 and p99."""
    return {f"p{share}": round(float(np.percentile(values, share)), 2) for share in (50, 95, 99)}


def ends(models: dict[str, Path], book: Book) -> list[dict[str, int]]:
    """SIGTERM under load: how many requests were taken, answered, and came back to clients whole and right."""
    rng, rounds = random.Random(7), []
    for number in range(1, ENDS + 1):
        with service(models) as running:
            notes, _ = under_load(running, book, 100 * number, None, 0.0, stop_after=rng.uniform(0.3, 2.0))
            taken, answered = end(running)
        rounds.append({"taken": taken, "answered": answered, "received": sum(notes.answers.values())})
        say(f"stopped under load, {number} of {ENDS}: {rounds[-1]}")
        assert taken == answered == rounds[-1]["received"] > 0
    return rounds


def examined(models: dict[str, Path], peers: Path) -> dict[str, Any]:
    """What schemathesis finds: nothing. How many test cases it made.

    That as many second texts are needed as texts is nothing that OpenAPI can say: for /classify alone it is not asked
    to see every request accepted that its schema allows.
    """
    cases = 0
    limits = ("--max-texts", "32", "--max-characters", "300", "--max-body-kb", "64", "--token-file")
    with tempfile.NamedTemporaryFile("w") as token:
        token.write(TOKEN)
        token.flush()
        with service({name: models[name] for name in ("tiny", "classifier")}, *limits, token.name) as running:
            for choice in (
                ("--exclude-path", "/classify"),
                ("--include-path", "/classify", "--exclude-checks", "positive_data_acceptance"),
            ):
                command = [
                    str(peers / "schemathesis"), "run", f"{running.url}/openapi.json", "--seed", "7", "-n", "300",
                    "--header", f"Authorization: Bearer {TOKEN}", "--no-color", *choice,
                ]  # fmt: skip
                with tempfile.TemporaryDirectory() as folder:  # where it finds its settings, and leaves what it found
                    (Path(folder) / "schemathesis.toml").write_text(REFUSALS, encoding="utf-8")
                    done = subprocess.run(
                        command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False
                    )
                assert done.returncode == 0, "\n".join(line[:300] for line in done.stdout.splitlines()[-80:])
                told = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
                assert told, done.stdout[-2000:]
                generated, passed = map(int, told.groups())
                assert passed == generated, told[0]
                cases += passed
            running.process.send_signal(signal.SIGTERM)
            taken, answered = end(running)
    assert taken == answered
    return {"cases": cases, "findings": 0}


def with_openai(models: dict[str, Path], peers: Path) -> dict[str, Any]:
    """OpenAI's client gets the vectors that Python gives, in every form of input and encoding."""
    model, texts = load(str(models["tiny"]), precision="float32"), ["输入任意文本内容", "今天天气很好", "好"]
    rows = model.encode(texts)
    expected = model.features(texts)
    ids = [row[1:-1].tolist() for row in rows]
    with service(models) as running:
        script = str(Path(__file__).parent / "ask_with_openai.py")
        command = [str(peers / "python"), script, running.url, TOKEN, "tiny", json.dumps(texts), json.dumps(ids)]
        got = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=SECONDS).stdout)
        running.process.send_signal(signal.SIGTERM)
        end(running)
    for vectors, tokens, numbers in zip(
        got["vectors"], got["tokens"], ([0, 1, 2], [0, 1, 2], [0], [0, 1, 2]), strict=True
    ):
        np.testing.assert_allclose(vectors, expected[numbers], rtol=1e-5, atol=1e-6)
        assert tokens == sum(len(rows[number]) for number in numbers)
    return {"requests": len(got["vectors"]), "wrong": 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peers", type=Path, help="folder with python and schemathesis, such as .venv-soak/bin")
    peers = parser.parse_args().peers.resolve()
    record = {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(None),
    }
    with tempfile.TemporaryDirectory() as folder:
        models = make_models(Path(folder))
        book = make_book(models)
        record |= {"models": SHAPES | {"classifier": "2/128"}, "soak": soak(models, book)}
        say(json.dumps(record["soak"], ensure_ascii=False))
        record["openai"] = with_openai(models, peers)
        record["schemathesis"] = examined(models, peers)
        say(json.dumps(record["schemathesis"]))
        record["ends"] = ends(models, book)
    write_json(DATA, record)
    write_page()


if __name__ == "__main__":
    main()
