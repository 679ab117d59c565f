"""Weights in 8 bits promise an error of at most half a step, and to be read wherever weights are."""

import pytest
import safetensors.torch
import torch

from weixing.errors import UserError
from weixing.formats.compact import SCALE, compact, restored
from weixing.formats.weight_files import read_weights


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    matrix = torch.randn(40, 64, generator=generator) * torch.logspace(-4, 2, 40)[:, None]
    matrix[7] = 0
    return {"matrix": matrix, "other": matrix.bfloat16(), "vector": torch.randn(64, generator=generator)}


def test_each_weight_is_off_by_half_a_step_of_its_row_at_most_and_vectors_not_at_all():
    given = tensors()
    back = restored(compact(given))
    assert set(back) == set(given)
    for name in ("matrix", "other"):
        limit = given[name].float().abs().amax(1, keepdim=True) / 254 * (1 + 1e-5)
        assert back[name].dtype == torch.float32
        assert ((back[name] - given[name].float()).abs() <= limit).all()
        assert (back[name] != given[name].float()).any()
    assert torch.equal(back["vector"], given["vector"])


def test_made_compact_again_nothing_changes():
    once = compact(tensors())
    twice = compact(restored(once))
    assert all(torch.equal(once[name], twice[name]) for name in once if once[name].dtype == torch.int8)


def test_a_file_of_them_is_a_quarter_as_large_and_read_as_float32(tmp_path):
    given = {"matrix": tensors()["matrix"].repeat(8, 8)}
    safetensors.torch.save_file(given, tmp_path / "whole.safetensors")
    safetensors.torch.save_file(compact(given), tmp_path / "compact.safetensors")
    whole, small = ((tmp_path / f"{name}.safetensors").stat().st_size for name in ("whole", "compact"))
    assert small < 0.27 * whole
    back = read_weights(tmp_path / "compact.safetensors")
    assert back.keys() == given.keys()
    assert torch.equal(back["matrix"], restored(compact(given))["matrix"])


@pytest.mark.parametrize("wrong", ["lonely", "short", "of floats"])
def test_scales_that_fit_no_matrix_are_an_error_that_names_them(tmp_path, wrong):
    made = compact({"matrix": torch.randn(4, 8)})
    if wrong == "lonely":
        del made["matrix"]
    elif wrong == "short":
        made["matrix" + SCALE] = torch.ones(3)
    else:
        made["matrix"] = torch.randn(4, 8)
    safetensors.torch.save_file(made, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"matrix.scale_of_rows is not the scales") as caught:
        read_weights(tmp_path / "model.safetensors")
    assert "model.safetensors" in str(caught.value)
