"""Folders whose files are damaged in any way: told by a UserError, or read."""

import json
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weixing.errors import UserError
from weixing.formats.huggingface import export_classifier
from weixing.formats.inspection import inspect
from weixing.formats.reading import read_model
from weixing.model.heads import Classifier
from weixing.text.vocabulary import Vocabulary

in_a_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=80)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture
def folder(tmp_path: Path, classifier: Classifier, vocabulary: Vocabulary) -> Path:
    export_classifier(classifier, vocabulary, ["体育", "财经", "娱乐"], tmp_path / "model")
    return tmp_path / "model"


def try_all(folder: Path) -> None:
    with suppress(UserError):
        read_model(str(folder))
    with suppress(UserError):
        inspect(str(folder))


def damaged(content: bytes, data: st.DataObject, near: int) -> bytes:
    """Some bytes changed among the first `near`, and perhaps the end cut off."""
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 8))):
        changed[data.draw(st.integers(0, min(near, len(changed)) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del changed[data.draw(st.integers(0, len(changed))) :]
    return bytes(changed)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "vocab.txt"])
@given(data=st.data())
@in_a_folder
def test_bytes_changed_anywhere(file: str, data: st.DataObject, folder: Path) -> None:
    original = (folder / file).read_bytes()
    (folder / file).write_bytes(damaged(original, data, 4_000))
    try_all(folder)
    (folder / file).write_bytes(original)


@given(data=st.data())
@in_a_folder
def test_any_value_in_any_field_of_a_config(data: st.DataObject, folder: Path) -> None:
    original = (folder / "config.json").read_bytes()
    config = json.loads(original)
    for field in data.draw(st.lists(st.sampled_from(sorted(config)), min_size=1, max_size=3)):
        config[field] = data.draw(JSON_VALUES)
    (folder / "config.json").write_text(json.dumps(config))
    try_all(folder)
    (folder / "config.json").write_bytes(original)


@given(index=JSON_VALUES | st.fixed_dictionaries({"weight_map": JSON_VALUES}))
@in_a_folder
def test_any_index_of_shards(index: object, folder: Path) -> None:
    if (folder / "model.safetensors").exists():
        shutil.move(folder / "model.safetensors", folder / "model-1.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError):
        read_model(str(folder))


@pytest.mark.parametrize("sizes", [[], [0], [3], [1, 128], [128, 0], [2**20, 2**20]])
def test_tensors_of_any_size(sizes: list[int], folder: Path) -> None:
    """Also of sizes that the file does not hold."""
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    if len(sizes) == 2 and sizes[0] == 2**20:
        content = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(content.replace(b"[25,128]", b"[1048576,1048576]", 1))
    else:
        tensors["bert.embeddings.word_embeddings.weight"] = torch.zeros(sizes)
        (folder / "model.safetensors").write_bytes(safetensors.torch.save(tensors))
    with pytest.raises(UserError, match=r"model\.safetensors"):
        read_model(str(folder))
    with suppress(UserError):
        inspect(str(folder))
