"""Files of weights that claim more than they hold, or are something else; shards that disagree."""

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from weixing.errors import UserError
from weixing.formats.weight_files import read_pickle, read_shards

SIZE = 70_000  # numbers, which a pickle writes in four bytes


def saved(file: Path, tensors: dict[str, torch.Tensor], **options: bool) -> Path:
    torch.save(tensors, file, **options)
    return file


@pytest.mark.parametrize("as_zip", [True, False])
def test_tensors_that_share_their_memory_are_read_and_go_on_sharing_it(as_zip: bool, tmp_path: Path) -> None:
    whole = torch.arange(12.0)
    tensors = {"whole": whole, "tied": whole, "piece": whole[2:8].view(2, 3), "turned": whole.view(3, 4).t()}
    tensors |= {"positions": torch.arange(5).expand(1, -1), "none": torch.zeros(0, 3), "one": torch.tensor(2.0)}
    read = read_pickle(saved(tmp_path / "w.bin", tensors, _use_new_zipfile_serialization=as_zip))
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())
    assert read["whole"].data_ptr() == read["tied"].data_ptr() == read["turned"].data_ptr()


def repeated(count: int) -> dict[str, torch.Tensor]:
    weight = torch.zeros(100, 100)
    return {f"layer.{number}": weight.t() for number in range(count)}


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"a": torch.zeros(1).expand(2_000, 5_000)}, "more memory than the file"),
        (repeated(100), "more memory than the file"),
        ({"a": torch.empty(3, device="meta")}, "damaged, or holds other things"),
        ({"a": torch.eye(3).to_sparse()}, "damaged, or holds other things"),
    ],
    ids=["one number many times", "one matrix in many layers", "meta", "sparse"],
)  # fmt: skip
@pytest.mark.parametrize("as_zip", [True, False])
def test_tensors_whose_numbers_are_not_in_the_file_are_refused(
    as_zip: bool, tensors: dict[str, torch.Tensor], message: str, tmp_path: Path
) -> None:
    file = saved(tmp_path / "w.bin", tensors, _use_new_zipfile_serialization=as_zip)
    assert file.stat().st_size < 70_000
    with pytest.raises(UserError, match=message):
        read_pickle(file)


def test_one_matrix_may_serve_in_every_layer(tmp_path: Path) -> None:
    assert len(read_pickle(saved(tmp_path / "w.bin", repeated(24)))) == 24


class Reserved:
    """Unpickling this reserves memory that no file is read into."""

    def __reduce__(self) -> tuple[object, ...]:
        return torch.Tensor, (300, 300)


def test_memory_that_the_file_reserves_and_does_not_fill_is_refused(tmp_path: Path) -> None:
    torch.save({"a": Reserved()}, tmp_path / "w.bin", _use_new_zipfile_serialization=False)
    with pytest.raises(UserError, match="more memory than the file"):
        read_pickle(tmp_path / "w.bin")


def rewritten(file: Path, method: int, change: Callable[[bytes], bytes] = bytes) -> Path:
    """A zip file of torch with its members stored by another method, or with another pickle."""
    new = file.with_name("rewritten.bin")
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(new, "w", method) as out:
        for name in old.namelist():
            out.writestr(name, change(old.read(name)) if name.endswith("data.pkl") else old.read(name))
    return new


def test_a_compressed_file_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    file = rewritten(saved(tmp_path / "w.bin", {"a": torch.zeros(1_000_000)}), zipfile.ZIP_DEFLATED)
    assert file.stat().st_size < 10_000
    with pytest.raises(UserError, match=r"rewritten\.bin: this file is compressed"):
        read_pickle(file)


@pytest.mark.parametrize("claimed", [SIZE - 1, SIZE + 1, 8 * SIZE])
def test_a_tensor_of_another_length_than_its_bytes_is_refused(claimed: int, tmp_path: Path) -> None:
    file = saved(tmp_path / "w.bin", {"a": torch.zeros(SIZE)})

    def claim(content: bytes) -> bytes:
        was, now = (b"J" + number.to_bytes(4, "little") for number in (SIZE, claimed))
        assert content.count(was) == 2  # of the storage and of the tensor
        return content.replace(was, now)

    file = rewritten(file, zipfile.ZIP_STORED, claim)
    with pytest.raises(UserError, match="damaged, or holds other things"):
        read_pickle(file)


LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 12345\n"
UER_RECORD = (([2, 45, 4, 103, 3], 3), [5])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (LFS_POINTER, "pointer of Git LFS.*git lfs pull"),
        (pickle.dumps(UER_RECORD, protocol=4), r"pickled list.*weixing prepare \S+/w\.pt --from-uer"),
        (pickle.dumps(UER_RECORD, protocol=3), r"weixing prepare \S+ --from-uer"),
        (b"\x89HDF\r\n\x1a\n\0\0\0\0", r"HDF5 file.*tf_model\.h5"),
        (b"\x08\x0a\x12\x07weixing\x1a\x011", "ONNX model"),
        ("<!DOCTYPE html><p>找不到页面。</p>".encode() * 20, "text file"),
        (b'{"model_type": "bert"}\n', "text file"),
        (b"", "damaged, or holds other things"),
        (pickle.dumps({"a": 1}, protocol=2), "which might run"),
        (b"\xff\xfe\0\0", "damaged, or holds other things"),
    ],
)
def test_a_file_of_another_kind_is_called_what_it_is(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        read_pickle(tmp_path / "w.pt")
    assert "w.pt: " in str(error.value)


def shards(folder: Path, first: torch.Tensor, second: torch.Tensor) -> Path:
    """The index of two shards that both have the tensor `a`."""
    files = ["1.safetensors", "2.safetensors"]
    for file, tensor in zip(files, (first, second), strict=True):
        (folder / file).write_bytes(safetensors.torch.save({"a": tensor, file: torch.zeros(1)}))
    index = folder / "index.json"
    index.write_text(json.dumps({"weight_map": {"a": files[0]} | {file: file for file in files}}))
    return index


@pytest.mark.parametrize("other", [torch.zeros(3), torch.ones(4), torch.ones(3, dtype=torch.float16)])
def test_one_name_in_two_shards_is_refused_unless_the_tensors_are_the_same(other: torch.Tensor, tmp_path: Path) -> None:
    ones = torch.ones(3)
    with pytest.raises(UserError, match=r"2\.safetensors: the tensor a is not .* 1\.safetensors"):
        read_shards(shards(tmp_path, ones, other))
    for same in (ones, torch.tensor(float("nan")), torch.ones(2, 2, dtype=torch.float8_e4m3fn)):
        assert len(read_shards(shards(tmp_path, same, same.clone()))) == 3
