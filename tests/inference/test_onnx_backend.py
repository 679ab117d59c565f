"""Converted graphs are kept in the user's cache, by what they are made of, and done without where there is none."""

from pathlib import Path

import numpy as np
import pytest

import weixing
from weixing.formats import onnx_graph
from weixing.inference.onnx_backend import cache_folder

TEXTS = ["中国", "北京是中国的首都，上海是上海"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weixing" / "onnx"


def test_a_graph_is_made_once_and_nothing_is_written_beside_the_model(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(folder.iterdir())
    first = weixing.load(str(folder), "onnx").features(TEXTS)
    assert [file.name[32:] for file in cache.iterdir()] == ["-features-float32.onnx"]
    monkeypatch.setattr(onnx_graph, "build", None)
    np.testing.assert_array_equal(weixing.load(str(folder), "onnx").features(TEXTS), first)
    assert sorted(folder.iterdir()) == before


def test_other_weights_and_another_precision_are_other_graphs(folder: Path, cache: Path) -> None:
    model = weixing.load(str(folder), "onnx")
    exact = model.features(TEXTS)
    weixing.load(str(folder), "onnx-int8").features(TEXTS)
    assert len(list(cache.iterdir())) == 2
    changed = weixing.load(str(folder), "onnx")
    changed.encoder.layers[0].attention.output.bias.data[:64] += 1
    assert np.abs(changed.features(TEXTS) - exact).max() > 0.1
    assert len(list(cache.iterdir())) == 3


def test_without_a_place_to_keep_it_the_graph_is_made_in_memory(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    expected = weixing.load(str(folder), "torch").features(TEXTS)
    np.testing.assert_allclose(weixing.load(str(folder), "onnx").features(TEXTS), expected, atol=1e-5)


def test_the_cache_is_where_the_system_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/weixing")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "weixing"
