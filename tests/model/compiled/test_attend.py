"""Attention without a backward pass is that of torch, whatever the sizes and what queries see."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from weixing.model.compiled.attend import attend


def by_torch(q: np.ndarray, k: np.ndarray, v: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Of [B, M, A, U] and [B, T, A, U]: [B·M, A·U]."""
    places = np.arange(k.shape[1])
    mask = torch.from_numpy((places >= first[..., None]) & (places < last[..., None]))[:, None]
    parts = (torch.from_numpy(np.ascontiguousarray(part)).double().transpose(1, 2) for part in (q, k, v))
    seen = F.scaled_dot_product_attention(*parts, attn_mask=mask)
    return seen.transpose(1, 2).flatten(2).flatten(0, 1).numpy()


@pytest.mark.parametrize("units", [64, 16, 48])
@pytest.mark.parametrize(("keys", "queries"), [(1, 1), (5, 5), (16, 16), (17, 17), (70, 70), (33, 1), (40, 3)])
def test_any_size_and_any_sight(keys: int, queries: int, units: int) -> None:
    random = np.random.default_rng(keys * units)
    B, A = 4, 3
    qkv = random.standard_normal((B, keys, 3, A, units)).astype(np.float32)
    asked = random.standard_normal((B, queries, A, units)).astype(np.float32)
    first = random.integers(0, keys, (B, queries)) // 2
    last = random.integers(first + 1, keys + 1)
    out = np.full((B * queries, A * units), np.nan, np.float32)
    flat, H = qkv.reshape(B * keys, -1), A * units
    scale = np.float32(1 / np.sqrt(units))
    if queries == keys:
        attend(flat, 0, flat, H, 2 * H, first, last, scale, A, out)
        asked = qkv[:, :, 0]
    else:
        attend(
            asked.reshape(B * queries, -1), 0, np.ascontiguousarray(flat[:, H:]), 0, H, first, last, scale, A, out
        )  # fmt: skip
    np.testing.assert_allclose(out, by_torch(asked, qkv[:, :, 1], qkv[:, :, 2], first, last), rtol=0, atol=2e-6)


def test_scores_too_large_for_exp_are_still_shares() -> None:
    qkv = np.zeros((3, 3 * 16), np.float32)
    qkv[:, 0], qkv[:, 16], qkv[:, 32] = 1000, (1, -1, 1), (1, 2, 3)
    out = np.empty((3, 16), np.float32)
    attend(qkv, 0, qkv, 16, 32, np.zeros((1, 3), np.int64), np.full((1, 3), 3), np.float32(1), 1, out)
    np.testing.assert_allclose(out[:, 0], 2, rtol=1e-6)
    attend(-qkv, 0, -qkv, 16, 32, np.zeros((1, 3), np.int64), np.full((1, 3), 3), np.float32(-1), 1, out)
    np.testing.assert_allclose(out[:, 0], -2, rtol=1e-6)
