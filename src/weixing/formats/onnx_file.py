"""ONNX files: written, run by onnxruntime, and compared with the model they were made of. Opens files, no sockets.

Needs the extra `onnx`, of which nothing is imported until one of these functions is called. The graph itself is in
`onnx_graph`.

Shapes: B sequences, T positions.
"""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from weixing.errors import UserError
from weixing.files import atomic_file
from weixing.formats.bert import Bert

Output = Literal["features", "fill-mask", "classify"]
Precision = Literal["fp32", "int8"]


@dataclass(frozen=True)
class Loss:
    """How far a file's first output is from the model's, over the tokens that are real.

    Args:
        largest_difference: of any two numbers.
        smallest_cosine: between two vectors: of a token's hidden state, of its logits, or of a sequence's logits.
        same_choice: share of the vectors of logits whose largest one is the same; None for features.
    """

    largest_difference: float
    smallest_cosine: float
    same_choice: float | None


def write_onnx(bert: Bert, output: Output, path: Path, precision: Precision = "fp32") -> None:
    """Write the graph that `onnx_graph.build` makes to `path`, whole or not at all, checked by onnx's own checker.

    Raises:
        UserError: the extra is missing; the model lacks the part for this output, or is too large for one file.
    """
    require_onnx()
    import onnx

    from weixing.formats.onnx_graph import build

    model = build(bert, output, precision)
    onnx.checker.check_model(model, full_check=True)
    with atomic_file(path) as beside:
        beside.write_bytes(model.SerializeToString())


def run_onnx(path: Path, ids: Tensor, token_types: Tensor, attention: Tensor) -> dict[str, np.ndarray]:
    """Every output of the file by its name, for int64 [B, T] ids and token types and bool [B, T] attention.

    Raises:
        UserError: the extra is missing.
    """
    require_onnx()
    session = open_session(path)
    values = {"input_ids": ids, "attention_mask": attention, "token_type_ids": token_types}
    names = [output.name for output in session.get_outputs()]
    results = session.run(names, {name: value.cpu().long().numpy() for name, value in values.items()})
    return dict(zip(names, results, strict=True))


def open_session(model: Path | bytes, threads: int = 0) -> Any:
    """An onnxruntime session on the CPU, of a file or what would be in it; `threads` 0: all cores."""
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = threads
    # A CPU with AVX2 but without VNNI adds pairs of 8-bit products in 16 bits, which overflow; this has it take
    # another kernel. It changes nothing on any other CPU.
    options.add_session_config_entry("session.x64quantprecision", "1")
    return InferenceSession(model, options, providers=["CPUExecutionProvider"])


def measured_loss(bert: Bert, output: Output, path: Path, ids: Tensor, token_types: Tensor, attention: Tensor) -> Loss:
    """What the file at `path`, made of `bert` for `output`, says of this batch, against the model in float32.

    Args:
        ids, token_types, attention: as in `run_onnx`.

    Raises:
        UserError: the extra is missing.
    """
    results = run_onnx(path, ids, token_types, attention)
    with torch.inference_mode():
        expected = copy.deepcopy(bert).cpu().float().eval()(ids.cpu(), token_types.cpu(), attention.cpu().bool())
    found = results["last_hidden_state" if output == "features" else "logits"]
    wanted = expected[{"features": "hidden", "fill-mask": "head", "classify": "classifier"}[output]].numpy()
    if output != "classify":
        real = attention.cpu().bool().numpy()
        found, wanted = found[real], wanted[real]
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(wanted, axis=1)
    return Loss(
        largest_difference=float(np.abs(found - wanted).max()),
        smallest_cosine=float(((found * wanted).sum(1) / lengths).min()),
        same_choice=None if output == "features" else float((found.argmax(1) == wanted.argmax(1)).mean()),
    )


def require_onnx() -> None:
    """Raise UserError unless the extra is there."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"ONNX files need the libraries onnx and onnxruntime ({error})", action="pip install 'weixing[onnx]'"
        ) from None
