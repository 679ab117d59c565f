"""Attention without a backward pass, a head after the other, in blocks that stay in a core's cache. Pure.

One call in place of three for each head, and 1.1 to 2 times as quick as torch's products of many small matrices
(docs/experiments.md). Shapes: B rows, M queries and T keys a row, A heads of U units, H = A·U; numbers are float32.
"""

import numpy as np
import torch

from weixing.model.compiled.blocks import COLUMNS, ROWS, block_float32
from weixing.model.compiled.numbers import compiled, exponentials

ZERO, ONE = np.float32(0), np.float32(1)


def can_attend(dtype: torch.dtype, units: int) -> bool:
    """Whether `attend` takes numbers of this type and heads of so many units."""
    return dtype == torch.float32 and units % COLUMNS == 0


@compiled
def attend(queries, query_at, others, key_at, value_at, first, last, scale, heads, out):  # type: ignore[no-untyped-def]  # compiled: numba infers the types
    """out [B·M, H] = softmax(scale · queries @ keys.T) @ values, of each head.

    Args:
        queries: C-contiguous [B·M, …], those of head 0 from column `query_at` on.
        others: C-contiguous [B·T, …], keys from column `key_at` on, values from `value_at` on.
        first, last: int64 [B, M]; a query sees the keys from first up to, not including, last.
        scale: float32.
    """
    B, M = first.shape
    T, U = len(others) // B, out.shape[1] // heads
    query_width, other_width = queries.shape[1], others.shape[1]
    wide = (T + COLUMNS - 1) // COLUMNS * COLUMNS
    keys, scores = np.zeros((U, wide), np.float32), np.zeros((ROWS, wide), np.float32)
    asking, seen = np.zeros((ROWS, U), np.float32), np.empty((ROWS, U), np.float32)
    values, shares = np.empty(T, np.float32), np.empty(ROWS, np.float32)
    flat_queries, flat_others = queries.reshape(-1), others.reshape(-1)
    flat_keys, flat_scores, flat_asking, flat_seen = (
        keys.reshape(-1), scores.reshape(-1), asking.reshape(-1), seen.reshape(-1),
    )  # fmt: skip
    for b in range(B):
        most = 0  # keys that any query of the row sees
        for m in range(M):
            most = max(most, last[b, m])
        for a in range(heads):
            for t in range(most):
                row = others[b * T + t, key_at + a * U : key_at + (a + 1) * U]
                for u in range(U):
                    keys[u, t] = row[u]
            for m in range(0, M, ROWS):
                rows = min(ROWS, M - m)
                n = b * M + m
                if rows < ROWS:
                    for r in range(rows):
                        asking[r] = queries[n + r, query_at + a * U : query_at + (a + 1) * U]
                for start in range(0, most, COLUMNS):
                    if rows < ROWS:
                        block_float32(  # type: ignore[call-arg]  # numba gives an intrinsic its context
                            flat_asking, 0, U, flat_keys, start, wide, U, flat_scores, start, wide
                        )
                    else:
                        at = n * query_width + query_at + a * U
                        block_float32(  # type: ignore[call-arg]  # numba gives an intrinsic its context
                            flat_queries, at, query_width, flat_keys, start, wide, U, flat_scores, start, wide
                        )
                for r in range(rows):
                    low, high = first[b, m + r], last[b, m + r]
                    row = scores[r]
                    total, _ = exponentials(row[low:high], None, scale, values)
                    row[:low] = 0
                    row[low:high] = values[: high - low]
                    row[high:most] = 0
                    shares[r] = ONE / total
                for u in range(0, U, COLUMNS):
                    at = b * T * other_width + value_at + a * U + u
                    block_float32(  # type: ignore[call-arg]  # numba gives an intrinsic its context
                        flat_scores, 0, wide, flat_others, at, other_width, most, flat_seen, u, U
                    )
                for r in range(rows):
                    row = out[n + r, a * U : (a + 1) * U]
                    for u in range(U):
                        row[u] = seen[r, u] * shares[r]
