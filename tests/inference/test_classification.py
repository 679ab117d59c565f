"""`Model.classify` promises what transformers' text-classification pipeline gives, for each kind of labels."""

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

import weixing
from weixing.errors import UserError
from weixing.inference.classification import Labels

TEXTS = ["中国", "", "北京是中国的首都，上海是上海", "你好", "十九八七六五四三二一", "hellos，世界"]
SECOND_TEXTS = ["北京", "你好", "海", "hello世界，你好", "一", "中国的首都是北京"]
PROBLEMS = ["single_label_classification", "multi_label_classification", "regression"]
CLASSES = PROBLEMS[0]


def same_scores(ours: list[list[dict]], theirs: list[list[dict]]) -> bool:
    return [[row["label"] for row in rows] for rows in ours] == [
        [row["label"] for row in rows] for rows in theirs
    ] and np.allclose(
        [row["score"] for rows in ours for row in rows], [row["score"] for rows in theirs for row in rows], atol=1e-5
    )


@pytest.mark.parametrize("backend", ["torch", "compiled"])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_scores_are_those_of_the_pipeline(problem: str, backend: str, classifiers: dict[str, Path]) -> None:
    pipeline = transformers.pipeline("text-classification", model=str(classifiers[problem]), top_k=None)
    model = weixing.load(str(classifiers[problem]), backend, "float32")
    assert model.labels.problem_type == problem
    theirs = pipeline(TEXTS)
    assert same_scores(model.classify(TEXTS), theirs)
    assert same_scores(model.classify(TEXTS, top_k=1), [rows[:1] for rows in theirs])
    theirs = pipeline([{"text": one, "text_pair": two} for one, two in zip(TEXTS, SECOND_TEXTS, strict=True)])
    assert same_scores(model.classify(TEXTS, SECOND_TEXTS), theirs)


def test_a_pair_that_is_too_long_loses_the_end_of_its_longer_text(
    classifiers: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    model = weixing.load(str(classifiers[CLASSES]), precision="float32")
    long, short = "北京上海" * 10, "你好世界"
    scores = model.scores([long, short], [short, long])
    assert capsys.readouterr().err == "2 of 2 texts cut to the first 21 tokens, all that the model can read\n"
    np.testing.assert_allclose(scores, model.scores([long[:17], short], [short, long[:17]]), atol=1e-6)
    assert capsys.readouterr().err == ""


def test_scores_are_in_the_order_of_the_labels_and_of_the_texts(classifiers: dict[str, Path]) -> None:
    model = weixing.load(str(classifiers[CLASSES]), precision="float32")
    scores = model.score(model.encode(TEXTS), batch_tokens=10)
    assert scores.dtype == np.float32
    assert scores.shape == (len(TEXTS), 3)
    np.testing.assert_allclose(scores.sum(1), 1, rtol=1e-5)
    for row, ranked in zip(scores, model.classify(TEXTS), strict=True):
        assert {each["label"]: each["score"] for each in ranked} == pytest.approx(
            dict(zip(("体育", "财经", "娱乐"), row.tolist(), strict=True)), abs=1e-5
        )
    assert model.scores([]).shape == (0, 3)
    assert model.classify([]) == []


def test_numbers_are_not_squeezed_and_probabilities_of_several_labels_do_not_compete() -> None:
    logits = torch.tensor([[-3.0, 0.0, 5.0]])
    assert Labels(("a", "b", "c"), "regression").scores(logits).tolist() == logits.tolist()
    assert Labels(("a", "b", "c"), "multi_label_classification").scores(logits)[0].tolist() == pytest.approx(
        [0.0474, 0.5, 0.9933], abs=1e-4
    )
    assert Labels(("a", "b", "c"), "single_label_classification").scores(logits)[0].sum().item() == pytest.approx(1)


def test_the_labels_that_hold_are_the_best_or_all_that_reach_one_half() -> None:
    names, scores = ("a", "b", "c"), [0.5, 0.2, 0.9]
    several = Labels(names, "multi_label_classification")
    assert [each["label"] for each in several.predicted(scores)] == ["c", "a"]
    assert several.predicted([0.1, 0.2, 0.3]) == []
    assert Labels(names, "single_label_classification").predicted(scores) == [{"label": "c", "score": 0.9}]
    assert Labels(("value",), "regression").predicted([-3.5]) == [{"label": "value", "score": -3.5}]
    for labels in (several, Labels(names, "single_label_classification")):
        assert [each["label"] for each in labels.predicted(scores, 2)] == ["c", "a"]


def test_what_cannot_be_classified_is_refused(folder: Path, classifiers: dict[str, Path]) -> None:
    with pytest.raises(UserError, match=r"small-model: this model has no classifier of texts.*finetune"):
        weixing.load(str(folder)).classify(["你好"])
    model = weixing.load(str(classifiers[CLASSES]))
    with pytest.raises(UserError, match="1 second texts for 2 texts"):
        model.classify(["你好", "世界"], ["你好"])
    with pytest.raises(UserError, match="in place of a list"):
        model.classify("你好")
    with pytest.raises(UserError, match="top_k 0"):
        model.classify(["你好"], top_k=0)
    with pytest.raises(UserError, match="no masked-LM head"):
        model.fill_mask("[MASK]")


def test_a_classifier_gives_vectors_too(classifiers: dict[str, Path]) -> None:
    bert = transformers.BertModel.from_pretrained(classifiers[CLASSES]).eval()
    tokenizer = transformers.BertTokenizer.from_pretrained(classifiers[CLASSES])
    with torch.inference_mode():
        expected = bert(**tokenizer("你好世界", return_tensors="pt")).last_hidden_state[0, 0].numpy()
    ours = weixing.load(str(classifiers[CLASSES]), precision="float32").features(["你好世界"], "cls")
    np.testing.assert_allclose(ours[0], expected, atol=1e-5)
