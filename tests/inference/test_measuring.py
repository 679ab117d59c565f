"""Every way that is measured gives the vectors of the model; a process that fails is named."""

from pathlib import Path

import numpy as np
import pytest
import torch

import weixing
from weixing.errors import UserError
from weixing.inference import measuring
from weixing.inference.choosing import WAYS, choose
from weixing.inference.measuring import figures, measure, sample_texts, ways_here

TEXTS = ["中国", "", "北京是中国的首都，上海是上海", "你好"]


def test_the_ways_here_are_those_that_can_be_had_in_their_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ways_here() == [way for way in WAYS if choose(*way, torch.device("cpu")) == way]
    monkeypatch.setattr(measuring, "_installed", lambda library: library != "onnxruntime")
    assert {way.backend for way in ways_here()} == {"compiled", "torch"}
    monkeypatch.setattr(measuring, "pick_device", lambda: torch.device("cuda"))
    monkeypatch.setattr("weixing.inference.choosing.has_bf16", lambda device: True)
    assert ways_here() == [("torch", "float32"), ("torch", "bf16")]


@pytest.mark.parametrize("way", [*map(" ".join, ways_here()), "transformers float32"])
def test_a_way_gives_the_vectors_of_the_model(way: str, folder: Path) -> None:
    vectors, found = figures(str(folder), way, TEXTS, 0)
    assert min(found["texts_per_second"], found["latency_ms"], found["memory_mb"]) > 0
    exact = weixing.load(str(folder), "torch", "float32").features(TEXTS)
    cosines = (vectors * exact).sum(1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(exact, axis=1)
    assert (cosines > (0.999 if "int8" in way else 0.99999)).all()


def test_a_process_that_fails_is_named_with_its_last_word(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"compiled float32 ended with 1: .*there is no model"):
        measure(str(tmp_path / "nowhere"), TEXTS, 0, lambda name: None)


def test_the_built_in_texts_are_of_many_lengths() -> None:
    lengths = {len(text) for text in sample_texts()}
    assert len(sample_texts()) == 512
    assert min(lengths) >= 8
    assert len(lengths) > 40
