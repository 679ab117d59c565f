"""Document borders of packed rows as attention and positions: what a token may see, where its text begins. Pure."""

import torch
from torch import Tensor


def isolate_documents(ids: Tensor, cls_id: int) -> tuple[Tensor, Tensor]:
    """Keep attention and positions of packed rows within one document each.

    Args:
        ids: [B, T] int64, rows of layout ``packed`` before masking: a [CLS] begins each document's piece.
        cls_id: id of [CLS].

    Returns:
        attention [B, T, T] bool, True where a query (dimension 1) may see a key (dimension 2); and positions [B, T]
        int64, counted from each piece's [CLS]. With them a piece is encoded as if it stood alone.
    """
    begins = ids == cls_id
    document = begins.cumsum(1)
    place = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    start = torch.where(begins, place, 0).cummax(1).values
    return document[:, :, None] == document[:, None, :], place - start
