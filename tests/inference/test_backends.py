"""The two backends promise the numbers of transformers' BertModel and of each other, from any number of threads."""

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
from weixing.errors import UserError
from weixing.inference.batching import Padded, pad
from weixing.inference.compiled_backend import CompiledBackend
from weixing.inference.model import Model
from weixing.model.heads import MaskedLanguageModel

TEXTS = ["中国", "", "北京是中国的首都，上海是上海", "你好", "十九八七六五四三二一", "世", "hellos，世界" * 2]
ASKED = ["首都是[MASK]京。", "[MASK]海和[MASK][MASK]，你好", "[MASK]"]
POOLINGS = ["cls", "mean", "tokens"]
BACKENDS = ["torch", "compiled"]


@pytest.fixture(scope="module")
def model(folder: Path) -> Callable[..., Model]:
    """Loaded models by backend and precision; computing with two cores where they are made with two."""
    made: dict[tuple[str, str], Model] = {}

    def make(backend: str = "compiled", precision: str = "float32") -> Model:
        if (backend, precision) not in made:
            threads = torch.get_num_threads()
            torch.set_num_threads(2)  # as many workers
            made[backend, precision] = weixing.load(str(folder), backend, precision)
            torch.set_num_threads(threads)
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
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch_tokens", [20, 60, 4096])
def test_float32_features_are_those_of_transformers(model, hidden_states, backend, pooling, batch_tokens) -> None:
    own = model(backend).features(TEXTS, pooling, batch_tokens=batch_tokens)
    for vector, expected in zip(own, pooled(hidden_states, pooling), strict=True):
        assert vector.dtype == np.float32
        np.testing.assert_allclose(vector, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_float32_features_of_both_backends_are_the_same(model, pooling) -> None:
    both = [model(backend).features(TEXTS, pooling, batch_tokens=60) for backend in BACKENDS]
    for one, other in zip(*both, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_bf16_features_are_close_to_float32_in_size_and_direction(model, hidden_states, backend, pooling) -> None:
    own = model(backend, "bf16").features(TEXTS, pooling, batch_tokens=60)
    for vector, expected in zip(own, pooled(hidden_states, pooling), strict=True):
        assert vector.dtype == np.float32
        np.testing.assert_allclose(vector, expected, rtol=0, atol=2e-2)
        products = (vector * expected).sum(-1)
        assert (products > 0.999 * np.linalg.norm(vector, axis=-1) * np.linalg.norm(expected, axis=-1)).all()


@pytest.mark.parametrize("text", ASKED)
def test_both_backends_give_the_same_candidates(model, text) -> None:
    one, other = (model(backend).fill_mask(text, top_k=34) for backend in BACKENDS)
    assert isinstance(one[0], list) == (text.count("[MASK]") > 1)
    for row, other_row in zip(by_mask(one), by_mask(other), strict=True):
        scores, other_scores = ({c["token"]: c["score"] for c in candidates} for candidates in (row, other_row))
        assert len(scores) == 34
        assert scores == pytest.approx(other_scores, rel=1e-4, abs=1e-7)
        assert row[0] == other_row[0] | {"score": row[0]["score"]}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("text", ASKED)
def test_bf16_scores_are_close_to_float32(model, backend, text) -> None:
    ids = model().encode([text])[0].astype(np.int64)
    places = np.flatnonzero(ids == model().vocabulary.mask_id)
    exact = model("torch").backend.logits(ids[None], places[None])
    own = model(backend, "bf16").backend.logits(ids[None], places[None])
    assert own.dtype == torch.float32
    assert own.shape == exact.shape == (text.count("[MASK]"), 34)
    torch.testing.assert_close(own.softmax(1), exact.softmax(1), rtol=0, atol=2e-2)
    assert (torch.cosine_similarity(own, exact) > 0.999).all()


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_compiled_is_what_a_cpu_gets_and_torch_what_a_gpu_gets(model, folder, precision) -> None:
    assert weixing.load(str(folder), precision=precision).backend.name == "compiled"
    for backend in BACKENDS:
        chosen = model(backend, precision)
        assert chosen.backend.name == backend
        assert chosen.precision == chosen.backend.precision
    with torch.device("meta"):  # any device but a CPU
        elsewhere = MaskedLanguageModel(model().shape)
    assert Model(elsewhere, model().vocabulary, precision=precision).backend.name == "torch"


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_bf16_instructions_the_processor_computes_in_float32_and_says_so(
    model, folder, monkeypatch, backend
) -> None:
    monkeypatch.setattr("weixing.inference.model.has_bf16", lambda device: False)
    loaded = weixing.load(str(folder), backend, "bf16")
    assert loaded.precision == loaded.backend.precision == "float32"
    np.testing.assert_allclose(loaded.features(TEXTS), model(backend).features(TEXTS), rtol=0, atol=1e-6)
    assert loaded.fill_mask(ASKED[0]) == weixing.load(str(folder), backend).fill_mask(ASKED[0])


def test_with_bf16_instructions_bf16_is_used(folder, monkeypatch) -> None:
    for place in ("weixing.inference.model.has_bf16", "weixing.training.devices.has_bf16"):
        monkeypatch.setattr(place, lambda device: True)
    loaded = weixing.load(str(folder), precision="bf16")
    assert loaded.precision == "bf16"
    assert not np.array_equal(loaded.features(TEXTS), weixing.load(str(folder)).features(TEXTS))


def test_the_compiled_backend_is_refused_for_a_gpu(folder, monkeypatch) -> None:
    monkeypatch.setattr("weixing.inference.model.pick_device", lambda: torch.device("cuda"))
    with pytest.raises(UserError, match=r"backend 'compiled' on cuda. Accepted: .*compiled: a CPU's"):
        weixing.load(str(folder), "compiled")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_what_was_returned_stays_what_it_was(model, backend, precision) -> None:
    chosen = model(backend, precision)
    ids = chosen.encode([ASKED[0]])[0].astype(np.int64)[None]
    places = np.flatnonzero(ids[0] == chosen.vocabulary.mask_id)[None]
    texts = [pad(chosen.encode(TEXTS[start : start + 2]), chosen.vocabulary.pad_id) for start in (0, 2, 4)]
    results = [chosen.backend.logits(ids, places).numpy()]
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
        chosen.backend.logits(np.roll(ids, 3), places)
    for result, earlier in zip(results, before, strict=True):
        np.testing.assert_array_equal(result, earlier)


@pytest.mark.parametrize("backend", BACKENDS)
def test_several_threads_may_use_a_model_at_once(model, backend) -> None:
    chosen = model(backend)
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
    fresh = weixing.load(str(folder))

    def results() -> list[np.ndarray]:
        scores = [[c["score"] for c in rows] for text in ASKED for rows in by_mask(fresh.fill_mask(text))]
        # One batch, the largest, and several: computed in this thread and in others, in memory of the first.
        return [np.array(scores), fresh.features(TEXTS), fresh.features(TEXTS, batch_tokens=30)]

    with torch.inference_mode():
        fresh.features(TEXTS, "tokens")
        inside = results()
    for result, expected in zip(results(), inside, strict=True):
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_batch_is_reported_and_never_two_at_once(model, backend) -> None:
    seen, telling = [], []

    def hear(count: int) -> None:
        telling.append(count)
        assert len(telling) == 1
        time.sleep(0.001)  # another thread may come between
        telling.pop()
        seen.append(count)

    chosen = model(backend)
    chosen.pool(chosen.encode(TEXTS * 10), batch_tokens=40, on_batch=hear)
    assert sum(seen) == 70
    assert len(seen) > 10


def test_after_an_error_the_model_still_works(folder, monkeypatch) -> None:
    backend = weixing.load(str(folder)).backend
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
                backend.logits(ids, np.array([[1]]))
    results: list[np.ndarray] = []
    # Were its memory lost, it would wait for ever.
    after = Thread(target=lambda: results.extend(backend.pool([texts], "cls", lambda count: None)), daemon=True)
    after.start()
    after.join(60)
    np.testing.assert_array_equal(results, expected)
