"""Vectors of texts: losses, gradients and the exported folder beside sentence-transformers; that they learn."""

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tasks.conftest import BAD, FILLER, GOOD
from weixing.cli.main import run
from weixing.errors import UserError
from weixing.formats.sentence_transformers import export_embedder
from weixing.inference.model import load
from weixing.model.encoder import Encoder
from weixing.model.heads import Embedder
from weixing.tasks.cells import Cell
from weixing.tasks.encoding import encode_examples
from weixing.tasks.files import Examples, Task
from weixing.tasks.finetune import fine_tune
from weixing.tasks.kinds import objective_for
from weixing.tasks.logits import logits_of, plain_logits
from weixing.tasks.losses import Loss
from weixing.tasks.objectives import OneClass
from weixing.tasks.rows import Layout
from weixing.tasks.similarity import Similarity, cosent, in_batch
from weixing.tasks.steps import AutogradSteps
from weixing.tasks.tuning import Tuning
from weixing.text.tokenizer import Tokenizer
from weixing.text.vocabulary import Vocabulary

CPU = torch.device("cpu")
LOSSES = ("cosent", "in-batch", "simcse")


def examples(count: int, seed: int) -> Examples:
    """Pairs: alike if both have a good character, or both a bad one, among many others."""
    chance = random.Random(seed)
    texts: tuple[list[str], list[str]] = ([], [])
    labels = []
    for row in range(count):
        good = chance.random() < 0.5
        for kinds, some in zip((good, good == bool(row % 2)), texts, strict=True):
            words = [*chance.choices(FILLER, k=chance.randint(2, 6)), chance.choice(GOOD if kinds else BAD)]
            chance.shuffle(words)
            some.append("".join(words))
        labels.append(float(row % 2))
    return Examples(Path("pairs.tsv"), *texts, labels, list(range(count)), 0, kind="similarity")


def write_tsv(path: Path, rows: Examples) -> None:
    lines = zip(rows.labels, rows.texts, rows.second_texts or (), strict=True)
    content = "".join(f"{label:g}\t{first}\t{second}\n" for label, first, second in lines)
    path.write_text("label\ttext_a\ttext_b\n" + content, encoding="utf-8")


def task_of(train: int = 300, dev: int = 100) -> Task:
    return Task("alike", examples(train, 1), examples(dev, 2), (), "similarity")


@pytest.fixture(scope="module", params=["mean", "cls"])
def pooling(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def theirs(encoder: Encoder, vocabulary: Vocabulary, pooling, tmp_path: Path):
    """The same model in the hands of sentence-transformers, without dropout."""
    sentence_transformers = pytest.importorskip("sentence_transformers")
    with torch.no_grad():  # vectors far apart, or gradients would be small differences of large numbers
        for parameter in encoder.parameters():
            parameter.add_(
                0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel()))
            )
    export_embedder(Embedder(encoder, pooling), vocabulary, tmp_path / "model")
    model = sentence_transformers.SentenceTransformer(str(tmp_path / "model"), device="cpu")
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


@pytest.mark.parametrize("by", LOSSES)
def test_loss_and_gradients_are_those_of_sentence_transformers(by, theirs, encoder, tokenizer, pooling):
    from sentence_transformers.sentence_transformer import losses

    objective = Similarity((), by, pooling, 20.0)
    rows = objective.trained_on(examples(24, 3))
    if by == "cosent":
        rows = replace(rows, labels=[float(row % 5) for row in range(len(rows))])  # graded, with ties
    batch_rows = np.arange(3, 11)
    texts = [[some[row] for row in batch_rows] for some in (rows.texts, rows.second_texts)]
    labels = torch.tensor([rows.labels[row] for row in batch_rows])
    loss = losses.CoSENTLoss(theirs) if by == "cosent" else losses.MultipleNegativesRankingLoss(theirs)
    if by == "in-batch":
        both = {"directions": ("query_to_doc", "doc_to_query"), "partition_mode": "per_direction"}
        loss = losses.MultipleNegativesRankingLoss(theirs, **both)
        rows = replace(rows, labels=[1.0] * len(rows))
    expected = loss([theirs.preprocess(some) for some in texts], labels)
    expected.backward()

    model = objective.model(encoder)
    encoded = encode_examples(rows, objective, tokenizer, 32)
    batch = encoded.batch(torch.from_numpy(encoded.texts_of(batch_rows)), 24)
    steps = AutogradSteps(model, Loss(objective), "float32")
    assert steps.gradients(batch, 0).item() == pytest.approx(expected.item(), rel=1e-5)
    bert = theirs[0].auto_model
    layer, their_layer = encoder.layers[0], bert.encoder.layer[0]
    for own, other in (
        (encoder.embeddings.token.weight, bert.embeddings.word_embeddings.weight),
        (encoder.embeddings.position.weight, bert.embeddings.position_embeddings.weight),
        (encoder.embeddings.norm.weight, bert.embeddings.LayerNorm.weight),
        (layer.attention.output.weight, their_layer.attention.output.dense.weight),
        (layer.feed_forward.inner.bias, their_layer.intermediate.dense.bias),
        (layer.feed_forward_norm.bias, their_layer.output.LayerNorm.bias),
    ):
        assert (own.grad - other.grad).norm() < 1e-4 * other.grad.norm()


