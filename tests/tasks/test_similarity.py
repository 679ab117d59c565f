"""Sentence vectors: losses and score against independent ones, training that learns, a folder that others open."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

import weixing
from weixing.cli.main import run as program
from weixing.errors import UserError
from weixing.tasks.contrastive import encode_pairs, open_similarity
from weixing.tasks.rows import Layout
from weixing.tasks.scores import auc
from weixing.tasks.similarity import Similarity, cosent, in_batch
from weixing.tasks.tuning import Tuning
from weixing.text.tokenizer import Tokenizer
from weixing.text.vocabulary import load_vocabulary


def units(rows: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(rows, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=1)


@settings(deadline=None)  # the first call imports scikit-learn
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_the_area_is_that_of_scikit_learn(rows: list[tuple[int, bool]]):
    from sklearn.metrics import roc_auc_score

    scores, gold = np.array([float(score) for score, _ in rows]), np.array([right for _, right in rows])
    expected = roc_auc_score(gold, scores) if gold.any() and not gold.all() else 0.5
    assert auc(scores, gold) == pytest.approx(expected)


def test_cosent_and_in_batch_are_those_of_sentence_transformers():
    from sentence_transformers import SentenceTransformer, losses

    first, second = units(6, 1), units(6, 2)
    labels = torch.tensor([0.0, 1, 0.5, 1, 0, 0.25], dtype=torch.float64)

    class Given(SentenceTransformer):
        def __init__(self) -> None:
            torch.nn.Module.__init__(self)

        def forward(self, features: dict) -> dict:  # type: ignore[override]
            return features

    pairs = [{"sentence_embedding": first}, {"sentence_embedding": second}]
    theirs = losses.CoSENTLoss(Given(), scale=20.0)(pairs, labels)
    assert cosent(20 * (first * second).sum(1), labels).item() == pytest.approx(theirs.item(), rel=1e-6)
    theirs = losses.MultipleNegativesRankingLoss(Given(), scale=20.0)(pairs, labels)
    everything, different = torch.ones(6, dtype=torch.bool), torch.arange(12).view(2, 6)
    assert in_batch(20 * first @ second.t(), everything, *different).item() == pytest.approx(theirs.item(), rel=1e-6)


def test_a_text_is_not_held_against_itself_and_negatives_of_pairs_count_as_columns():
    first, second = units(4, 3), units(4, 4)
    labels, scores = torch.tensor([1.0, 0, 1, 1]), 20 * first @ second.t()
    identities = torch.tensor([[0, 1, 2, 0], [3, 4, 3, 5]])  # texts 0 and 3 of rows are one; so are columns 0 and 2
    rows = {0: [0, 1, 3], 2: [1, 2, 3], 3: [0, 1, 2, 3]}
    expected = [(scores[row, columns].logsumexp(0) - scores[row, row]).item() for row, columns in rows.items()]
    assert in_batch(scores, labels > 0.5, *identities).item() == pytest.approx(np.mean(expected))


@pytest.mark.parametrize("contrast", ["simcse", "cosent", "in-batch"])
def test_gradients_are_those_of_differences(contrast):
    objective = Similarity(contrast, scale=5.0)
    labels, identities = torch.tensor([0.0, 1, 0.5, 1], dtype=torch.float64), torch.arange(8).view(2, 4)

    def loss(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return objective.loss(F.normalize(first, dim=1), F.normalize(second, dim=1), labels, identities)

    inputs = [units(4, seed).requires_grad_() for seed in (5, 6)]
    assert torch.autograd.gradcheck(loss, inputs)


def test_in_batch_without_a_positive_pair_has_no_loss_and_no_nan():
    scores = units(3, 7) @ units(3, 8).t()
    assert in_batch(scores.requires_grad_(), torch.zeros(3, dtype=torch.bool), *torch.arange(6).view(2, 3)).item() == 0


WORDS = [one + other for one in "天地山水火木金土" for other in "东南西北"]
FORMS = ("{}怎么样", "请问{}怎么样呢", "我想知道{}的情况", "{}好不好", "能说说{}吗", "关于{}有什么消息")


def written(folder: Path) -> tuple[Path, Path]:
    """Pairs about one word (1) or two (0), phrased in any way; dev has pairs of phrases that training has not."""
    random = np.random.default_rng(5)
    files = []
    for name, count in (("train", 600), ("dev", 150)):
        lines = ["text_a\ttext_b\tlabel"]
        for _ in range(count):
            alike = random.random() < 0.5
            one, other = random.choice(WORDS, 2, replace=False)
            first, second = random.choice(FORMS, 2, replace=False)
            lines.append(f"{first.format(one)}\t{second.format(one if alike else other)}\t{int(alike)}")
        files.append(folder / f"{name}.tsv")
        files[-1].write_text("\n".join(lines) + "\n", encoding="utf-8")
    return files[0], files[1]


def tuned(folder: Path, *options: str) -> dict:
    train, dev = written(folder)
    out = folder / "out"
    assert program(["finetune", "--task", "similarity", "--train", str(train), "--dev", str(dev), "--out", str(out),
                    "--model", "1/64", "--batch-sizes", "32", "--precision", "float32", *options]) == 0  # fmt: skip
    return json.loads((out / "results.jsonl").read_text())


def test_pairs_are_learnt_and_the_folder_opens_in_sentence_transformers(tmp_path: Path):
    result = tuned(tmp_path, "--epochs", "4", "--learning-rates", "1e-3", "--contrast", "cosent")
    assert result["metric"] == "auc"
    assert result["score"] > 90
    assert result["similarity"] == {"contrast": "cosent", "pooling": "mean", "scale": 20.0}
    from sentence_transformers import SentenceTransformer

    texts = ["天气怎么样", "关于股票有什么消息", "好"]
    theirs = SentenceTransformer(str(tmp_path / "out" / "model"), device="cpu").encode(texts)
    ours = weixing.load(str(tmp_path / "out" / "model"), precision="float32").features(texts, pooling="mean")
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    lines = [json.loads(line) for line in next((tmp_path / "out" / "predictions").iterdir()).read_text().splitlines()]
    gold = np.array([line["label"] for line in lines]) > 0.5
    assert 100 * auc(np.array([line["predicted"] for line in lines]), gold) == pytest.approx(result["score"], abs=0.05)


def test_in_batch_negatives_teach_pairs(tmp_path: Path):
    result = tuned(tmp_path, "--epochs", "6", "--learning-rates", "2e-3", "--contrast", "in-batch")
    assert result["score"] > 90


def test_simcse_tells_texts_from_one_another_without_labels(tmp_path: Path):
    options = ("--learning-rates", "1e-3", "--contrast", "simcse", "--pooling", "cls", "--overwrite")
    few, many = (tuned(tmp_path, "--epochs", epochs, *options) for epochs in ("1", "4"))
    assert many["train_loss"] < few["train_loss"] - 0.5  # chance is log 32 = 3.47
    pooling = json.loads((tmp_path / "out" / "model" / "1_Pooling" / "config.json").read_text())
    assert pooling["pooling_mode_cls_token"]
    assert not pooling["pooling_mode_mean_tokens"]


def test_a_cell_gives_the_same_twice_and_is_resumed(tmp_path: Path):
    options = ("--epochs", "1", "--learning-rates", "1e-3")
    first = tuned(tmp_path, *options)
    again = tuned(tmp_path, *options, "--overwrite")
    assert first["epoch_scores"] == again["epoch_scores"]
    assert first["train_loss"] == again["train_loss"]
    assert tuned(tmp_path, *options, "--resume") == again


def test_texts_alone_are_enough_for_simcse(tmp_path: Path):
    (tmp_path / "texts.txt").write_text("甲\n乙\n甲\n\n丙\n", encoding="utf-8")
    _, dev = written(tmp_path)
    task, _ = open_similarity(tmp_path / "texts.txt", dev, Layout(), Tuning(), "simcse", "mean")
    assert task.train.texts == ["甲", "乙", "丙"]
    assert task.train.lines == [1, 2, 5]


def test_each_text_is_a_row_and_the_same_text_has_the_same_number(tmp_path: Path):
    file = tmp_path / "p.tsv"
    file.write_text("text_a\ttext_b\tlabel\n甲乙\t丙\t2\n丙\t甲乙丁\t4\n", encoding="utf-8")
    task, _ = open_similarity(file, file, Layout(), Tuning(), "cosent", "mean")
    rows = encode_pairs(task.train, Tokenizer(load_vocabulary(None)), max_length=4)
    assert len(rows) == 2
    assert rows.lengths.tolist() == [4, 3, 3, 4]
    assert rows.targets[:, 0].tolist() == [0, 1, 0, 1]
    assert rows.targets[:, 1].tolist() == [0, 1, 1, 2]
    vocabulary = load_vocabulary(None)
    first = [vocabulary.cls_id, vocabulary.id_of("甲"), vocabulary.id_of("乙"), vocabulary.sep_id]
    assert rows.ids[:4].tolist() == first


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("text_a\tlabel\n甲\t1\n乙\t0\n", {}, "single texts"),
        ("text_a\ttext_b\tlabel\n甲\t乙\t1\n", {}, "every dev pair has the label 1"),
        ("text_a\ttext_b\tlabel\n甲\t乙\tyes\n", {}, "no number"),
        ("text_a\ttext_b\tlabel\n甲\t乙\t1\n丙\t丁\t0\n", {"tuning": Tuning(r_drop=1.0)}, "--patience alone"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(tmp_path: Path, content: str, options: dict, message: str):
    file = tmp_path / "pairs.tsv"
    file.write_text(content, encoding="utf-8")
    given = {"layout": Layout(), "tuning": Tuning(), "contrast": "cosent", "pooling": "mean"} | options
    with pytest.raises(UserError, match=message):
        open_similarity(file, file, **given)
