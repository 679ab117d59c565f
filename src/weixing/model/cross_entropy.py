"""Cross entropy of positions against all token vectors, without their logits ever standing there all at once. Pure.

Shapes: n positions, H hidden units, V vocabulary entries.
"""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from weixing.model.soft_targets import SoftTargets

AT_ONCE = (
    4096  # positions whose logits are made at a time: at 21,128 entries 350 MB in float32, and work for a whole GPU
)


def decoded_cross_entropy(
    x: Tensor, vectors: Tensor, bias: Tensor, labels: Tensor, weights: Tensor, soft: SoftTargets | None = None
) -> Tensor:
    """Weighted sum of the cross entropies of ``softmax(x vectorsᵀ + bias)``: a float32 scalar (float64 of float64).

    For training: the gradients are made in the forward pass, from the logits while they are there. Nothing of size
    n · V is kept for the backward pass or computed twice, and autograd cannot go on to second derivatives.

    Args:
        x: [n, H]; vectors: [V, H]; bias: [V].
        labels: int64 [n].
        weights: float32 [n].
        soft: targets beside the labels, [n, K], its entries rows of `vectors`; None: the labels alone.
    """
    given = (soft.entries, soft.shares) if soft else (None, None)
    return cast(Tensor, _DecodedCrossEntropy.apply(x, vectors, bias, labels, weights, *given))


class _DecodedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        vectors: Tensor,
        bias: Tensor,
        labels: Tensor,
        weights: Tensor,
        soft_entries: Tensor | None,
        soft_shares: Tensor | None,
    ) -> Tensor:
        entry = torch.arange(len(bias), device=x.device)
        dtype = torch.promote_types(x.dtype, torch.float32)
        loss = torch.zeros((), dtype=dtype, device=x.device)
        by_vectors, by_bias = torch.zeros_like(vectors, dtype=dtype), torch.zeros_like(bias, dtype=dtype)
        by_x = []
        for start in range(0, len(x), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            label, weight = labels[part, None], weights[part, None]
            logits = F.linear(x[part], vectors, bias)  # in autocast's type, as the two other products
            wide = logits.to(dtype)
            normaliser = wide.logsumexp(1, keepdim=True)
            target = (entry == label).to(dtype)
            expected = wide.gather(1, label)
            if soft_entries is not None and soft_shares is not None:
                entries, shares = soft_entries[part], soft_shares[part].to(dtype)
                rest = 1 - shares.sum(1, keepdim=True)
                expected = rest * expected + (shares * wide.gather(1, entries)).sum(1, keepdim=True)
                target = (rest * target).scatter_add(1, entries, shares)
            loss = loss + ((normaliser - expected) * weight).sum()
            slope = (((wide - normaliser).exp() - target) * weight).to(logits.dtype)
            by_bias = by_bias + slope.sum(0, dtype=dtype)
            by_x.append((slope @ vectors).to(x.dtype))
            by_vectors = by_vectors + slope.t() @ x[part]
        ctx.save_for_backward(torch.cat(by_x), by_vectors.to(vectors.dtype), by_bias.to(bias.dtype))
        return loss

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        by_x, by_vectors, by_bias = ctx.saved_tensors
        return by_x * outer.to(by_x.dtype), by_vectors * outer, by_bias * outer, None, None, None, None
