"""Folders whose files are damaged in any way: told by a UserError, or read."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.formats import golden
from weixing.errors import UserError
from weixing.formats.huggingface import export_classifier, export_masked_lm
from weixing.formats.inspection import inspect
from weixing.formats.reading import read_model
from weixing.model.heads import Classifier, MaskedLanguageModel
from weixing.text.vocabulary import Vocabulary
from weixing.zoo import Shape

TF1 = Path(__file__).parents[1] / "golden" / "tf1"
in_a_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
ODD_NUMBERS = {"-1": -1, "0": 0, "10^8": 10**8, "2^31": 2**31, "2^63": 2**63, "2^70": 2**70, "10^4000": 10**4_000}
TAKEN = (torch.float64, torch.float16, torch.bfloat16)
REFUSED = (torch.float8_e4m3fn, torch.int8, torch.bool, torch.complex64)
WORDS = "bert.embeddings.word_embeddings.weight"


@pytest.fixture
def shape(vocabulary: Vocabulary) -> Shape:
    """Smaller than elsewhere, as it is read so often."""
    return Shape(2, 64, len(vocabulary), positions=48, head_units=32, feed_forward=96)


@pytest.fixture
def folder(tmp_path: Path, classifier: Classifier, vocabulary: Vocabulary) -> Path:
    export_classifier(classifier, vocabulary, ["体育", "财经", "娱乐"], tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def masked_lm(tmp_path: Path, model: MaskedLanguageModel, vocabulary: Vocabulary) -> Path:
    export_masked_lm(model, vocabulary, tmp_path / "masked_lm")
    return tmp_path / "masked_lm"


@pytest.fixture
def uer_folder(tmp_path: Path) -> Path:
    shutil.copy(golden.GOLDEN / "mlm.bin-200", tmp_path / "uer_model.bin")
    shutil.copy(golden.GOLDEN / "mlm_config.json", tmp_path / "uer_config.json")
    shutil.copy(golden.VOCABULARY, tmp_path / "vocab.txt")
    return tmp_path


@pytest.fixture
def tf1_folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TF1, tmp_path / "tf1"))


def try_all(folder: Path) -> None:
    with suppress(UserError):
        read_model(str(folder))
    with suppress(UserError):
        inspect(str(folder))


@contextmanager
def with_fields(file: Path, **fields: object) -> Iterator[None]:
    """With other values in some fields of a configuration."""
    original = file.read_bytes()
    file.write_text(json.dumps(json.loads(original) | fields))
    try:
        yield
    finally:
        file.write_bytes(original)


@contextmanager
def with_tensors(folder: Path, tensors: dict[str, torch.Tensor]) -> Iterator[None]:
    """With other tensors in place of some, or more of them."""
    file = folder / "model.safetensors"
    original = file.read_bytes()
    file.write_bytes(safetensors.torch.save(safetensors.torch.load(original) | tensors))
    try:
        yield
    finally:
        file.write_bytes(original)


def tensors_in(folder: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load((folder / "model.safetensors").read_bytes())


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


def change_any_fields(data: st.DataObject, file: Path) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(json.loads(file.read_bytes()))), min_size=1, max_size=3))
    with with_fields(file, **{name: data.draw(JSON_VALUES) for name in names}):
        try_all(file.parent)


@given(data=st.data())
@in_a_folder
def test_any_value_in_any_field_of_a_config(data: st.DataObject, folder: Path) -> None:
    change_any_fields(data, folder / "config.json")


@given(data=st.data())
@in_a_folder
def test_any_value_in_any_field_of_a_uer_config(data: st.DataObject, uer_folder: Path) -> None:
    change_any_fields(data, uer_folder / "uer_config.json")


@given(data=st.data())
@in_a_folder
def test_any_value_in_any_field_of_a_config_beside_a_checkpoint_of_tensorflow(
    data: st.DataObject, tf1_folder: Path
) -> None:
    change_any_fields(data, tf1_folder / "bert_config.json")


@pytest.mark.parametrize("number", ODD_NUMBERS.values(), ids=ODD_NUMBERS)
def test_any_number_in_any_size_of_a_config(number: int, folder: Path, uer_folder: Path, tf1_folder: Path) -> None:
    """Without making a model of that size first."""
    for file in (folder / "config.json", tf1_folder / "bert_config.json", uer_folder / "uer_config.json"):
        sizes = {name for name, value in json.loads(file.read_bytes()).items() if type(value) is int and value > 1}
        assert len(sizes) >= 6
        for name in sizes - {"pooler_fc_size"}:
            with with_fields(file, **{name: number}), pytest.raises(UserError):
                read_model(str(file.parent))
            with with_fields(file, **{name: number}), suppress(UserError):
                assert inspect(str(file.parent)).problems


@pytest.mark.parametrize("content", ["[" * 100_000, '{"hidden_size": ' + "9" * 5_000 + "}", b"\xff"])
@pytest.mark.parametrize("file", ["config.json", "model.safetensors.index.json"])
def test_json_that_is_none_or_too_much_is_refused(file: str, content: str | bytes, folder: Path) -> None:
    (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    if file != "config.json":
        (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=rf"{file}: this is not"):
        read_model(str(folder))


@given(index=JSON_VALUES | st.fixed_dictionaries({"weight_map": JSON_VALUES}))
@in_a_folder
def test_any_index_of_shards(index: object, folder: Path) -> None:
    if (folder / "model.safetensors").exists():
        shutil.move(folder / "model.safetensors", folder / "model-1.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError):
        read_model(str(folder))


SHARDS = ["tencentpretrain_model-0.bin", "tencentpretrain_model-1.bin"]
NAMES = ["embedding.word.embedding.weight", "encoder.transformer.1.layer_norm_2.beta", "nothing.weight"]
FILES = st.sampled_from([*SHARDS, "vocab.txt", "uer_config.json", "tencentpretrain_model.bin.index.json", "nowhere"])
MAPS = st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), FILES | JSON_VALUES, max_size=4)


@given(index=JSON_VALUES | st.fixed_dictionaries({"weight_map": MAPS}))
@in_a_folder
def test_any_index_of_tencentpretrain(index: object, uer_folder: Path) -> None:
    if (uer_folder / "uer_model.bin").exists():
        tensors = torch.load(uer_folder / "uer_model.bin", weights_only=True)
        for number, shard in enumerate(SHARDS):
            torch.save({name: tensors[name] for name in list(tensors)[number::2]}, uer_folder / shard)
        (uer_folder / "uer_model.bin").unlink()
    (uer_folder / "tencentpretrain_model.bin.index.json").write_text(json.dumps(index))
    try_all(uer_folder)


@pytest.mark.parametrize("sizes", [[], [0], [3], [1, 64], [64, 0], [0, 2**40], [2, 3, 4]])
def test_any_tensor_of_any_size(sizes: list[int], folder: Path) -> None:
    for name, tensor in tensors_in(folder).items():
        if list(tensor.shape) != sizes:
            with with_tensors(folder, {name: torch.zeros(sizes)}):
                with pytest.raises(UserError, match=r"model\.safetensors"):
                    read_model(str(folder))
                with suppress(UserError):
                    inspect(str(folder))


@pytest.mark.parametrize("dtype", [*TAKEN, *REFUSED], ids=str)
def test_any_tensor_of_any_kind_of_number(dtype: torch.dtype, folder: Path) -> None:
    for name, tensor in tensors_in(folder).items():
        with with_tensors(folder, {name: tensor.to(dtype)}):
            if dtype in TAKEN:
                read_model(str(folder))
            else:
                kind = str(dtype).removeprefix("torch.")
                with pytest.raises(UserError, match=rf"model\.safetensors: the tensor {name} holds {kind} numbers"):
                    read_model(str(folder))
            inspect(str(folder))


def test_a_tensor_of_a_size_that_the_file_does_not_hold(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content.replace(b"[25,64]", b"[1048576,1048576]", 1))
    with pytest.raises(UserError, match=r"model\.safetensors"):
        read_model(str(folder))


def test_float64_is_taken_as_float32_which_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = read_model(str(folder))
    assert capsys.readouterr().err == ""
    with with_tensors(folder, {name: tensor.double() for name, tensor in tensors_in(folder).items()}):
        source = read_model(str(folder))
    assert capsys.readouterr().err.count("float64 numbers are taken as float32") == 1
    assert source.dtype == torch.float32
    for name, tensor in source.bert.state_dict().items():
        assert torch.equal(tensor, before.bert.state_dict()[name])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int8])
def test_a_second_copy_of_a_tied_tensor_in_another_precision(dtype: torch.dtype, masked_lm: Path) -> None:
    words = (tensors_in(masked_lm)[WORDS] * 64).round()  # the same in every float
    tied = {WORDS: words, "cls.predictions.decoder.weight": words.to(dtype)}
    with with_tensors(masked_lm, tied):
        if dtype == torch.int8:
            with pytest.raises(UserError, match="the decoder is not tied"):
                read_model(str(masked_lm))
        else:
            assert torch.equal(read_model(str(masked_lm)).bert.encoder.embeddings.token.weight, words)
    tied["cls.predictions.decoder.weight"] = words.to(dtype) + 1
    with with_tensors(masked_lm, tied), pytest.raises(UserError, match="the decoder is not tied"):
        read_model(str(masked_lm))


def test_a_tensor_that_no_model_has_a_place_for_is_called_as_the_file_calls_it(uer_folder: Path) -> None:
    file = uer_folder / "uer_model.bin"
    tensors = torch.load(file, weights_only=True)
    torch.save(tensors | {"target.sp.linear_2.weight": torch.ones(2, 64), "rotary": torch.ones(1)}, file)
    with pytest.raises(UserError, match=r"2 tensors .* for: rotary, target\.sp\.linear_2\.weight\. Accepted: .*pooler"):
        read_model(str(uer_folder))
