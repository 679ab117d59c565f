"""Checkpoints of UER-py: its own answers, its older names, and every way a file can be wrong."""

import io
import json
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.formats.golden import CHECKPOINTS, GOLDEN, VOCABULARY, distances, question
from weixing.errors import UserError
from weixing.formats.bert import Bert
from weixing.formats.uer import read_uer, write_uer
from weixing.text.vocabulary import Vocabulary

Measured = Callable[[str, str, str, float], None]
MASKED_LM, MASKED_LM_CONFIG = GOLDEN / "mlm.bin-200", GOLDEN / "mlm_config.json"


def read(name: str, **options: bool) -> Bert:
    return read_uer(GOLDEN / name, config=GOLDEN / CHECKPOINTS[name][0], **options).bert


def changed(folder: Path, change: Callable[[dict[str, torch.Tensor]], object], name: str = "mlm.bin-200") -> Path:
    tensors = torch.load(GOLDEN / name, weights_only=True)
    change(tensors)
    torch.save(tensors, folder / name)
    return folder / name


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_answers_as_uer_py_does(name: str, measured: Measured) -> None:
    with torch.inference_mode():
        found = distances(read(name)(*question()), name)
    assert found.keys() == CHECKPOINTS[name][1].keys()
    assert max(found.values()) < 2e-5, found
    measured("UER-py, TencentPretrain", "in", "UER-py's own outputs", max(found.values()))


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_the_original_is_uer_pys_own_function(name: str) -> None:
    source = read_uer(GOLDEN / name, config=GOLDEN / CHECKPOINTS[name][0])
    assert source.original
    with torch.inference_mode():
        assert max(distances(source.original(*question()), name).values()) < 3e-6


def test_layer_norms_as_published_are_uers_numbers_and_answer_otherwise(measured: Measured) -> None:
    with torch.inference_mode():
        found = distances(read("mlm.bin-200", as_published=True)(*question()), "mlm.bin-200")
    assert 1e-2 < found["head"] < 5e-2
    measured("UER-py, `--as-published`", "in", "UER-py's own outputs", max(found.values()))
    raw = torch.load(MASKED_LM, weights_only=True)
    bert = read("mlm.bin-200", as_published=True)
    assert torch.equal(bert.encoder.layers[1].attention_norm.weight, raw["encoder.transformer.1.layer_norm_1.gamma"])


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_round_trip_changes_nothing_but_the_rounding_of_the_fold_and_the_row_of_padding(
    name: str, tmp_path: Path
) -> None:
    write_uer(read(name), Vocabulary.read(VOCABULARY), tmp_path, as_published=False)
    theirs = torch.load(GOLDEN / name, weights_only=True)
    ours = torch.load(tmp_path / "uer_model.bin", weights_only=True)
    assert ours.keys() == theirs.keys()
    for key, tensor in theirs.items():
        if key.endswith("gamma"):
            torch.testing.assert_close(ours[key], tensor, rtol=2e-7, atol=0)
        elif key == "embedding.seg.embedding.weight":
            assert torch.equal(ours[key][1:], tensor[1:])
            assert not ours[key][0].any()
        else:
            assert torch.equal(ours[key], tensor), key


def test_a_written_checkpoint_has_the_tied_matrix_once_and_uers_configuration(tmp_path: Path) -> None:
    write_uer(read("bert.bin-200"), Vocabulary.read(VOCABULARY), tmp_path, as_published=False)
    tensors = torch.load(tmp_path / "uer_model.bin", weights_only=True)
    decoder, words = tensors["target.mlm.linear_2.weight"], tensors["embedding.word.embedding.weight"]
    assert decoder.data_ptr() == words.data_ptr()
    assert isinstance(tensors, OrderedDict)
    config = json.loads((tmp_path / "uer_config.json").read_text())
    theirs = json.loads((GOLDEN / "bert_config.json").read_text())
    assert {name: config[name] for name in theirs if name in config} == theirs | {"dropout": config["dropout"]}


