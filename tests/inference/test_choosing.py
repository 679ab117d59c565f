"""Which back end is taken: by names, by what the processor can do, and never one that is not there."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import weixing
from weixing.errors import UserError
from weixing.inference.choosing import WAYS, choose
from weixing.inference.model import Model
from weixing.model.heads import MaskedLanguageModel
from weixing.zoo import Shape

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def able(monkeypatch: pytest.MonkeyPatch):
    """Sets what the processor can do."""

    def to(*precisions: str) -> None:
        monkeypatch.setattr("weixing.inference.choosing.has_bf16", lambda device: "bf16" in precisions)
        monkeypatch.setattr("weixing.inference.choosing.has_int16", lambda: "int16" in precisions)

    return to


@pytest.mark.parametrize(
    ("can", "precision"),
    [((), "float32"), (("int16",), "int16"), (("bf16",), "bf16"), (("bf16", "int16"), "bf16")],
)
def test_auto_is_compiled_on_a_cpu_in_the_quickest_precision_that_it_has(able, can, precision) -> None:
    able(*can)
    assert choose("auto", "auto", CPU) == ("compiled", precision)
    assert choose("auto", "float32", CPU) == ("compiled", "float32")


def test_auto_is_torch_on_a_gpu(able) -> None:
    able("int16")
    assert choose("auto", "auto", GPU) == ("torch", "float32")
    able("bf16", "int16")
    assert choose("auto", "auto", GPU) == ("torch", "bf16")


def test_a_named_backend_has_its_own_first_precision_and_int8_its_own_backend(able) -> None:
    able("bf16", "int16")
    for backend, precision in {
        "compiled": "float32",
        "torch": "float32",
        "onnx": "float32",
        "onnx-int8": "int8",
    }.items():
        assert choose(backend, "auto", CPU) == (backend, precision)
    assert choose("auto", "int8", CPU) == ("onnx-int8", "int8")
    for way in WAYS:
        assert choose(*way, CPU) == way


def test_what_the_processor_cannot_do_is_done_in_float32(able) -> None:
    able()
    for backend, precision in (("compiled", "bf16"), ("torch", "bf16"), ("compiled", "int16"), ("auto", "int16")):
        expected = "compiled" if backend == "auto" else backend
        assert choose(backend, precision, CPU) == (expected, "float32")


@pytest.mark.parametrize(
    ("backend", "precision", "device", "message"),
    [
        ("abacus", "auto", CPU, "backend 'abacus'. Accepted: auto or compiled or torch or onnx or onnx-int8"),
        ("auto", "int4", CPU, "precision 'int4'. Accepted: auto or float32 or bf16 or int16 or int8"),
        ("torch", "int16", CPU, "precision 'int16' of backend 'torch'. Accepted: auto or float32 or bf16"),
        ("compiled", "int8", CPU, "'int8' of backend 'compiled'"),
        ("onnx", "bf16", CPU, "'bf16' of backend 'onnx'. Accepted: auto or float32"),
        ("auto", "int16", GPU, "'int16' of backend 'torch'"),
        ("compiled", "auto", GPU, "backend 'compiled' on cuda. Accepted: auto or torch; the others are a CPU's"),
        ("onnx", "auto", GPU, "backend 'onnx' on cuda"),
    ],
)
def test_what_is_not_there_is_refused(able, backend, precision, device, message) -> None:
    able("bf16", "int16")
    with pytest.raises(UserError) as error:
        choose(backend, precision, device)
    assert message in str(error.value)


def test_a_model_says_what_computes_it(folder: Path, able) -> None:
    able("int16")
    model = weixing.load(str(folder))
    assert (model.backend.name, model.precision, model.backend.precision) == ("compiled", "int16", "int16")
    able("bf16")
    assert weixing.load(str(folder)).precision == "bf16"
    assert weixing.load(str(folder), "torch").backend.name == "torch"
    with torch.device("meta"):  # any device but a CPU
        elsewhere = MaskedLanguageModel(Shape(2, 128, 34))
    assert Model(elsewhere, model.vocabulary).backend.name == "torch"


@pytest.mark.parametrize("precision", ["bf16", "int16"])
def test_a_processor_that_cannot_gives_the_numbers_of_float32(folder: Path, able, precision: str) -> None:
    able()
    model, exact = weixing.load(str(folder), "compiled", precision), weixing.load(str(folder), "compiled", "float32")
    assert model.precision == "float32"
    np.testing.assert_array_equal(model.features(["你好世界"]), exact.features(["你好世界"]))


def test_a_missing_extra_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"pip install 'weixing\[onnx\]'"):
        weixing.load(str(folder), "onnx")
