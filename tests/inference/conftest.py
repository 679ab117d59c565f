"""A model folder small enough to load in every test."""

from pathlib import Path

import pytest
import torch

from weixing.formats.huggingface import export_masked_lm
from weixing.model.heads import MaskedLanguageModel
from weixing.model.initialisation import initialise
from weixing.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from weixing.zoo import Shape

POSITIONS = 24


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 2/128 model of 24 positions with a vocabulary of 34 tokens."""
    vocabulary = Vocabulary(
        [*SPECIAL_TOKENS, *"中国的首都是北南京上海你好世界一二三四五六七八九十。，", "hello", "##s"]
    )
    model = MaskedLanguageModel(Shape(2, 128, len(vocabulary), positions=POSITIONS))
    initialise(model, "uer")
    with torch.no_grad():
        model.encoder.embeddings.token.weight *= 20  # scores far enough apart for an order
    folder = tmp_path_factory.mktemp("inference") / "small-model"
    export_masked_lm(model, vocabulary, folder)
    return folder
