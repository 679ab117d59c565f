"""TensorFlow 1 checkpoints: what TensorFlow itself wrote is read exactly; damaged bytes are told, never believed."""

import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.formats.tensorflow_tables import HEADER, block, entry, field, table, varint, write_checkpoint
from tests.golden.known_values import known_values
from weixing.errors import UserError
from weixing.formats.reading import read_model
from weixing.formats.tensorflow_checkpoint import find_checkpoint, read_checkpoint
from weixing.formats.tensorflow_table import masked_crc32c
from weixing.zoo import Shape

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
BERT, KINDS = GOLDEN / "tf1" / "bert_model.ckpt", GOLDEN / "tf1_kinds" / "kinds.ckpt"
ONES = np.ones((2, 3), np.float32)
in_a_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)


def write_index(folder: Path, *entries: tuple[str, bytes], data: bytes = ONES.tobytes()) -> Path:
    """A checkpoint of one data file with these entries."""
    content = block([HEADER, *((name.encode(), value) for name, value in entries)])
    (folder / "made.ckpt.index").write_bytes(table([content]))
    (folder / "made.ckpt.data-00000-of-00001").write_bytes(data)
    return folder / "made.ckpt"


def test_every_variable_that_tensorflow_wrote_is_read_exactly() -> None:
    variables = read_checkpoint(BERT)
    assert variables.pop("global_step").item() == 1_000_000
    assert len(variables) == 102
    assert "bert/encoder/layer_1/output/LayerNorm/gamma/adam_v" in variables
    for name, tensor in variables.items():
        assert np.array_equal(tensor.numpy(), known_values(name, tensor.shape)), name


def test_the_model_computes_what_tensorflow_computed(measured: Callable[[str, str, str, float], None]) -> None:
    expected = np.load(GOLDEN / "tf1" / "expected.npz")
    source = read_model(str(GOLDEN / "tf1"))
    assert source.bert.shape == Shape(2, 64, 200, positions=40, feed_forward=64)
    inputs = (torch.from_numpy(expected[name]) for name in ("ids", "token_types", "attention"))
    with torch.inference_mode():
        outputs = source.bert(*inputs)
    tokens = expected["attention"]
    differences = {}
    for ours, theirs in (("hidden", "hidden"), ("head", "logits"), ("pooler", "pooled"), ("next_sentence",) * 2):
        difference = np.abs(outputs[ours].numpy() - expected[theirs])
        differences[ours] = difference[tokens].max() if difference.shape[:2] == tokens.shape else difference.max()
    assert max(differences.values()) < 2e-5, differences
    measured("Google TensorFlow 1", "in", "TensorFlow's own outputs", float(max(differences.values())))


def test_every_kind_of_number_is_read_from_several_data_files(capsys: pytest.CaptureFixture[str]) -> None:
    variables = read_checkpoint(KINDS)
    assert variables.pop("scalar").item() == 2.5
    for name, tensor in variables.items():
        assert str(tensor.dtype) == name.replace("kinds/", "torch."), name
        assert torch.equal(tensor.double(), torch.arange(-3.0, 9).double().view(3, 4)), name
    assert len(variables) == 6
    assert "not used, as they hold no numbers: text" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["", "bert_model.ckpt", "bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001"]
)
def test_a_checkpoint_is_named_by_its_folder_its_beginning_or_a_file(name: str) -> None:
    assert find_checkpoint(GOLDEN / "tf1" / name) == BERT


def test_where_no_checkpoint_is_none_is_found_and_of_several_one_must_be_named(tmp_path: Path) -> None:
    assert find_checkpoint(tmp_path) is None
    assert find_checkpoint(tmp_path / "bert_model.ckpt") is None
    with pytest.raises(UserError, match="there is no TensorFlow checkpoint here"):
        read_checkpoint(tmp_path)
    with pytest.raises(UserError, match=r"there are 2 checkpoints here: kinds\.ckpt, partitioned\.ckpt"):
        find_checkpoint(KINDS.parent)


def test_variables_in_parts_and_checkpoints_of_tensorflow_2_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"stored in parts \(partitioned\): embedding"):
        read_checkpoint(KINDS.with_name("partitioned.ckpt"))
    with pytest.raises(UserError, match="TensorFlow 2's object-based kind"):
        read_checkpoint(write_index(tmp_path, ("model/w/.ATTRIBUTES/VARIABLE_VALUE", entry(ONES, 0))))


def test_a_missing_data_file_is_named(tmp_path: Path) -> None:
    for file in KINDS.parent.glob("kinds.ckpt*"):
        shutil.copy(file, tmp_path)
    (tmp_path / "kinds.ckpt.data-00001-of-00002").unlink()
    with pytest.raises(UserError, match=r"kinds\.ckpt\.data-00001-of-00002: this part of the checkpoint is missing"):
        read_checkpoint(tmp_path)


def test_a_data_file_cut_short_or_changed_is_told(tmp_path: Path) -> None:
    prefix = write_index(tmp_path, ("w", entry(ONES, 0)), data=ONES.tobytes()[:-1])
    with pytest.raises(UserError, match="of 23 bytes is cut short: the variable w ends at 24"):
        read_checkpoint(prefix)
    prefix = write_index(tmp_path, ("w", entry(ONES, 0)), data=bytes(24))
    with pytest.raises(UserError, match="the checksum of the variable w is wrong"):
        read_checkpoint(prefix)