def test_sentence_transformers_makes_the_vectors_of_features(theirs, pooling, tmp_path):
    texts = ["天地好", "美", "日月星云山水" * 12]  # the last is longer than the model
    own = load(str(tmp_path / "model"), "torch", "float32").features(texts, pooling)
    np.testing.assert_allclose(theirs.encode(texts), own, rtol=1e-4, atol=1e-5)
    assert theirs.similarity_fn_name == "cosine"


def test_cosent_of_a_hand_worked_batch():
    scores, labels = torch.tensor([5.0, 1.0, 3.0]), torch.tensor([2.0, 1.0, 1.0])
    assert cosent(scores, labels).item() == pytest.approx(np.log(1 + np.exp(1.0 - 5.0) + np.exp(3.0 - 5.0)), rel=1e-6)
    assert cosent(scores, torch.ones(3)).item() == 0


def test_a_text_is_not_held_against_itself_and_unlike_rows_have_their_columns():
    scores = 4 * torch.randn(4, 4, generator=torch.Generator().manual_seed(3))
    alike = torch.tensor([True, False, True, True])
    texts, others = torch.tensor([0, 1, 2, 0]), torch.tensor([3, 4, 3, 5])  # of rows 0 and 3, of columns 0 and 2
    columns = {0: [0, 1, 3], 2: [1, 2, 3], 3: [0, 1, 2, 3]}
    expected = sum((scores[row, some].logsumexp(0) - scores[row, row]).item() for row, some in columns.items())
    assert in_batch(scores, alike, texts, others).item() == pytest.approx(expected, rel=1e-6)


def test_a_batch_in_which_nothing_is_alike_teaches_nothing_and_is_no_nan():
    vectors = torch.randn(6, 8, requires_grad=True)
    targets = torch.stack([torch.zeros(6), torch.arange(6)], 1)
    objective = Similarity((), "in-batch")
    (objective.loss(vectors, targets) / objective.count(targets)).backward()
    assert vectors.grad is not None
    assert not vectors.grad.any()


def test_labels_in_the_upper_half_are_alike_in_batch():
    rows = replace(examples(5, 1), labels=[1.0, 2.0, 3.0, 4.0, 5.0])
    assert Similarity((), "in-batch").trained_on(rows).labels == [0, 0, 0, 1, 1]
    assert Similarity((), "in-batch").trained_on(replace(rows, labels=[1.0] * 5)).labels == [1] * 5
    assert Similarity((), "cosent").trained_on(rows).labels == rows.labels


@pytest.mark.parametrize("pairs", [True, False])
def test_simcse_reads_a_text_twice_with_other_dropout_and_takes_each_text_once(pairs, encoder, tokenizer):
    rows = examples(8, 3)
    rows = replace(rows, texts=[*rows.texts[:7], rows.texts[0]], second_texts=rows.second_texts if pairs else None)
    objective = Similarity((), "simcse")
    trained = objective.trained_on(rows)
    distinct = {*rows.texts, *(rows.second_texts or ())}
    assert trained.texts == trained.second_texts
    assert (set(trained.texts), len(trained.texts)) == (distinct, len(distinct))
    encoded = encode_examples(trained, objective, tokenizer, 32)
    at = encoded.texts_of(np.arange(4))
    batch = encoded.batch(torch.from_numpy(at), 24)
    assert torch.equal(*batch.ids.chunk(2))
    model = objective.model(encoder).train()
    encoder.set_dropout(0.1)
    first, second = model(batch.ids, batch.token_types, batch.attention).detach().chunk(2)
    assert not torch.isclose(first, second).all(1).any()


