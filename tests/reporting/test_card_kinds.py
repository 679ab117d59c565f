"""Cards of classifiers and of encoders alone; what `weixing card` prints and refuses; metadata that is refused."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard

from weixing.cli.main import run
from weixing.errors import UserError
from weixing.formats.bert import bert_of
from weixing.formats.huggingface import export_classifier, write_folder
from weixing.formats.sentence_transformers import FILES, export_embedder
from weixing.model.encoder import Encoder
from weixing.model.heads import Embedder, TokenClassifier
from weixing.model.initialisation import initialise
from weixing.reporting.card import card, write_card
from weixing.reporting.card_facts import gather
from weixing.reporting.card_metadata import read_metadata
from weixing.reporting.publish import plan
from weixing.tasks.results import read_results
from weixing.text.vocabulary import Vocabulary
from weixing.zoo import Shape

TASK = "label\ttext_a\n" + "".join(f"{number % 2}\t{chr(0x4E00 + 37 * number)}\n" for number in range(40))


@pytest.fixture(scope="module")
def tuned(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `weixing finetune` makes of the second run."""
    folder = tmp_path_factory.mktemp("tuned")
    for name in ("train", "dev"):
        (folder / f"{name}.tsv").write_text(TASK, encoding="utf-8")
    command = ["finetune", "--model", str(runs / "second"), "--train", str(folder / "train.tsv"), "--out"]
    command += [str(folder / "out"), "--dev", str(folder / "dev.tsv"), "--epochs", "1", "--batch-sizes", "8"]
    assert run([*command, "--learning-rates", "1e-3", "--seeds", "7,8", "--max-length", "16"]) == 0
    return folder / "out"


