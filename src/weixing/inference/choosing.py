"""Which back end computes, and in which precision. Asks what the processor can do; opens no files.

``auto`` follows a rule, not a measurement, so that it is the same at every start. The rule comes from measurements
(docs/performance.md, made by ``python -m bench inference``): compiled passes are the quickest on every CPU that was
measured, in bf16 where the processor has it, else in 16-bit whole numbers where it has AVX2, else in float32. On a GPU
it is torch, in bf16. `weixing bench-inference` measures a machine, and says whether another would be quicker there.
"""

from typing import NamedTuple, cast

import torch

from weixing.errors import UserError
from weixing.formats.bert import Bert
from weixing.inference.backends import Backend, Precision
from weixing.inference.compiled_backend import CompiledBackend
from weixing.inference.torch_backend import TorchBackend
from weixing.model.compiled.int16 import has_int16
from weixing.training.devices import has_bf16

AUTO = "auto"
LEAST_COSINE = 0.999
"""Between a text's vector and the one in float32: what ``auto`` may lose."""


class Way(NamedTuple):
    """A back end and its precision, as `weixing.load` takes them."""

    backend: str
    precision: Precision


WAYS = (
    Way("compiled", "float32"), Way("compiled", "bf16"), Way("compiled", "int16"),
    Way("torch", "float32"), Way("torch", "bf16"),
    Way("onnx", "float32"), Way("onnx-int8", "int8"),
)  # fmt: skip
BACKENDS = tuple(dict.fromkeys(way.backend for way in WAYS))
PRECISIONS = tuple(dict.fromkeys(way.precision for way in WAYS))


def choose(backend: str, precision: str, device: torch.device) -> Way:
    """The way that these names mean on a device.

    A back end's first precision is its own; ``bf16`` and ``int16`` are float32 where the processor cannot.

    Args:
        backend: one of `BACKENDS`, or ``auto``: torch on a GPU, compiled on a CPU, but onnx-int8 for ``int8``.
        precision: one of `PRECISIONS`, or ``auto``: with ``auto`` the quickest, else the back end's first.

    Raises:
        UserError: there is no such back end or precision, not together, or not on this device.
    """
    if backend not in (AUTO, *BACKENDS) or precision not in (AUTO, *PRECISIONS):
        what = f"backend {backend!r}" if backend not in (AUTO, *BACKENDS) else f"precision {precision!r}"
        names = BACKENDS if backend not in (AUTO, *BACKENDS) else PRECISIONS
        raise UserError(what, accepted=" or ".join((AUTO, *names)))
    possible = {"bf16": has_bf16(device), "int16": device.type == "cpu" and has_int16()}
    if backend == AUTO:
        backend = "torch" if device.type != "cpu" else "onnx-int8" if precision == "int8" else "compiled"
        if precision == AUTO:
            quick = ("bf16", "int16") if backend == "compiled" else ("bf16",)
            precision = next((name for name in quick if possible[name]), "float32")
    its = [way.precision for way in WAYS if way.backend == backend]
    if precision == AUTO:
        precision = its[0]
    if precision not in its:
        raise UserError(f"precision {precision!r} of backend {backend!r}", accepted=" or ".join((AUTO, *its)))
    if backend != "torch" and device.type != "cpu":
        raise UserError(f"backend {backend!r} on {device.type}", accepted=f"{AUTO} or torch; the others are a CPU's")
    return Way(backend, cast(Precision, precision if possible.get(precision, True) else "float32"))


def make(way: Way, bert: Bert) -> Backend:
    """The back end for a model on its device.

    Raises:
        UserError: an extra is missing.
    """
    if way.backend.startswith("onnx"):
        from weixing.formats.onnx_file import require_onnx

        require_onnx()
        from weixing.inference.onnx_backend import OnnxBackend

        return OnnxBackend(bert, way.precision)
    if way.backend == "torch":
        return TorchBackend(bert, way.precision)
    return CompiledBackend(bert, way.precision)
