"""Everything that is refused: one form of JSON, the right status, what would be accepted, never a traceback."""

import json
from http.client import HTTPConnection

import pytest

from tests.serving.running import Reply, Running, running
from weixing.serving.limits import Limits
from weixing.serving.loading import loader

LIMITS = Limits(body_bytes=20_000, texts=4, characters=100, candidates=30, token_vectors=60)
TOKEN = "open-sesame"


@pytest.fixture(scope="module")
def strict(folders) -> Running:
    """A service with tight limits and a token."""
    with running(folders, loader("auto", "float32"), LIMITS, token=TOKEN, origins=["http://page.example"]) as service:
        yield service


def refused(reply: Reply, status: int, *fragments: str) -> dict:
    """The error of a reply that must be one."""
    assert reply.status == status, reply
    assert reply.headers["Content-Type"] == "application/json"
    assert list(reply.json) == ["error"]
    assert list(reply.json["error"]) == ["type", "message", "where", "accepted"]
    assert "Traceback" not in json.dumps(reply.json)
    for fragment in fragments:
        assert fragment in json.dumps(reply.json, ensure_ascii=False)
    return reply.json["error"]


def ask(service: Running, path: str, body=None, **more) -> Reply:
    return service.ask(path, body, Authorization=f"Bearer {TOKEN}", **more)


@pytest.mark.parametrize(
    ("path", "body", "fragments"),
    [
        ("/fill-mask", {}, ["texts"]),
        ("/fill-mask", {"texts": "你好"}, ["no [MASK]", '"where": "texts"']),
        ("/fill-mask", {"texts": ["[MASK]", "你好"]}, ["no [MASK]", "texts[1]"]),
        ("/fill-mask", {"texts": "好" * 50 + "[MASK]"}, ["behind its first 22 tokens"]),
        ("/fill-mask", {"texts": "[MASK]", "top_k": 0}, ["top_k"]),
        ("/fill-mask", {"texts": "[MASK]", "top_k": 101}, ["top_k"]),
        ("/fill-mask", {"texts": "[MASK]", "top_k": 35}, ["35 candidates", "at most 30"]),
        ("/fill-mask", {"texts": "[MASK]", "top_k": "5"}, ["top_k", "integer"]),
        ("/fill-mask", {"texts": "[MASK]", "top_k": True}, ["top_k", "integer"]),
        ("/fill-mask", {"texts": "[MASK]", "top_k": 2.5}, ["top_k", "integer"]),
        ("/fill-mask", {"texts": "[MASK]", "topk": 5}, ["topk"]),
        ("/fill-mask", {"texts": "[MASK]", "model": "classifier"}, ["no masked-LM head", '"where": "model"']),
        ("/features", {"texts": []}, ["texts"]),
        ("/features", {"texts": ["好", 3]}, ["texts[1]"]),
        ("/features", {"texts": None}, ["texts"]),
        ("/features", {"texts": ["好"] * 5}, ["5 texts", "at most 4"]),
        ("/features", {"texts": ["好", "好" * 101]}, ["101 characters", "texts[1]", "at most 100"]),
        ("/features", {"texts": "好", "pooling": "max"}, ["pooling", "mean"]),
        ("/features", {"texts": "好" * 59, "pooling": "tokens"}, ["61 tokens", "at most 60"]),
        ("/features", ["好"], ["body"]),
        ("/features", "好", ["body"]),
        ("/classify", {"texts": "好", "model": "first"}, ["no classifier", '"where": "model"']),
        ("/classify", {"texts": ["好", "坏"], "second_texts": ["好"], "model": "classifier"}, ["second_texts", "2"]),
        ("/classify", {"texts": "好", "top_k": 0, "model": "classifier"}, ["top_k"]),
        ("/v1/embeddings", {"input": [], "model": "first"}, ["input"]),
        ("/v1/embeddings", {"input": [[]], "model": "first"}, ["input"]),
        ("/v1/embeddings", {"input": [1, "好"], "model": "first"}, ["input"]),
        ("/v1/embeddings", {"input": [[1], [99]], "model": "first"}, ["token 99", "input[1]"]),
        ("/v1/embeddings", {"input": [-1], "model": "first"}, ["input[0]"]),
        ("/v1/embeddings", {"input": [2**40], "model": "first"}, ["input[0]"]),
        ("/v1/embeddings", {"input": [[1]] * 5, "model": "first"}, ["5 token arrays"]),
        ("/v1/embeddings", {"input": [1] * 101, "model": "first"}, ["101 tokens"]),
        ("/v1/embeddings", {"input": "好", "encoding_format": "int8", "model": "first"}, ["encoding_format"]),
        ("/v1/embeddings", {"input": "好", "dimensions": 32, "model": "first"}, ["dimensions 32", '"64"']),
    ],
)  # fmt: skip
def test_values_that_are_not_accepted(strict: Running, path: str, body, fragments: list[str]) -> None:
    error = refused(ask(strict, path, body), 422, *fragments)
    assert error["type"] == "invalid_value"


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b'{"texts": "\xff"}', b'{"texts": NaN}', b'{"texts": "\\ud800"}', b"[" * 10_000, b"\x00", b"{}{}",
        b'{"a":' * 3_000,
    ],
    ids=["empty", "cut", "not UTF-8", "NaN", "half a surrogate pair", "deep", "zero", "two", "deep objects"],
)  # fmt: skip
def test_bodies_that_are_not_json(strict: Running, body: bytes) -> None:
    reply = ask(strict, "/features", body)
    refused(reply, 422 if body == b"" else 400)


