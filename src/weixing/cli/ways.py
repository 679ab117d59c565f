"""What the verbs that use a model say about what computes it, and of a file that they worked off."""

from typing import TYPE_CHECKING, Any

from weixing.progress import say

if TYPE_CHECKING:
    from weixing.inference.bulk import Done
    from weixing.inference.model import Model

BACKEND_HELP = "auto, compiled, torch, onnx or onnx-int8."
PRECISION_HELP = "auto (quickest, cosine to float32 0.999), float32, bf16, int16 or int8."


def say_way(model: "Model", backend: str) -> None:
    """One line on stderr about what ``auto`` came to."""
    if backend == "auto":
        say(f"backend {model.backend.name}, {model.precision} (chosen by auto; see: weixing bench-inference)")


def figures(done: "Done", model: "Model", seconds: float) -> dict[str, Any]:
    """What ``--json`` tells of a file; `seconds` are those of this run alone, and so is the rate."""
    return {
        "texts": done.texts,
        "tokens": done.tokens,
        "seconds": round(seconds, 4),
        "texts_per_second": round((done.texts - done.earlier) / seconds, 2),
        "backend": model.backend.name,
        "precision": model.precision,
        "bad_lines": done.bad,
    }
