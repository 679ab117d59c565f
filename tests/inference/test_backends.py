"""Every back end promises the numbers of transformers' BertModel, as nearly as it can, from any number of threads."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
import transformers

import weixing
from weixing.inference.batching import Padded, pad
from weixing.inference.compiled_backend import CompiledBackend
from weixing.inference.model import Model

TEXTS = ["中国", "", "北京是中国的首都，上海是上海", "你好", "十九八七六五四三二一", "世", "hellos，世界" * 2]
ASKED = ["首都是[MASK]京。", "[MASK]海和[MASK][MASK]，你好", "[MASK]"]
POOLINGS = ["cls", "mean", "tokens"]
BACKENDS = ["torch", "compiled", "onnx"]
WAYS = [*((backend, "float32") for backend in BACKENDS), ("compiled", "int16"), ("onnx-int8", "int8")]
NEAR = {"float32": (1e-5, 1 - 1e-7), "int16": (5e-3, 0.99999), "int8": (0.3, 0.999)}
"""Of a precision: most that a number may be off, and the least cosine."""


@pytest.fixture(scope="module")
def model(folder: Path) -> Callable[..., Model]:
    """Loaded models by backend and precision; computing with two cores where they are made with two.

    bf16 is computed by any processor here, if need be slowly; int16 is not.
    """
    made: dict[tuple[str, str], Model] = {}

    def make(backend: str = "compiled", precision: str = "float32") -> Model:
        if (backend, precision) not in made:
            threads = torch.get_num_threads()
            torch.set_num_threads(2)  # as many workers
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("weixing.inference.choosing.has_bf16", lambda device: True)
                made[backend, precision] = weixing.load(str(folder), backend, precision)
            torch.set_num_threads(threads)
        if made[backend, precision].precision != precision:
            pytest.skip(f"this processor cannot do {precision}")
        return made[backend, precision]

    return make


@pytest.fixture(scope="module")
def hidden_states(folder: Path) -> list[np.ndarray]:
    """Of each text, float32 [T, H], by transformers, all texts padded to one length."""
    tokenizer = transformers.BertTokenizer.from_pretrained(folder)
    bert = transformers.BertModel.from_pretrained(folder).eval()
    inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        states = bert(**inputs).last_hidden_state.numpy()
    return [matrix[: real.sum()] for matrix, real in zip(states, inputs["attention_mask"], strict=True)]


def by_mask(candidates: list) -> list[list[dict]]:
    return candidates if isinstance(candidates[0], list) else [candidates]


def pooled(matrices: list[np.ndarray], pooling: str) -> list[np.ndarray]:
    return [{"cls": matrix[0], "mean": matrix.mean(0), "tokens": matrix}[pooling] for matrix in matrices]


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize(("backend", "precision"), WAYS)
@pytest.mark.parametrize("batch_tokens", [20, 60, 4096])
def test_features_are_those_of_transformers(model, hidden_states, backend, precision, pooling, batch_tokens) -> None:
    own = model(backend, precision).features(TEXTS, pooling, batch_tokens=batch_tokens)
    most, least_cosine = NEAR[precision]
    for vector, expected in zip(own, pooled(hidden_states, pooling), strict=True):
        assert vector.dtype == np.float32
        np.testing.assert_allclose(vector, expected, rtol=0, atol=most)
        one, other = (
            vector.astype(np.float64),
            expected.astype(np.float64),
        )  # norms in float32 err by more than is asked
        norms = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
        assert ((one * other).sum(-1) > least_cosine * norms).all()


@pytest.mark.parametrize("backend", ["compiled", "onnx"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_float32_features_of_all_backends_are_the_same(model, pooling, backend) -> None:
    both = [model(name).features(TEXTS, pooling, batch_tokens=60) for name in ("torch", backend)]
    for one, other in zip(*both, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("backend", ["torch", "compiled"])
def test_bf16_features_are_close_to_float32_in_size_and_direction(model, hidden_states, backend, pooling) -> None:
    own = model(backend, "bf16").features(TEXTS, pooling, batch_tokens=60)
    for vector, expected in zip(own, pooled(hidden_states, pooling), strict=True):
        assert vector.dtype == np.float32
        np.testing.assert_allclose(vector, expected, rtol=0, atol=2e-2)
        products = (vector * expected).sum(-1)
        assert (products > 0.999 * np.linalg.norm(vector, axis=-1) * np.linalg.norm(expected, axis=-1)).all()


@pytest.mark.parametrize("backend", ["compiled", "onnx"])
@pytest.mark.parametrize("text", ASKED)
def test_all_backends_give_the_same_candidates(model, text, backend) -> None:
    one, other = (model(name).fill_mask(text, top_k=34) for name in ("torch", backend))
    assert isinstance(one[0], list) == (text.count("[MASK]") > 1)
    for row, other_row in zip(by_mask(one), by_mask(other), strict=True):
        scores, other_scores = ({c["token"]: c["score"] for c in candidates} for candidates in (row, other_row))
        assert len(scores) == 34
        assert scores == pytest.approx(other_scores, rel=1e-4, abs=1e-7)
        assert row[0] == other_row[0] | {"score": row[0]["score"]}


@pytest.mark.parametrize("backend", ["torch", "compiled", "onnx"])
def test_many_texts_in_one_pass_are_filled_as_each_alone(model, backend, monkeypatch) -> None:
    chosen = model(backend)
    texts = [*ASKED, "没有", *[text * 2 for text in ASKED], ASKED[0][:4] + "[MASK]"] * 3
    passes = []
    logits = chosen.backend.logits
    monkeypatch.setattr(chosen.backend, "logits", lambda *given: (passes.append(len(given[1])), logits(*given))[1])
    monkeypatch.setattr("weixing.inference.model.MOST_LOGITS", 5)
    together = chosen.fill_rows(chosen.encode(texts), top_k=3)
    asked = [text for text in texts if "[MASK]" in text]
    assert sum(passes) == len(asked) > len(passes)
    assert [len(lists) for lists in together] == [text.count("[MASK]") for text in texts]
    for text, lists in zip(texts, together, strict=True):
        for row, alone in zip(lists, by_mask(chosen.fill_mask(text, top_k=3)) if lists else [], strict=True):
            assert [c["sequence"] for c in row] == [c["sequence"] for c in alone]
            assert [c["score"] for c in row] == pytest.approx([c["score"] for c in alone], rel=1e-4)


@pytest.mark.parametrize(
    ("backend", "precision"), [("torch", "bf16"), ("compiled", "bf16"), ("compiled", "int16"), ("onnx-int8", "int8")]
)
@pytest.mark.parametrize("text", ASKED)
def test_scores_in_fewer_bits_are_close_to_float32(model, backend, precision, text) -> None:
    ids = model().encode([text])[0].astype(np.int64)
    places = np.flatnonzero(ids == model().vocabulary.mask_id)
    text_alone = pad([ids], 0)
    exact = model("torch").backend.logits(text_alone, places[None])
    own = model(backend, precision).backend.logits(text_alone, places[None])
    assert own.dtype == torch.float32
    assert own.shape == exact.shape == (text.count("[MASK]"), 34)
    torch.testing.assert_close(own.softmax(1), exact.softmax(1), rtol=0, atol=2e-2)
    assert (torch.cosine_similarity(own, exact) > 0.999).all()


@pytest.mark.parametrize(("backend", "precision"), [*WAYS, ("torch", "bf16"), ("compiled", "bf16")])
def test_what_was_returned_stays_what_it_was(model, backend, precision) -> None:
    chosen = model(backend, precision)
    ids = chosen.encode([ASKED[0]])[0]
    places = np.flatnonzero(ids == chosen.vocabulary.mask_id)[None]
    texts = [pad(chosen.encode(TEXTS[start : start + 2]), chosen.vocabulary.pad_id) for start in (0, 2, 4)]
    results = [chosen.backend.logits(pad([ids], 0), places).numpy()]
    for pooling in POOLINGS:
        for batches in (texts, texts[:1]):
            results += chosen.backend.pool(batches, pooling, lambda count: None)
    before = [result.copy() for result in results]
    other = [pad(chosen.encode([text * 2]), chosen.vocabulary.pad_id) for text in (*TEXTS[2:4], *ASKED)]
    for pooling in POOLINGS:
        chosen.backend.pool(other, pooling, lambda count: None)
        for alone in other:
            chosen.backend.pool([alone], pooling, lambda count: None)
    for _ in range(3):
        chosen.backend.logits(pad([np.roll(ids, 3)], 0), places)
    for result, earlier in zip(results, before, strict=True):
        np.testing.assert_array_equal(result, earlier)


@pytest.mark.parametrize(("backend", "precision"), WAYS)
def test_several_threads_may_use_a_model_at_once(model, backend, precision) -> None:
    chosen = model(backend, precision)
    lists = [TEXTS[number:] + TEXTS[:number] for number in range(len(TEXTS))]

    def use(number: int) -> tuple:
        texts = lists[number % len(lists)]
        return (
            chosen.features(texts, "mean", batch_tokens=30),
            chosen.fill_mask(ASKED[number % 3], top_k=3),
            np.concatenate(chosen.features(texts, "tokens", batch_tokens=4096)),
            chosen.features(texts[:1], "cls"),
        )

    alone = [use(number) for number in range(42)]
    with ThreadPoolExecutor(6) as threads:
        together = list(threads.map(use, range(42)))
    for (means, candidates, tokens, firsts), expected in zip(together, alone, strict=True):
        np.testing.assert_allclose(means, expected[0], rtol=0, atol=1e-5)
        np.testing.assert_allclose(tokens, expected[2], rtol=0, atol=1e-5)
        np.testing.assert_allclose(firsts, expected[3], rtol=0, atol=1e-5)
        for row, expected_row in zip(by_mask(candidates), by_mask(expected[1]), strict=True):
            for candidate, its in zip(row, expected_row, strict=True):
                assert candidate == its | {"score": pytest.approx(its["score"], rel=1e-4)}


def test_inference_mode_around_one_call_does_not_spoil_the_next(folder) -> None:
    torch.set_num_threads(2)  # of this test alone: see tests/conftest.py
    fresh = weixing.load(str(folder), precision="float32")

    def results() -> list[np.ndarray]:
        scores = [[c["score"] for c in rows] for text in ASKED for rows in by_mask(fresh.fill_mask(text))]
        # One batch, the largest, and several: computed in this thread and in others, in memory of the first.
        return [np.array(scores), fresh.features(TEXTS), fresh.features(TEXTS, batch_tokens=30)]

    with torch.inference_mode():
        fresh.features(TEXTS, "tokens")
        inside = results()
    for result, expected in zip(results(), inside, strict=True):
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("backend", [*BACKENDS, "onnx-int8"])
def test_every_batch_is_reported_and_never_two_at_once(model, backend) -> None:
    seen, telling = [], []

    def hear(count: int) -> None:
        telling.append(count)
        assert len(telling) == 1
        time.sleep(0.001)  # another thread may come between
        telling.pop()
        seen.append(count)

    chosen = model(backend, "int8" if backend == "onnx-int8" else "float32")
    chosen.pool(chosen.encode(TEXTS * 10), batch_tokens=40, on_batch=hear)
    assert sum(seen) == 70
    assert len(seen) > 10


def test_after_an_error_the_model_still_works(folder, monkeypatch) -> None:
    backend = weixing.load(str(folder), precision="float32").backend
    assert isinstance(backend, CompiledBackend)
    ids = np.array([[0, 4, 9]])

    def fail(count: int) -> None:
        raise ValueError("no")

    texts = Padded(ids, np.array([3]))
    expected = backend.pool([texts], "cls", lambda count: None)
    for _ in range(3):
        with pytest.raises(ValueError, match="no"):
            backend.pool([texts], "cls", fail)
        with monkeypatch.context() as patch:
            patch.setattr("weixing.inference.compiled_backend.pooled", lambda *_: 1 / 0)
            patch.setattr("weixing.inference.compiled_backend.masked_lm_logits", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                backend.pool([texts], "cls", lambda count: None)
            with pytest.raises(ZeroDivisionError):
                backend.logits(texts, np.zeros((len(ids), 1), np.int64))
    results: list[np.ndarray] = []
    # Were its memory lost, it would wait for ever.
    after = Thread(target=lambda: results.extend(backend.pool([texts], "cls", lambda count: None)), daemon=True)
    after.start()
    after.join(60)
    np.testing.assert_array_equal(results, expected)
