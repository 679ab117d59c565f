"""Model folders small enough to load in every test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from weixing.formats.huggingface import export_classifier, export_masked_lm
from weixing.model.encoder import Encoder
from weixing.model.heads import Classifier, MaskedLanguageModel, ProblemType
from weixing.model.initialisation import initialise
from weixing.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from weixing.zoo import Shape

POSITIONS = 24
VOCABULARY = Vocabulary([*SPECIAL_TOKENS, *"中国的首都是北南京上海你好世界一二三四五六七八九十。，", "hello", "##s"])
PROBLEMS: dict[ProblemType, tuple[str, ...]] = {
    "single_label_classification": ("体育", "财经", "娱乐"),
    "multi_label_classification": ("快", "新", "贵", "大"),
    "regression": ("分数",),
}


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of the tests' own, for these processes and what they start."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder / "weixing"


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
    """Folders of classifiers of the same shape, by what their outputs mean."""
    folders = {}
    for problem, labels in PROBLEMS.items():
        encoder = Encoder(Shape(2, 128, len(VOCABULARY), positions=POSITIONS))
        model = Classifier(encoder, len(labels), problem)
        initialise(model, "uer", seed=len(labels))
        with torch.no_grad():
            model.encoder.embeddings.token.weight *= 20
            model.output.weight *= 10
        folder = tmp_path_factory.mktemp("classifiers") / "model"
        export_classifier(model, VOCABULARY, labels, folder)
        folders[problem] = folder
    return folders