@pytest.mark.parametrize(
    "changed",
    [
        {"f4": 1 << 62},
        {"f4": (1 << 64) - 8},
        {"f5": 1 << 40},
        {"f5": 0},
        {"f3": 7},
        {"f3": (1 << 64) - 1},
        {"f2": field(2, field(1, 1 << 40)) * 2, "f5": 4 << 80 & (1 << 64) - 1},
        {"f2": field(2, field(1, (1 << 64) - 1)), "f5": 24},
        {"f2": field(2, field(1, 6)) + field(2, field(1, 1)) * 90},
        {"f2": field(2, field(1, 0)), "f5": 0},
        {"f2": b"\xff"},
    ],
)
def test_what_an_index_claims_is_held_against_the_files(tmp_path: Path, changed: dict[str, int | bytes]) -> None:
    prefix = write_index(tmp_path, ("w", entry(ONES, 0, **changed)))
    tracemalloc.start()
    with pytest.raises(UserError):
        read_checkpoint(prefix)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_variables_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    many = [(f"w{number:03}", entry(ONES, 0)) for number in range(100)]
    with pytest.raises(UserError, match="size, shape and place of the variable w001 do not agree"):
        read_checkpoint(write_index(tmp_path, *many))


def test_keys_that_grow_from_each_other_do_not_fill_the_memory(tmp_path: Path) -> None:
    growing = b"".join(varint(length) + b"\1\0a" for length in range(5000))  # 20 kB that unfold into 12 MB
    long = b"\0" + varint(9000) + b"\0" + b"a" * 9000
    for content in (growing, long):
        (tmp_path / "made.ckpt.index").write_bytes(table([content + bytes(4) + b"\1\0\0\0"]))
        with pytest.raises(UserError, match="an entry is longer than it can be"):
            read_checkpoint(tmp_path)


def test_big_endian_and_compressed_tables_are_refused(tmp_path: Path) -> None:
    index = tmp_path / "made.ckpt.index"
    index.write_bytes(table([block([(b"", field(1, 1) + field(2, 1))])]))
    with pytest.raises(UserError, match="big-endian"):
        read_checkpoint(tmp_path)
    index.write_bytes(table([block([HEADER])], compression=1))
    with pytest.raises(UserError, match="compressed"):
        read_checkpoint(tmp_path)
    index.write_bytes(table([]))
    with pytest.raises(UserError, match="there are 0 data files"):
        read_checkpoint(tmp_path)


NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=0x5000), min_size=1, max_size=40)


@in_a_folder
@given(
    shapes=st.dictionaries(NAMES, st.lists(st.integers(1, 3), max_size=3), max_size=60),
    block_size=st.integers(1, 30),
)
def test_any_names_and_shapes_come_back(tmp_path: Path, shapes: dict[str, list[int]], block_size: int) -> None:
    arrays = {name: known_values(name, shape) for name, shape in shapes.items()}
    write_checkpoint(tmp_path / "any.ckpt", arrays, block_size)
    variables = read_checkpoint(tmp_path / "any.ckpt")
    assert variables.keys() == arrays.keys()
    assert all(np.array_equal(variables[name].numpy(), arrays[name]) for name in arrays)


CHANGES = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4)


def mutated(data: bytes, changes: list[tuple[float, int]], length: float) -> bytes:
    changed = bytearray(data)
    for place, byte in changes:
        changed[int(place * len(data))] = byte
    return bytes(changed[: int(length * len(data)) + 1])


@in_a_folder
@given(changes=CHANGES, length=st.one_of(st.just(1.0), st.floats(0, 1)), file=st.integers(0, 2))
def test_a_mutated_file_is_told_or_read_correctly(
    tmp_path: Path, changes: list[tuple[float, int]], length: float, file: int
) -> None:
    files = sorted(KINDS.parent.glob("kinds.ckpt*"))
    for number, each in enumerate(files):
        data = each.read_bytes()
        (tmp_path / each.name).write_bytes(mutated(data, changes, length) if number == file else data)
    try:
        variables = read_checkpoint(tmp_path / "kinds.ckpt")
    except UserError:
        return
    correct = read_checkpoint(KINDS)  # bytes changed that hold nothing, or are as they were
    assert variables.keys() == correct.keys()
    assert all(torch.equal(variables[name], correct[name]) for name in correct)


@settings(in_a_folder, max_examples=400)
@given(changes=CHANGES)
def test_a_mutated_index_whose_checksums_were_made_right_is_told_or_read(
    tmp_path: Path, changes: list[tuple[float, int]]
) -> None:
    entries = [("b", entry(ONES, 0)), ("bert/w", entry(ONES[:1], 24)), ("bert/x", entry(ONES, 36, dtype=3))]
    content = block([HEADER, *((name.encode(), value) for name, value in entries)])
    (tmp_path / "made.ckpt.index").write_bytes(table([mutated(content, changes, 1.0)]))
    (tmp_path / "made.ckpt.data-00000-of-00001").write_bytes(ONES.tobytes() * 3)
    try:
        variables = read_checkpoint(tmp_path / "made.ckpt")
    except UserError:
        return
    assert sum(tensor.nbytes for tensor in variables.values()) <= 72


@pytest.mark.parametrize(("text", "crc"), [(b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA), (b"", 0)])
def test_the_checksum_is_that_of_rfc_3720(text: bytes, crc: int) -> None:
    masked = (masked_crc32c(np.frombuffer(bytearray(text), np.uint8)) - 0xA282EAD8) & 0xFFFFFFFF
    assert (masked << 15 | masked >> 17) & 0xFFFFFFFF == crc
