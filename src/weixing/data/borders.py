"""What a token of a packed or padded row may see, where its text begins. Pure.

A token sees a run of keys: ``first`` up to, not including, ``last``, both int64 [B, T]. The two say what a mask
[B, T, T] would say in a T-th of its memory.
"""

import torch
from torch import Tensor


def isolate_documents(ids: Tensor, cls_id: int) -> tuple[Tensor, Tensor, Tensor]:
    """Keep attention and positions of packed rows within one document each.

    Args:
        ids: [B, T] int64, rows of layout ``packed`` before masking: a [CLS] begins each document's piece.
        cls_id: id of [CLS].

    Returns:
        first, last [B, T] int64, and positions [B, T] int64, counted from each piece's [CLS]. With them a piece is
        encoded as if it stood alone.
    """
    length = ids.shape[1]
    begins = ids == cls_id
    place = torch.arange(length, device=ids.device).expand_as(ids)
    first = torch.where(begins, place, 0).cummax(1).values
    # The next piece begins at the nearest [CLS] to the right: a running minimum from the end.
    next_begin = torch.where(begins, place, length).flip(1).cummin(1).values.flip(1)
    last = torch.cat([next_begin[:, 1:], next_begin.new_full((len(ids), 1), length)], dim=1)
    return first, last, place - first


def attention_mask(first: Tensor, last: Tensor, keys: int | None = None) -> Tensor:
    """The same as a mask: bool [B, T, T], True where a query (dimension 1) sees a key (dimension 2).

    With `keys`, for some queries of rows that long: [B, M] each → [B, M, keys].
    """
    key = torch.arange(keys or first.shape[1], device=first.device)
    return (key >= first[:, :, None]) & (key < last[:, :, None])