@pytest.mark.parametrize("by", ["cosent", "in-batch"])
def test_vectors_of_what_is_alike_come_near(by, encoder, tokenizer):
    task = task_of()
    objective = objective_for(task, Tuning(contrast=by))
    train, dev = (
        encode_examples(some, objective, tokenizer, 32) for some in (objective.trained_on(task.train), task.dev)
    )
    vectors = logits_of(lambda batches: plain_logits(objective.model(encoder), "float32", batches), dev, max_length=32)
    before = objective.score(objective.predictions(vectors, None), dev.labels).percent
    done = fine_tune(
        encoder, train, dev, objective, Cell(6, 16, 1e-3, 7), max_length=32, device=CPU, precision="float32", threads=1
    )
    assert before < 70
    assert done.score > 90
    assert done.metric == "auc"
    assert isinstance(done.model, Embedder)


def test_scores_are_judged_by_rank_and_zero_and_one_by_auc():
    task = task_of(8, 8)
    assert objective_for(task).metric == "auc"
    graded = replace(task, dev=replace(task.dev, labels=[1.0, 2.0, 3.0, 4.0, 5.0, 0.0, 0.5, 1.0]))
    objective = objective_for(graded)
    assert objective.metric == "spearman"
    assert objective.score(np.array([0.1, 0.2, 0.9]), [0.0, 3.0, 5.0]).percent == pytest.approx(100)
    assert objective_for(task).score(np.array([0.1, 0.2, 0.9]), [0.0, 1.0, 0.0]).percent == pytest.approx(50)


@pytest.mark.parametrize(
    ("name", "training"),
    [
        ("texts.tsv", "text_a\n天地\n山水火\n风雨\n"),
        ("texts.jsonl", '{"sentence": "天地"}\n{"sentence": "山水"}\n'),
        ("texts.txt", "天地\n\n山水\n天地\n"),
    ],
)
def test_the_command_takes_texts_without_labels_and_writes_what_sentence_transformers_opens(
    name, training, model_folder, tmp_path, capsys
):
    dev = examples(20, 2)
    (tmp_path / name).write_text(training, encoding="utf-8")
    write_tsv(tmp_path / "dev.tsv", dev)
    out = tmp_path / "out"
    files = ["--train", str(tmp_path / name), "--dev", str(tmp_path / "dev.tsv")]
    options = ["--model", model_folder, "--max-length", "32", "--threads", "1", "--device", "cpu"]
    command = [
        "finetune",
        "--task",
        "similarity",
        *files,
        *options,
        "--out",
        str(out),
        "--contrast",
        "simcse",
        "--json",
    ]
    assert run([*command, "--pooling", "cls", "--scale", "10"]) == 0
    assert json.loads(capsys.readouterr().out)["task"] == "texts"
    result = json.loads((out / "results.jsonl").read_text())
    assert (result["metric"], result["train_rows"]) == ("auc", 3 if name == "texts.tsv" else 2)
    assert result["tuning"] == {"contrast": "simcse", "pooling": "cls", "scale": 10.0}
    assert json.loads((out / "model" / "1_Pooling" / "config.json").read_text())["pooling_mode_cls_token"] is True
    (row, *_) = map(json.loads, next((out / "predictions").iterdir()).read_text().splitlines())
    model = load(str(out / "model"), "torch", "float32")
    first, second = model.features([dev.texts[0], dev.second_texts[0]], "cls")
    cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    assert row["predicted"] == pytest.approx(cosine, abs=0.02)  # training may have computed in bf16


def test_a_cell_gives_the_same_twice_and_is_resumed(model_folder, tmp_path):
    for name, rows in (("train", 64), ("dev", 20)):
        write_tsv(tmp_path / f"{name}.tsv", examples(rows, rows))
    files = ["--train", str(tmp_path / "train.tsv"), "--dev", str(tmp_path / "dev.tsv"), "--out", str(tmp_path / "out")]
    options = ["--model", model_folder, "--max-length", "32", "--threads", "1", "--device", "cpu", "--epochs", "1"]
    command = ["finetune", "--task", "similarity", *files, *options]
    assert run(command) == 0
    first = (tmp_path / "out" / "results.jsonl").read_text()
    assert run([*command, "--resume"]) == 0
    assert (tmp_path / "out" / "results.jsonl").read_text() == first
    assert run([*command, "--overwrite"]) == 0
    again = json.loads((tmp_path / "out" / "results.jsonl").read_text())
    before = json.loads(first)
    assert {**again, "seconds": 0} == {**before, "seconds": 0}


