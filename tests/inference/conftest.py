"""Model folders small enough to load in every test."""

import json
from pathlib import Path

import pytest
import torch

from weixing.files import write_json
from weixing.formats.huggingface import export_classifier, export_masked_lm
from weixing.model.encoder import Encoder
from weixing.model.heads import Classifier, MaskedLanguageModel
from weixing.model.initialisation import initialise
from weixing.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from weixing.zoo import Shape

POSITIONS = 24
VOCABULARY = Vocabulary([*SPECIAL_TOKENS, *"中国的首都是北南京上海你好世界一二三四五六七八九十。，", "hello", "##s"])
PROBLEMS = {
    "": ("体育", "财经", "娱乐"),
    "single_label_classification": ("好", "坏"),
    "multi_label_classification": ("快", "新", "贵", "大"),
    "regression": ("分数",),
}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 2/128 model of 24 positions with a vocabulary of 34 tokens."""
    model = MaskedLanguageModel(Shape(2, 128, len(VOCABULARY), positions=POSITIONS))
    initialise(model, "uer")
    with torch.no_grad():
        model.encoder.embeddings.token.weight *= 20  # scores far enough apart for an order
    folder = tmp_path_factory.mktemp("inference") / "small-model"
    export_masked_lm(model, VOCABULARY, folder)
    return folder


@pytest.fixture(scope="session")
def classifiers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of classifiers of the same shape, by the problem that their config.json names; one names none."""
    folders = {}
    for problem, labels in PROBLEMS.items():
        model = Classifier(Encoder(Shape(2, 128, len(VOCABULARY), positions=POSITIONS)), len(labels))
        initialise(model, "uer", seed=len(labels))
        with torch.no_grad():
            model.encoder.embeddings.token.weight *= 20
            model.output.weight *= 10
        folder = tmp_path_factory.mktemp("classifiers") / "model"
        export_classifier(model, VOCABULARY, labels, folder)
        if problem:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            write_json(folder / "config.json", config | {"problem_type": problem})
        folders[problem] = folder
    return folders