OLD_NAMES = {
    "embedding.word.embedding.": "embedding.word_embedding.",
    "embedding.pos.embedding.": "embedding.position_embedding.",
    "embedding.seg.embedding.": "embedding.segment_embedding.",
    "target.mlm.linear_": "target.mlm_linear_",
    "target.mlm.layer_norm.": "target.layer_norm.",
    "target.sp.linear_": "target.nsp_linear_",
}


def test_names_of_before_july_2023_are_read(tmp_path: Path) -> None:
    tensors = torch.load(GOLDEN / "bert.bin-200", weights_only=True)
    renamed = {}
    for name, tensor in tensors.items():
        for new, old in OLD_NAMES.items():
            if name.startswith(new):
                name = old + name.removeprefix(new)
        renamed[name] = tensor
    assert sum(name not in tensors for name in renamed) == 3 + 6 + 4
    torch.save(renamed, tmp_path / "old.bin")
    old = read_uer(tmp_path / "old.bin", config=GOLDEN / "bert_config.json").bert
    for name, tensor in read("bert.bin-200").state_dict().items():
        assert torch.equal(old.state_dict()[name], tensor), name


def test_a_tensor_under_an_old_and_a_new_name_must_be_the_same(tmp_path: Path) -> None:
    words = "embedding.word.embedding.weight"
    file = changed(tmp_path, lambda t: t.update({"embedding.word_embedding.weight": t[words].clone()}))
    read_uer(file, config=MASKED_LM_CONFIG)
    file = changed(tmp_path, lambda t: t.update({"embedding.word_embedding.weight": t[words] + 1}))
    with pytest.raises(UserError, match="are one tensor, and differ"):
        read_uer(file, config=MASKED_LM_CONFIG)


@pytest.mark.parametrize("old", ["nsp", "sop", "sp"])
def test_every_older_name_of_the_sentence_head_is_read(old: str, tmp_path: Path) -> None:
    tensors = torch.load(GOLDEN / "bert.bin-200", weights_only=True)
    renamed = {name.replace("target.sp.linear_", f"target.{old}_linear_"): t for name, t in tensors.items()}
    torch.save(renamed, tmp_path / "old.bin")
    bert = read_uer(tmp_path / "old.bin", config=GOLDEN / "bert_config.json").bert
    assert bert.parts == ["head", "pooler", "next_sentence"]


def test_a_checkpoint_without_the_second_copy_of_the_tied_matrix_is_read(tmp_path: Path) -> None:
    file = changed(tmp_path, lambda tensors: tensors.pop("target.mlm.linear_2.weight"))
    bert = read_uer(file, config=MASKED_LM_CONFIG).bert
    assert torch.equal(bert.encoder.embeddings.token.weight, read("mlm.bin-200").encoder.embeddings.token.weight)


def test_a_checkpoint_in_shards_is_read(tmp_path: Path) -> None:
    tensors = torch.load(MASKED_LM, weights_only=True)
    files = {name: f"tencentpretrain_model-{number % 2}.bin" for number, name in enumerate(tensors)}
    for file in set(files.values()):
        torch.save({name: tensor for name, tensor in tensors.items() if files[name] == file}, tmp_path / file)
    index = tmp_path / "tencentpretrain_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": files}))
    bert = read_uer(index, config=MASKED_LM_CONFIG).bert
    assert torch.equal(bert.head.dense.weight, read("mlm.bin-200").head.dense.weight)  # type: ignore[union-attr]
    (tmp_path / "tencentpretrain_model-1.bin").unlink()
    with pytest.raises(UserError, match=r"tencentpretrain_model-1\.bin: this shard is missing"):
        read_uer(index)
    index.write_text(json.dumps({"weight_map": {"embedding.word.embedding.weight": "../elsewhere.bin"}}))
    with pytest.raises(UserError, match="names no files beside it"):
        read_uer(index)


def test_tensors_that_were_saved_on_a_gpu_are_read_on_a_machine_without(tmp_path: Path) -> None:
    def on_a_gpu(pickle: bytes) -> bytes:
        # The only difference in such a file: the name of the place in each storage's tag.
        return pickle.replace(b"\x03\0\0\0cpu", b"\x06\0\0\0cuda:0")

    (tmp_path / "gpu.bin").write_bytes(_zip_with(MASKED_LM, on_a_gpu))
    bert = read_uer(tmp_path / "gpu.bin", config=MASKED_LM_CONFIG).bert
    assert torch.equal(bert.head.dense.weight, read("mlm.bin-200").head.dense.weight)  # type: ignore[union-attr]


