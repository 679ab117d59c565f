"""`weixing.load` and what a loaded model does. Equality with transformers: tests/parity/test_exported_folder.py."""

from pathlib import Path

import numpy as np
import pytest

import weixing
from weixing.errors import UserError
from weixing.inference.model import Model

TEXTS = ["中国", "", "北京是中国的首都，上海是上海", "你好", "十九八七六五四三二一", "世"]


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return weixing.load(str(folder), precision="float32")


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_vectors_keep_the_order_of_the_texts_whatever_the_batches(pooling: str, model: Model) -> None:
    alone = np.concatenate([model.features([text], pooling) for text in TEXTS])
    assert alone.shape == (len(TEXTS), 128)
    assert alone.dtype == np.float32
    for batch_tokens in (1, 30, 8192):
        together = model.features(TEXTS, pooling, batch_tokens=batch_tokens)
        np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-5)


def test_token_vectors_are_what_is_pooled(model: Model) -> None:
    matrices = model.features(TEXTS, "tokens", batch_tokens=30)
    assert [len(matrix) for matrix in matrices] == [2 + len(text) for text in TEXTS]
    means, firsts = model.features(TEXTS, "mean"), model.features(TEXTS, "cls")
    np.testing.assert_allclose(means, [matrix.mean(0) for matrix in matrices], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(firsts, [matrix[0] for matrix in matrices], rtol=1e-5, atol=1e-5)


def test_an_encoder_without_a_masked_lm_head_gives_vectors_and_refuses_to_fill_a_mask(model: Model) -> None:
    alone = Model(model.encoder, model.vocabulary)
    np.testing.assert_array_equal(alone.features(TEXTS), model.features(TEXTS))
    with pytest.raises(UserError, match="no masked-LM head"):
        alone.fill_mask("[MASK]京")


def test_no_texts_give_no_vectors(model: Model) -> None:
    assert model.features([]).shape == (0, 128)
    assert model.features([], "tokens") == []


def test_long_texts_are_cut_and_this_is_said_once(model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    long = "北京" * 30
    vectors = model.features([long, "你好", long + "上"], "cls")
    assert capsys.readouterr().err.splitlines() == [
        "2 of 3 texts cut to the first 22 tokens, all that the model can read"
    ]
    np.testing.assert_allclose(vectors[0], model.features([long[:22]], "cls")[0], rtol=1e-5, atol=1e-6)
    assert capsys.readouterr().err == ""


def test_candidates_are_sorted_by_probability_and_all_of_them_sum_to_1(model: Model) -> None:
    candidates = model.fill_mask("首都是[MASK]京。", top_k=len(model.vocabulary))
    scores = [candidate["score"] for candidate in candidates]
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1, abs=1e-5)
    assert {candidate["token"] for candidate in candidates} == set(range(len(model.vocabulary)))
    for candidate in candidates:
        assert list(candidate) == ["score", "token", "token_str", "sequence"]
    north = next(candidate for candidate in candidates if candidate["token_str"] == "北")
    assert north["sequence"] == "首 都 是 北 京 。"
    assert model.fill_mask("首都是[MASK]京。", top_k=3) == candidates[:3]


def test_several_masks_give_a_list_for_each(model: Model) -> None:
    lists = model.fill_mask("[MASK]京和[MASK]海", top_k=2)
    assert [len(rows) for rows in lists] == [2, 2]
    assert lists[0][0]["sequence"].endswith("京 [UNK] [MASK] 海 [SEP]")


def test_a_text_without_a_mask_in_reach_is_refused(model: Model) -> None:
    with pytest.raises(UserError, match=r"no \[MASK\] in the text '你好'"):
        model.fill_mask("你好")
    with pytest.raises(UserError, match="behind its first 22 tokens"):
        model.fill_mask("北京" * 30 + "[MASK]")


@pytest.mark.parametrize("top_k", [0, -1, 1000])
def test_an_impossible_number_of_candidates_is_refused(top_k: int, model: Model) -> None:
    with pytest.raises(UserError, match="1 to"):
        model.fill_mask("[MASK]京", top_k=top_k)


def test_a_wrong_pooling_a_wrong_backend_and_one_string_for_a_list_are_refused(model: Model, folder: Path) -> None:
    with pytest.raises(UserError, match="cls, mean, tokens"):
        model.features(["你好"], "max")
    with pytest.raises(UserError, match="in place of a list"):
        model.features("你好")
    with pytest.raises(UserError, match="backend 'abacus'"):
        weixing.load(str(folder), backend="abacus")
    with pytest.raises(UserError, match="'int4'"):
        weixing.load(str(folder), precision="int4")