def test_a_body_that_is_not_said_to_be_json(strict: Running) -> None:
    """A page of another origin can send text without being asked for permission, but not JSON."""
    refused(ask(strict, "/features", {"texts": "好"}, Content_Type="text/plain"), 415, "application/json")


def test_a_whole_number_may_have_a_point(strict: Running) -> None:
    assert ask(strict, "/fill-mask", {"texts": "[MASK]", "top_k": 2.0}).status == 200


def test_a_model_that_is_not_there(strict: Running) -> None:
    refused(ask(strict, "/features", {"texts": "好", "model": ""}), 404, "''")
    error = refused(ask(strict, "/features", {"texts": "好", "model": "third"}), 404, "'third'")
    assert error["accepted"] == "first or second or classifier"


def test_paths_and_methods_that_are_not_there(strict: Running) -> None:
    refused(ask(strict, "/nowhere"), 404, "/nowhere")
    refused(ask(strict, "/features/", {"texts": "好"}), 404)
    reply = ask(strict, "/features")
    assert reply.headers["Allow"] == "POST"
    refused(reply, 405, "POST")
    refused(ask(strict, "/models", {}), 405, "GET")


@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x"])
@pytest.mark.parametrize("path", ["/features", "/models", "/metrics"])
def test_without_the_token_nothing_is_told(strict: Running, path: str, given: str | None) -> None:
    body = {"texts": "好"} if path == "/features" else None
    headers = {} if given is None else {"Authorization": given}
    reply = strict.ask(path, body, **headers)
    refused(reply, 401)
    assert reply.headers["WWW-Authenticate"] == "Bearer"


def test_the_token_opens_and_probes_and_pages_need_none(strict: Running) -> None:
    assert ask(strict, "/features", {"texts": "好"}).status == 200
    assert strict.ask("/features", {"texts": "好"}, Authorization=f"bearer  {TOKEN}").status == 200
    for path in ("/health", "/ready", "/docs", "/openapi.json", "/"):
        assert strict.ask(path).status == 200, path


def test_a_body_that_is_too_large_is_refused_before_it_is_read(strict: Running) -> None:
    large = {"texts": "好" * 20_000}
    refused(ask(strict, "/features", large), 413, "at most 20,000 bytes")
    assert ask(strict, "/features", {"texts": "好"}).status == 200


def test_a_body_of_unknown_length_is_read_up_to_the_limit(strict: Running) -> None:
    pieces = (b" " * 8_192 for _ in range(20))
    connection = HTTPConnection("127.0.0.1", strict.port, timeout=10)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
    connection.request("POST", "/features", pieces, headers, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


def test_only_named_origins_may_ask_from_a_browser(strict: Running, service: Running) -> None:
    preflight = {
        "Access_Control_Request_Method": "POST",
        "Access_Control_Request_Headers": "authorization,content-type",
    }
    reply = strict.ask("/features", None, "OPTIONS", Origin="http://page.example", **preflight)
    assert reply.status == 200
    assert reply.headers["Access-Control-Allow-Origin"] == "http://page.example"
    error = strict.ask("/models", Origin="http://page.example")
    assert error.status == 401
    assert error.headers["Access-Control-Allow-Origin"] == "http://page.example"
    other = strict.ask("/features", None, "OPTIONS", Origin="http://other.example", **preflight)
    assert "Access-Control-Allow-Origin" not in other.headers
    off = service.ask("/models", Origin="http://page.example")
    assert "Access-Control-Allow-Origin" not in off.headers
