"""What the endpoints answer is what Python gives, to the bit where a request has the model to itself."""

import base64

import numpy as np
import pytest

from tests.serving.conftest import LABELS
from tests.serving.running import Running
from weixing.inference.model import Model

TEXTS = ["中国", "", "北京是中国的首都，上海是上海", "你好", "十九八七六五四三二一", "世"]
MASKED = ["首都是[MASK]京。", "[MASK][MASK]你好", "上[MASK]"]


def test_candidates_are_those_of_python(service: Running, models: dict[str, Model]) -> None:
    reply = service.ask("/fill-mask", {"texts": MASKED, "top_k": 3})
    assert reply.status == 200
    expected = [models["first"].fill_mask(text, 3) for text in MASKED]
    expected = [rows if isinstance(rows[0], list) else [rows] for rows in expected]
    assert reply.json == {"model": "first", "candidates": expected, "tokens": 8 + 6 + 4}
    alone = service.ask("/fill-mask", {"texts": MASKED[0], "model": "second"}).json
    assert alone["candidates"] == [[models["second"].fill_mask(MASKED[0])]]


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_vectors_are_those_of_python(service: Running, models: dict[str, Model], pooling: str) -> None:
    reply = service.ask("/features", {"texts": TEXTS, "pooling": pooling, "model": "second"})
    assert reply.status == 200
    np.testing.assert_array_equal(
        np.array(reply.json.pop("vectors"), np.float32), models["second"].features(TEXTS, pooling)
    )
    tokens = sum(len(row) for row in models["second"].encode(TEXTS))
    assert reply.json == {"model": "second", "pooling": pooling, "hidden": 64, "tokens": tokens}


def test_vectors_of_tokens_are_those_of_python(service: Running, models: dict[str, Model]) -> None:
    matrices = service.ask("/features", {"texts": TEXTS, "pooling": "tokens"}).json["vectors"]
    for matrix, expected in zip(matrices, models["first"].features(TEXTS, "tokens"), strict=True):
        np.testing.assert_array_equal(np.array(matrix, np.float32), expected)


def test_labels_are_those_of_python(service: Running, models: dict[str, Model]) -> None:
    model = models["classifier"]
    reply = service.ask("/classify", {"texts": TEXTS})
    assert (reply.status, reply.json["model"]) == (200, "classifier")  # the first that can
    assert reply.json["labels"] == model.classify(TEXTS)
    assert {entry["label"] for entry in reply.json["labels"][0]} == set(LABELS)
    pairs = service.ask("/classify", {"texts": TEXTS, "second_texts": TEXTS[::-1], "top_k": 1, "model": "classifier"})
    assert pairs.json["labels"] == model.classify(TEXTS, TEXTS[::-1], 1)
    alone = service.ask("/classify", {"texts": "你好", "second_texts": "中国", "model": "classifier"})
    assert alone.json["labels"] == model.classify(["你好"], ["中国"])
    assert alone.json["tokens"] == 2 + 2 + 3


def test_embeddings_have_the_shape_of_openai_s(service: Running, models: dict[str, Model]) -> None:
    expected = models["first"].features(TEXTS)
    reply = service.ask("/v1/embeddings", {"model": "first", "input": TEXTS, "user": "someone"})
    assert reply.status == 200
    assert list(reply.json) == ["object", "model", "data", "usage"]
    assert (reply.json["object"], reply.json["model"]) == ("list", "first")
    assert [(entry["object"], entry["index"]) for entry in reply.json["data"]] == [
        ("embedding", index) for index in range(len(TEXTS))
    ]
    vectors = np.array([entry["embedding"] for entry in reply.json["data"]], np.float32)
    np.testing.assert_array_equal(vectors, expected)
    tokens = sum(len(row) for row in models["first"].encode(TEXTS))
    assert reply.json["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}


def test_embeddings_in_base64_are_little_endian_float32(service: Running, models: dict[str, Model]) -> None:
    """What the official client asks for, and how it reads it."""
    reply = service.ask("/v1/embeddings", {"model": "first", "input": "你好", "encoding_format": "base64"})
    vector = np.frombuffer(base64.b64decode(reply.json["data"][0]["embedding"]), dtype="<f4")
    np.testing.assert_array_equal(vector, models["first"].features(["你好"])[0])


def test_embeddings_of_token_ids_are_those_of_their_text(service: Running, models: dict[str, Model]) -> None:
    model = models["first"]
    rows = [row[1:-1].tolist() for row in model.encode(["你好", "北京上海"])]
    several = service.ask("/v1/embeddings", {"model": "first", "input": rows, "dimensions": 64}).json
    one = service.ask("/v1/embeddings", {"model": "first", "input": rows[1]}).json
    expected = model.features(["你好", "北京上海"])
    np.testing.assert_array_equal(np.array([entry["embedding"] for entry in several["data"]], np.float32), expected)
    alone = model.features(["北京上海"])[0]
    np.testing.assert_array_equal(np.array(one["data"][0]["embedding"], np.float32), alone)
    assert several["usage"]["prompt_tokens"] == 4 + 6


def test_texts_longer_than_the_model_reads_are_cut_as_in_python(service: Running, models: dict[str, Model]) -> None:
    long = "北京" * 30
    reply = service.ask("/features", {"texts": [long]}).json
    np.testing.assert_array_equal(np.array(reply["vectors"], np.float32), models["first"].features([long]))
    assert reply["tokens"] == models["first"].shape.positions


def test_models_are_described(service: Running, models: dict[str, Model]) -> None:
    first, second, classifier = service.ask("/models").json["models"]
    assert (first["name"], first["state"], second["name"]) == ("first", "loaded", "second")
    assert (first["shape"], first["layers"], first["hidden"], first["positions"]) == ("1/64", 1, 64, 24)
    assert first["parameters"] == sum(tensor.numel() for tensor in models["first"].encoder.parameters())
    assert first["vocabulary_size"] == len(models["first"].vocabulary)
    assert (first["backend"], first["precision"]) == (models["first"].backend.name, "float32")
    assert (first["tasks"], first["labels"]) == (["features", "fill-mask"], None)
    assert (classifier["tasks"], classifier["labels"]) == (["features", "classify"], list(LABELS))


def test_health_and_readiness(service: Running) -> None:
    assert service.ask("/health")[::2] == (200, {"status": "alive"})
    assert service.ask("/ready")[::2] == (200, {"status": "ready"})
