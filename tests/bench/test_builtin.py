"""Packing the model of the package promises a folder that loads, small, with what 8 bits cost printed."""

import json
import sys

import torch

from bench import builtin
from weixing.formats.huggingface import export_masked_lm
from weixing.formats.naming import load_masked_lm
from weixing.model.heads import MaskedLanguageModel
from weixing.model.initialisation import initialise
from weixing.zoo import Shape


def test_a_model_is_packed_into_a_folder_that_loads_as_it_but_for_rounding(
    tmp_path, tiny_vocabulary, tiny_shards, monkeypatch, capsys
):
    model = MaskedLanguageModel(Shape(2, 64, len(tiny_vocabulary), 32))
    initialise(model, "bert", 7)
    export_masked_lm(model, tiny_vocabulary, tmp_path / "whole")
    out = tmp_path / "packed"
    monkeypatch.setattr(
        sys, "argv", ["builtin", str(tmp_path / "whole"), "--held-out", str(tiny_shards), "--out", str(out)]
    )
    builtin.main()
    printed = json.loads(capsys.readouterr().out)
    assert printed["bytes"] == sum(file.stat().st_size for file in out.iterdir())
    assert abs(printed["held-out loss, float32"] - printed["held-out loss, 8 bits"]) < 0.01
    packed, vocabulary = load_masked_lm(str(out))
    assert vocabulary == tiny_vocabulary
    for name, value in model.state_dict().items():
        other = packed.state_dict()[name]
        if value.dim() < 2:
            assert torch.equal(other, value)
        else:
            assert not torch.equal(other, value)
            assert ((other - value).abs() <= value.abs().amax(1, keepdim=True) / 254 * 1.001 + 1e-8).all()