def test_a_fine_tuned_model_tells_its_task_its_labels_and_what_it_came_from(
    tuned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = read_results([tuned])
    facts = gather(str(tuned), results=results)
    text = card(facts, ("zh", "en"))
    data = ModelCard(text).data
    assert data.pipeline_tag == "text-classification"
    assert "mask_token" not in data
    assert [result.metric_value for result in data.eval_results] == [round(max(r.score for r in results), 2)]
    task = results[0].task
    assert f"由 `weixing finetune` 从 `second` 在任务 `{task}` 上微调得到：训练集 40 行，验证集 40 行。" in text
    assert f"Fine-tuned by `weixing finetune` from `second` on the task `{task}`, 40 rows of training and" in text
    assert "Labels: 0, 1" in text
    monkeypatch.chdir(tuned / "model")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    *setup, call = blocks[0].strip().splitlines()
    names: dict = {}
    exec("\n".join(setup), names)
    theirs = eval(call, names)[0]
    assert theirs["label"] in ("0", "1")
    exec(blocks[2].replace("model.classify", "answer = model.classify"), names)
    # The card's line leaves the precision to the machine: bf16 where that is quickest.
    assert names["answer"][0][0] == theirs | {"score": pytest.approx(theirs["score"], abs=2e-2)}


def test_a_tagger_is_one_of_tokens(tmp_path: Path, tiny_vocabulary: Vocabulary, monkeypatch) -> None:
    model = TokenClassifier(Encoder(Shape(1, 64, len(tiny_vocabulary), positions=16)), 3)
    initialise(model)
    export_classifier(model, tiny_vocabulary, ["O", "B-PER", "I-PER"], tmp_path / "tagger")
    text = card(gather(str(tmp_path / "tagger")), ("zh", "en"))
    assert ModelCard(text).data.pipeline_tag == "token-classification"
    assert "类别：O, B-PER, I-PER" in text
    monkeypatch.chdir(tmp_path / "tagger")
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    assert 'pipeline("token-classification"' in code
    exec(code, {})


def test_sentence_vectors_are_told_from_an_encoder_alone_and_published_whole(
    tmp_path: Path, tiny_vocabulary: Vocabulary, monkeypatch
) -> None:
    pytest.importorskip("sentence_transformers")
    encoder = Encoder(Shape(1, 64, len(tiny_vocabulary), positions=16))
    initialise(encoder)
    folder = tmp_path / "vectors"
    export_embedder(Embedder(encoder, "cls"), tiny_vocabulary, folder)
    facts = gather(str(folder), license="mit")
    text = card(facts, ("zh", "en"))
    data = ModelCard(text).data
    assert (data.pipeline_tag, data.library_name) == ("sentence-similarity", "sentence-transformers")
    write_card(text, folder / "README.md", facts)  # in place of the short one
    monkeypatch.chdir(folder)
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict = {}
    exec(blocks[0], names)
    exec(blocks[2].replace("model.features", "ours = model.features"), names)
    np.testing.assert_allclose(names["ours"][0], names["vectors"][0], atol=1e-2)
    assert {file.path for file in plan(folder, "me/vectors").files} >= set(FILES)


def test_an_encoder_alone_has_no_masks_to_fill(tmp_path: Path, tiny_vocabulary: Vocabulary) -> None:
    encoder = Encoder(Shape(1, 64, len(tiny_vocabulary), positions=16))
    initialise(encoder)
    (tmp_path / "encoder").mkdir()
    write_folder(bert_of(encoder), tiny_vocabulary, tmp_path / "encoder", dtype=torch.float16)
    text = card(gather(str(tmp_path / "encoder")), ("zh", "en"))
    assert ModelCard(text).data.pipeline_tag == "feature-extraction"
    assert "pipeline(" not in text
    assert "model.fill_mask" not in text
    assert "BertModel.from_pretrained" in text
    assert "| weights (float16) |" in text


def test_the_verb_writes_in_place_and_says_what_it_found(runs: Path, tuned: Path, tmp_path: Path, capsys) -> None:
    shutil.copytree(runs / "second", tmp_path / "mine", ignore=shutil.ignore_patterns("checkpoints"))
    command = ["card", "--model", str(tmp_path / "mine"), "--results", str(tuned), "--repo", "me/mine"]
    assert run([*command, "--license", "mit", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    file = tmp_path / "mine" / "model" / "README.md"
    assert said == {
        "model": "mine",
        "task": "fill-mask",
        "parameters": Shape(1, 64, 404).parameters,
        "stages": 2,
        "results": 2,
        "license": "mit",
        "output": str(file),
    }
    assert "训练数据与过程" in file.read_text(encoding="utf-8")
    assert sorted(os.listdir(tmp_path / "mine")) == sorted({*os.listdir(runs / "second")} - {"checkpoints"})
    assert run(["card", "--model", str(tmp_path / "mine"), "--lang", "zh", "--out", str(tmp_path / "zh.md")]) == 0
    assert "no licence was stated" in capsys.readouterr().err
    assert "## English" not in (tmp_path / "zh.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "2/128", "--out", "x.md"], "is a shape"),
        (["--model", "some/model"], "no folder here to put a README.md in"),
        (["--repo", "tiny"], "--repo tiny"),
        (["--repo", "me/tiny@v1"], "--repo me/tiny@v1"),
        (["--license", "Apache 2.0"], "--license Apache 2.0"),
        (["--dataset", "my corpus"], "--dataset my corpus"),
        (["--run", "nowhere"], "there is no run.json of a run here"),
        (["--results", "nowhere.jsonl"], "there is no such file or folder"),
        (["--out", "by_hand.md"], "by hand"),
    ],
)
def test_what_is_wrong_is_said(runs: Path, tmp_path: Path, monkeypatch, capsys, options: list[str], message: str):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "by_hand.md").write_text("# mine\n")
    before = sorted(os.listdir(tmp_path))
    options = options if "--model" in options else ["--model", str(runs / "second"), "--out", "card.md", *options]
    assert run(["card", *options]) == 2
    assert message in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("# no head", "no metadata at its head"),
        ("---\nlicense: mit\n", "no metadata at its head"),
        ("---\nlicense: [\n---\n", "its metadata is no YAML"),
        ("---\n- a list\n---\n", "its metadata is wrong"),
        ("---\nmodel-index: 3\n---\n", "its metadata is wrong"),
        ("---\nmodel-index:\n- name: a\n  results: []\n- name: b\n---\n", "its metadata is wrong"),
        ("---\nlanguage: Chinese\n---\n", "language is 'Chinese'"),
        ("---\nlicense: Apache 2.0\n---\n", "license is 'Apache 2.0'"),
        ("---\nlicense: 3\n---\n", "license is 3"),
        ("---\npipeline_tag: [fill-mask]\n---\n", "pipeline_tag is"),
        ("---\ntags:\n- 1\n---\n", "tags is"),
    ],
)
def test_metadata_that_the_hub_would_refuse_is_refused(head: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        read_metadata(head, Path("README.md"))
    assert str(caught.value).startswith("README.md: ")


def test_metadata_of_others_is_read() -> None:
    head = "---\nlanguage:\n- zh\n- en\nlicense: cc-by-nc-4.0\ntags: x\nwidget:\n- text: a\n---\n# other\n"
    assert read_metadata(head, Path("README.md")).license == "cc-by-nc-4.0"
