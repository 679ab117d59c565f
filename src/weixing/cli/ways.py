"""What the verbs that use a model say about what computes it."""

from typing import TYPE_CHECKING

from weixing.progress import say

if TYPE_CHECKING:
    from weixing.inference.model import Model

BACKEND_HELP = "auto, compiled, torch, onnx or onnx-int8."
PRECISION_HELP = "auto (quickest, cosine to float32 0.999), float32, bf16, int16 or int8."


def say_way(model: "Model", backend: str) -> None:
    """One line on stderr about what ``auto`` came to."""
    if backend == "auto":
        say(f"backend {model.backend.name}, {model.precision} (chosen by auto; see: weixing bench-inference)")