def _zip_with(file: Path, change: Callable[[bytes], bytes]) -> bytes:
    """A file of torch.save with another pickle in it."""
    out = io.BytesIO()
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as new:
        for name in old.namelist():
            content = old.read(name)
            changed_content = change(content) if name.endswith("data.pkl") else content
            assert not name.endswith("data.pkl") or changed_content != content
            new.writestr(name, changed_content)
    return out.getvalue()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("encoder.transformer.1.layer_norm_2.beta"), r"transformer\.1\.layer_norm_2\.beta is missing"),
        (lambda t: t.pop("encoder.transformer.0.self_attn.linear_layers.1.bias"), r"linear_layers\.1\.bias is missing"),
        (lambda t: t.update({"encoder.layer_norm.gamma": torch.ones(64)}), r"no place for: encoder\.layer_norm\.gamma"),
        (lambda t: t.update({"target.mlm.linear_1.weight": torch.ones(64, 32)}), r"linear_1\.weight .* \[64, 32\]"),
        (lambda t: t.update({"target.mlm.linear_2.weight": torch.ones(1028, 64)}), "the decoder is not tied"),
        (lambda t: t.update({"target.mlm.linear_1.bias": torch.ones(64, dtype=torch.int8)}), "holds int8 numbers"),
        (lambda t: t.update({"embedding.seg.embedding.weight": torch.ones(1, 64)}), "has 1 rows"),
        (lambda t: t.update({"embedding.word.embedding.weight": torch.ones(64)}), "is no matrix"),
    ],
)  # fmt: skip
def test_a_tensor_that_is_missing_or_wrong_is_named_as_the_file_names_it(
    change: Callable[[dict[str, torch.Tensor]], object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        read_uer(changed(tmp_path, change), config=MASKED_LM_CONFIG)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("layers_num", 3, "layers_num is 3.*Accepted: 2"),
        ("feedforward_size", 256, "feedforward_size is 256.*128"),
        ("heads_num", 5, "5 heads for 64 hidden units"),
        ("heads_num", "two", "heads_num is missing or no whole number"),
        ("hidden_act", "relu", "hidden_act is 'relu'"),
        ("layernorm_positioning", "pre", "layernorm_positioning is 'pre'"),
        ("embedding", ["word", "sinusoidalpos", "seg"], "embedding is"),
        ("remove_attention_scale", True, "remove_attention_scale is True"),
        ("has_residual_attention", True, "has_residual_attention is True"),
        ("layernorm_eps", 1e-12, "layernorm_eps is 1e-12"),
    ],
)
def test_a_configuration_of_another_model_is_refused(field: str, value: object, message: str, tmp_path: Path) -> None:
    config = json.loads(MASKED_LM_CONFIG.read_text()) | {field: value}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=message):
        read_uer(MASKED_LM, config=tmp_path / "config.json")


class Touch:
    """Unpickling this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_a_file_that_would_run_code_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    torch.save({"embedding.word.embedding.weight": Touch(tmp_path / "ran")}, tmp_path / "evil.bin")
    with pytest.raises(UserError, match="which might run"):
        read_uer(tmp_path / "evil.bin")
    assert not (tmp_path / "ran").exists()


@given(data=st.data())
@settings(max_examples=60, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_is_refused_or_read(data: st.DataObject, tmp_path: Path) -> None:
    content = bytearray(MASKED_LM.read_bytes())
    heads = [content.find(b"PK"), content.rfind(b"PK\x01\x02"), content.find(b"data.pkl")]
    for _ in range(data.draw(st.integers(1, 6))):
        near = data.draw(st.sampled_from(heads))
        at = (near + data.draw(st.integers(0, 3000))) % len(content)
        content[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    (tmp_path / "damaged.bin").write_bytes(content)
    with suppress(UserError):
        read_uer(tmp_path / "damaged.bin", config=MASKED_LM_CONFIG)
