"""Model folders small enough for every test, and a service of them."""

from collections.abc import Iterator

import pytest
import torch

from tests.serving.running import Running, running
from weixing.formats.huggingface import export_classifier, export_masked_lm
from weixing.inference.model import Model
from weixing.model.encoder import Encoder
from weixing.model.heads import Classifier, MaskedLanguageModel
from weixing.model.initialisation import initialise
from weixing.serving.loading import loader
from weixing.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from weixing.zoo import Shape

POSITIONS = 24
CHARACTERS = "中国的首都是北南京上海你好世界一二三四五六七八九十。，"
LABELS = ("good", "bad", "neither")


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Two masked language models, ``first`` and ``second``, and a ``classifier``, of 24 positions."""
    vocabulary = Vocabulary([*SPECIAL_TOKENS, *CHARACTERS, "hello", "##s"])
    folder = tmp_path_factory.mktemp("serving")
    for seed, name in enumerate(("first", "second")):
        model = MaskedLanguageModel(Shape(1, 64, len(vocabulary), positions=POSITIONS))
        initialise(model, "uer", seed=seed)
        with torch.no_grad():
            model.encoder.embeddings.token.weight *= 20  # scores far enough apart for an order
        export_masked_lm(model, vocabulary, folder / name)
    classifier = Classifier(Encoder(Shape(1, 64, len(vocabulary), positions=POSITIONS)), len(LABELS))
    initialise(classifier, "uer", seed=2)
    with torch.no_grad():
        classifier.output.weight *= 50
        classifier.encoder.embeddings.token.weight *= 20
    export_classifier(classifier, vocabulary, LABELS, folder / "classifier")
    return {name: str(folder / name) for name in ("first", "second", "classifier")}


@pytest.fixture(scope="session")
def models(folders: dict[str, str]) -> dict[str, Model]:
    """The same models in Python."""
    load = loader("auto", "float32")
    return {name: load(folder) for name, folder in folders.items()}


@pytest.fixture(scope="session")
def service(folders: dict[str, str]) -> Iterator[Running]:
    """A service of all of them with the limits that it has by default."""
    with running(folders, loader("auto", "float32")) as service:
        yield service
