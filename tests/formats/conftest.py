"""A small vocabulary and models with distinct logits."""

import json
import os
from collections.abc import Callable

import pytest
import torch

from weixing.model.encoder import Encoder
from weixing.model.heads import Classifier, MaskedLanguageModel
from weixing.model.initialisation import initialise
from weixing.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from weixing.zoo import Shape


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary([*SPECIAL_TOKENS, *"中国的首都是北南京上海你好世界。，", "hello", "##s", "2024"])


@pytest.fixture
def shape(vocabulary: Vocabulary) -> Shape:
    return Shape(2, 128, len(vocabulary), positions=48)


@pytest.fixture
def model(shape: Shape) -> MaskedLanguageModel:
    model = MaskedLanguageModel(shape)
    initialise(model, "uer")
    with torch.no_grad():
        model.encoder.embeddings.token.weight *= 20
    return model


@pytest.fixture
def classifier(shape: Shape) -> Classifier:
    classifier = Classifier(Encoder(shape), labels=3)
    initialise(classifier, "uer")
    with torch.no_grad():
        classifier.output.weight *= 50
    return classifier


@pytest.fixture
def measured() -> Callable[[str, str, str, float], None]:
    """Notes format, direction, what was compared with what, and the largest difference, where `make formats` asks."""
    file = os.environ.get("FORMATS_MEASURED")

    def note(form: str, direction: str, against: str, difference: float) -> None:
        if file:
            line = {"format": form, "direction": direction, "against": against, "largest_difference": difference}
            with open(file, "a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")

    return note