@pytest.mark.parametrize(
    ("by", "labels", "complaint"),
    [
        ("cosent", [1.0, 1.0, 1.0, 1.0], "every training row has the label 1"),
        ("in-batch", [0.0, 0.0, 0.0, 0.0], "every training row has the label 0"),
    ],
)
def test_what_a_loss_cannot_use_is_refused(by, labels, complaint):
    with pytest.raises(UserError, match=complaint):
        Similarity((), by).trained_on(replace(examples(4, 1), labels=labels))


@pytest.mark.parametrize(
    ("tuning", "kind"),
    [(Tuning(r_drop=1.0), "similarity"), (Tuning(teachers=("t",)), "similarity"), (Tuning(contrast="simcse"), "class")],
)
def test_what_does_not_go_together_is_refused(tuning, kind):
    task = task_of(8, 8)
    with pytest.raises(UserError, match="task similarity"):
        objective_for(replace(task, kind=kind, labels=("0", "1")), tuning)


@pytest.mark.parametrize(
    ("train", "dev", "complaint"),
    [
        ("label\ttext_a\n1\t天\n0\t地\n", "label\ttext_a\ttext_b\n1\t天\t地\n0\t山\t地\n", "single texts"),
        ("label\ttext_a\ttext_b\n1\t天\t地\n", "label\ttext_a\ttext_b\n1\t天\t地\n1\t山\t地\n", "every dev row"),
        ("label\ttext_a\ttext_b\nyes\t天\t地\n", "label\ttext_a\ttext_b\n1\t天\t地\n", "no number"),
    ],
)
def test_files_that_are_no_similarity_are_refused(train, dev, complaint, tmp_path):
    from weixing.tasks.named import open_task

    for name, text in (("train", train), ("dev", dev)):
        (tmp_path / f"{name}.tsv").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=complaint):
        open_task("similarity", train=tmp_path / "train.tsv", dev=tmp_path / "dev.tsv")


def test_alone_it_means_the_built_in_pairs():
    from weixing.tasks.named import open_task

    task = open_task("similarity")
    assert (task.kind, len(task.train), set(task.dev.labels)) == ("similarity", 4000, {0.0, 1.0})
    unlabelled = open_task("similarity", layout=Layout(labelled=False))
    assert set(unlabelled.train.labels) == {1.0}
    assert set(unlabelled.dev.labels) == {0.0, 1.0}


def test_a_pair_is_read_apart_and_not_as_one_row(tokenizer: Tokenizer):
    rows = examples(5, 1)
    apart = encode_examples(rows, Similarity(()), tokenizer, 32)
    together = encode_examples(replace(rows, labels=["0"] * 5), OneClass(("0", "1")), tokenizer, 64)
    assert (len(apart), len(apart.starts), len(together.starts)) == (5, 10, 5)
    assert apart.texts_of(np.array([3, 0])).tolist() == [3, 0, 8, 5]
    seconds = apart.batch(torch.tensor([8]), 16).ids[0]
    ids, _ = tokenizer.encode_batch([rows.second_texts[3]])
    expected = [tokenizer.vocabulary.cls_id, *ids, tokenizer.vocabulary.sep_id]
    assert seconds[seconds != apart.pad_id].tolist() == expected


def test_features_take_the_pooling_that_the_folder_names(encoder: Encoder, vocabulary: Vocabulary, pooling, tmp_path):
    export_embedder(Embedder(encoder, pooling), vocabulary, tmp_path / "model")
    model, texts = load(str(tmp_path / "model"), precision="float32"), [GOOD[0] + FILLER[0], BAD[0]]
    np.testing.assert_array_equal(model.features(texts), model.features(texts, pooling=pooling))
    other = "cls" if pooling == "mean" else "mean"
    assert not np.allclose(model.features(texts), model.features(texts, pooling=other), atol=1e-3)
