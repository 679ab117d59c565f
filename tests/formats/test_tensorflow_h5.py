"""`tf_model.h5`: files of transformers are read, ours are laid out as theirs, damaged ones are told."""

import re
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.golden.known_values import known_values
from weixing.errors import UserError
from weixing.formats.huggingface_keys import all_names
from weixing.formats.tensorflow_h5 import read_h5, write_h5
from weixing.formats.tensorflow_names import h5_name, is_transposed_in_h5

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "tf_h5"
PRETRAINING = GOLDEN / "TFBertForPreTraining.h5"
CLASSIFICATION = GOLDEN / "TFBertForSequenceClassification.h5"


def described(path: Path) -> dict[str, object]:
    """Everything in an HDF5 file: attributes, lists of names sorted; and datasets, under every name that they have."""

    def text(value: object) -> object:
        return value.decode() if isinstance(value, bytes) else value

    found: dict[str, object] = {}

    def add(place: str, item: h5py.Group | h5py.Dataset) -> None:
        for key, value in item.attrs.items():
            is_list = isinstance(value, np.ndarray)
            found[f"{place} {key}"] = sorted(map(text, value)) if is_list else text(value)
        if isinstance(item, h5py.Dataset):
            found[place] = item[()].tolist()
            return
        for key, inner in item.items():
            add(f"{place}/{key}", inner)

    with h5py.File(path) as file:
        add("", file)
    return found


@pytest.mark.parametrize(("file", "count"), [(PRETRAINING, 30), (CLASSIFICATION, 25)])
def test_files_that_transformers_wrote_are_read_exactly(file: Path, count: int) -> None:
    tensors = read_h5(file)
    assert len(tensors) == count
    for name, tensor in tensors.items():
        assert name in all_names(1)
        theirs = tensor.T if is_transposed_in_h5(name) else tensor
        assert np.array_equal(theirs.numpy(), known_values(h5_name(name), theirs.shape)), name
    assert tensors["bert.encoder.layer.0.intermediate.dense.weight"].shape == (24, 16)


def test_a_file_of_ours_is_what_transformers_writes(tmp_path: Path) -> None:
    write_h5(tmp_path / "tf_model.h5", read_h5(PRETRAINING))
    ours, theirs = described(tmp_path / "tf_model.h5"), described(PRETRAINING)
    assert ours.keys() == theirs.keys()
    assert ours == theirs


def test_tensors_of_any_precision_come_back_as_float32(tmp_path: Path) -> None:
    tensors = {name: tensor.bfloat16() for name, tensor in read_h5(CLASSIFICATION).items()}
    write_h5(tmp_path / "tf_model.h5", tensors)
    back = read_h5(tmp_path / "tf_model.h5")
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensors[name].float()) for name in tensors)
    assert all(tensor.is_contiguous() for tensor in back.values())


def test_names_too_many_for_one_attribute_are_listed_in_several(tmp_path: Path) -> None:
    names = [name for name in all_names(64) if name.startswith("bert.")]
    write_h5(tmp_path / "tf_model.h5", {name: torch.ones(1, 1) for name in names})
    with h5py.File(tmp_path / "tf_model.h5") as file:
        attributes = file["bert"].attrs
        assert "weight_names" not in attributes
        listed = [name.decode() for key in sorted(attributes) for name in attributes[key]]
    assert listed == [f"tf_bert_for_pre_training/{h5_name(name)}" for name in names]
    assert read_h5(tmp_path / "tf_model.h5").keys() == set(names)


def test_without_h5py_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    for use in (lambda: read_h5(PRETRAINING), lambda: write_h5(tmp_path / "tf_model.h5", {})):
        with pytest.raises(UserError, match=re.escape("pip install 'weixing[tf]'")):
            use()
    assert not list(tmp_path.iterdir())


def test_what_is_no_weights_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "tf_model.h5"
    with pytest.raises(UserError, match="there is no such file"):
        read_h5(file)
    for content in (b"", b"not HDF5", PRETRAINING.read_bytes()[:5000]):
        file.write_bytes(content)
        with pytest.raises(UserError, match=r"tf_model\.h5: these are no HDF5 weights of Keras, or they are damaged"):
            read_h5(file)


def test_weights_of_another_model_are_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "tf_model.h5", "w") as file:
        file["albert/tf_albert_model/albert/embeddings/weight:0"] = np.ones(3, "f4")
    with pytest.raises(UserError, match="1 weights that no BERT model has: albert/embeddings/weight:0"):
        read_h5(tmp_path / "tf_model.h5")


@pytest.mark.parametrize(
    "how",
    [
        {"shape": (1 << 20, 1 << 20), "dtype": "f4", "chunks": True, "compression": "gzip"},  # 4 TiB that take no room
        {"shape": (1 << 40,), "dtype": "f4"},
        {"shape": (4,), "dtype": "f4", "external": [("elsewhere", 0, 16)]},
        {"shape": (4,), "dtype": "i4"},
        {"shape": (4,), "dtype": h5py.string_dtype()},
    ],
)
def test_weights_that_are_elsewhere_compressed_or_no_numbers_are_refused(
    tmp_path: Path, how: dict[str, object]
) -> None:
    (tmp_path / "elsewhere").write_bytes(bytes(16))
    with h5py.File(tmp_path / "tf_model.h5", "w") as file:
        file.create_dataset("bert/tf_bert_model/bert/pooler/dense/bias:0", **how)
    with pytest.raises(UserError, match="is not stored as plain floating-point numbers"):
        read_h5(tmp_path / "tf_model.h5")


CHANGES = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(changes=CHANGES, length=st.one_of(st.just(1.0), st.floats(0, 1)))
def test_a_mutated_file_is_told_or_read(tmp_path: Path, changes: list[tuple[float, int]], length: float) -> None:
    data = bytearray(CLASSIFICATION.read_bytes())
    described_by = np.flatnonzero(np.frombuffer(data, np.uint8))  # many of the zeros are nobody's
    for place, byte in changes:
        data[described_by[int(place * len(described_by))]] = byte
    file = tmp_path / "tf_model.h5"
    file.write_bytes(data[: int(length * len(data)) + 1])
    try:
        tensors = read_h5(file)
    except UserError:
        return
    assert sum(tensor.nbytes for tensor in tensors.values()) <= len(data)
