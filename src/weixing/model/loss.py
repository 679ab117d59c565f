"""The masked-LM loss over a tied decoder. Pure tensor code.

A plain cross entropy writes and reads [N, V] float32 numbers half a dozen times; with 128–256 hidden units that costs a
CPU several times what the matrix products cost. There, in bf16, the logits' own memory becomes that of their gradient,
in one compiled pass, and the three matrix products are all that is left. Elsewhere the plain form is used, and the fast
one is tested against it. Shapes: N predicted positions, H hidden units, V vocabulary entries.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def tied_cross_entropy(x: Tensor, vectors: Tensor, bias: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of the cross entropies of ``x @ vectors.T + bias`` against `labels`.

    Args:
        x: [N, H], outputs of the head's transform.
        vectors: [V, H], token vectors.
        bias: [V].
        labels: int64 [N].
        weights: float32 [N], 0 where a position does not count.

    Returns:
        A scalar (float32, or float64 for such input), differentiable in x, vectors and bias.
    """
    if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        return _FusedOnCpu.apply(x, vectors, bias, labels, weights)
    logits = F.linear(x, vectors, bias)
    losses = F.cross_entropy(logits.to(torch.promote_types(x.dtype, torch.float32)), labels, reduction="none")
    return (losses * weights).sum()


class _FusedOnCpu(torch.autograd.Function):
    """The same in bf16, with the gradients made in the forward pass: the backward pass only scales them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, vectors: Tensor, bias: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            x, vectors = x.bfloat16(), vectors.bfloat16()
            logits = torch.addmm(bias.bfloat16(), x, vectors.t())
            losses = torch.empty(len(labels))
            _in_threads(logits.view(torch.uint16).numpy(), labels.numpy(), weights.numpy(), losses.numpy())
            ctx.save_for_backward(logits @ vectors, logits.t() @ x, logits.sum(0, dtype=torch.float32))
        return losses.sum()

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        x_gradient, vectors_gradient, bias_gradient = ctx.saved_tensors
        return x_gradient.float() * outer[0], vectors_gradient.float() * outer[0], bias_gradient * outer[0], None, None


def _in_threads(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray, losses: np.ndarray) -> None:
    from weixing.model.kernels import cross_entropy_rows

    threads = torch.get_num_threads()
    parts = [slice(len(labels) * n // threads, len(labels) * (n + 1) // threads) for n in range(threads)]

    def work(part: slice) -> None:
        scratch = np.empty(logits.shape[1], np.float32)
        cross_entropy_rows(logits[part], labels[part], weights[part], losses[part], scratch)

    list(_pool(threads).map(work, parts)) if threads > 1 else work(parts[0])


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="weixing-loss")
