"""Clients for `make soak`: they know what must be answered to each request, and note what was.

A client process has several threads, each with a connection of its own that it keeps open.
"""

import base64
import json
import random
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import Any

import numpy as np

from weixing.inference.model import Model

SECONDS = 60  # longest wait for an answer
TOLERANCE = 1e-4  # another batch gives other last bits; another text gives another vector
TOP_K = 3


@dataclass(frozen=True)
class Book:
    """What must be answered, computed in Python beforehand.

    Args:
        texts, masked: texts, and texts with one [MASK].
        vectors: by model and pooling, float32 [texts, hidden].
        candidates: by model, of each masked text.
        labels: of the classifier, of each text with the next one.
    """

    texts: list[str]
    masked: list[str]
    vectors: dict[tuple[str, str], np.ndarray]
    candidates: dict[str, list[list[dict[str, Any]]]]
    labels: list[list[dict[str, Any]]]

    @classmethod
    def of(cls, models: dict[str, Model], classifier: Model, texts: list[str], masked: list[str]) -> "Book":
        """Ask the models themselves."""
        vectors = {
            (name, pooling): np.asarray(model.features(texts, pooling))
            for name, model in models.items()
            for pooling in ("mean", "cls")
        }
        candidates: dict[str, Any] = {
            name: [model.fill_mask(text, TOP_K) for text in masked] for name, model in models.items()
        }
        return cls(texts, masked, vectors, candidates, classifier.classify(texts, texts[1:] + texts[:1]))


@dataclass
class Notes:
    """What happened.

    Args:
        answers: by kind of request and HTTP status.
        milliseconds: from sending a request to having read its answer, by kind; of those with status 200.
        wrong: answers that were not those to their request.
        unanswered: requests that got no answer, or a part of one.
    """

    answers: Counter = field(default_factory=Counter)
    milliseconds: dict[str, list[float]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    unanswered: int = 0

    def add(self, other: "Notes") -> None:
        """Put another client's notes to these."""
        self.answers += other.answers
        for kind, values in other.milliseconds.items():
            self.milliseconds.setdefault(kind, []).extend(values)
        self.wrong += other.wrong
        self.unanswered += other.unanswered


def make_request(book: Book, rng: random.Random) -> tuple[str, str, dict[str, Any], Any]:
    """Kind, path, body, and what `is_right` needs to judge the answer."""
    kind = rng.choices(("features", "embeddings", "fill-mask", "classify", "refused"), (35, 25, 20, 15, 5))[0]
    model = rng.choice([*book.candidates])
    chosen = [rng.randrange(len(book.texts)) for _ in range(rng.randint(1, 8))]
    texts = [book.texts[number] for number in chosen]
    if kind == "features":
        pooling = rng.choice(("mean", "cls"))
        expected = book.vectors[model, pooling][chosen]
        return kind, "/features", {"model": model, "texts": texts, "pooling": pooling}, expected
    if kind == "embeddings":
        form = rng.choice(("float", "base64"))
        body = {"model": model, "input": texts, "encoding_format": form}
        return kind, "/v1/embeddings", body, book.vectors[model, "mean"][chosen]
    if kind == "fill-mask":
        number = rng.randrange(len(book.masked))
        body = {"model": model, "texts": book.masked[number], "top_k": TOP_K}
        return kind, "/fill-mask", body, book.candidates[model][number]
    if kind == "classify":
        seconds = [book.texts[(number + 1) % len(book.texts)] for number in chosen]
        body = {"texts": texts, "second_texts": seconds}
        return kind, "/classify", body, [book.labels[number] for number in chosen]
    path, body, status = rng.choice(
        [
            ("/fill-mask", {"texts": "没有空格"}, 422), ("/features", {"texts": []}, 422), ("/nowhere", {}, 404),
            ("/features", {"texts": texts, "model": "nobody"}, 404), ("/models", {}, 405),
        ]
    )  # fmt: skip
    return kind, path, body, status


def is_right(kind: str, body: dict[str, Any], expected: Any, status: int, answer: dict[str, Any]) -> bool:
    """Whether this is the answer to this request."""
    if kind == "refused":
        return status == expected and list(answer) == ["error"]
    if status != 200:
        return False
    if kind == "fill-mask":
        return _alike(answer["candidates"][0], [expected], "sequence")
    if kind == "classify":
        return _alike(answer["labels"], expected, "label")
    if kind == "features":
        vectors = answer["vectors"]
    elif body["encoding_format"] == "float":
        vectors = [entry["embedding"] for entry in answer["data"]]
    else:
        vectors = [np.frombuffer(base64.b64decode(entry["embedding"]), "<f4") for entry in answer["data"]]
    return len(vectors) == len(expected) and np.allclose(vectors, expected, rtol=TOLERANCE, atol=TOLERANCE)


def _alike(lists: list[list[dict[str, Any]]], expected: list[list[dict[str, Any]]], key: str) -> bool:
    """Whether the entries have the same names and scores; those of nearly equal scores may change places."""
    for rows, others in zip(lists, expected, strict=True):
        scores = {row[key]: row["score"] for row in others}
        if len(rows) != len(others) or any(
            abs(row["score"] - other["score"]) > TOLERANCE for row, other in zip(rows, others, strict=True)
        ):
            return False
        if sum(row[key] in scores for row in rows) < len(rows) - 1:  # the last may be one of two that tie
            return False
    return True


def run_clients(
    port: int, book: Book, seed: int, threads: int, requests: int | None, leaving: float, begin: Any
) -> tuple[Notes, float]:
    """Send requests from several threads: the notes of all, and the seconds.

    Args:
        requests: how many in all; None: until the service takes no more.
        leaving: share of requests whose client goes away without waiting; they are beside `requests`.
        begin: a barrier to wait at.
    """
    begin.wait(SECONDS)
    began = time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        shares = [None if requests is None else len(range(number, requests, threads)) for number in range(threads)]
        jobs = [
            pool.submit(_client, port, book, random.Random(seed * 1000 + number), share, leaving)
            for number, share in enumerate(shares)
        ]
        notes = Notes()
        for job in jobs:
            notes.add(job.result())
    return notes, time.monotonic() - began


def _client(port: int, book: Book, rng: random.Random, requests: int | None, leaving: float) -> Notes:
    notes, done = Notes(), 0
    connection = HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    while requests is None or done < requests:
        kind, path, body, expected = make_request(book, rng)
        content = json.dumps(body).encode()
        if rng.random() < leaving:
            _leave(port, path, content)
        began = time.perf_counter()
        try:
            connection.request("POST", path, content, {"Content-Type": "application/json"})
            reply = connection.getresponse()
            text = reply.read()
        except (HTTPException, OSError):
            connection.close()
            notes.unanswered += 1
            if requests is None:  # the service has stopped
                return notes
            done += 1
            continue
        spent = 1000 * (time.perf_counter() - began)
        done += 1
        notes.answers[f"{kind} {reply.status}"] += 1
        if not is_right(kind, body, expected, reply.status, json.loads(text)):
            notes.wrong.append(f"{path} {content.decode()} → {reply.status} {text[:500].decode()}")
        elif reply.status == 200:
            notes.milliseconds.setdefault(kind, []).append(spent)
    connection.close()
    return notes


def _leave(port: int, path: str, content: bytes) -> None:
    """Send a request and go."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
        connection.sendall(head.encode() + content)
