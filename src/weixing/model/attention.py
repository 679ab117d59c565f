"""Attention: what positions may see, in the form that suits the device, and the kernel for each form. Pure tensor code.

Shapes: B sequences, T positions, M asking positions (all T, or those that a last layer keeps), A attention heads.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from weixing.data.borders import attention_mask

Attention = Tensor | tuple[Tensor, Tensor] | None
"""What a model is told: bool [B, T], True where a token is real; bool [B, T, T], True where a query (dimension 1) may
see a key (dimension 2); int64 [B, T] twice, the ``first`` and ``last`` of `weixing.data.borders`; None: all see all."""

Mask = Tensor | BlockMask | None
"""What a layer is told: bool, broadcastable to [B, A, M, T]; blocks; or None: all see all."""

BLOCK = 128  # positions; flex_attention's own block size, within which it computes everything


def masks(attention: Attention, keep: Tensor | None, dropout: float) -> tuple[Mask, Mask]:
    """The mask of all layers, and that of the last one, in which the positions in `keep` [B, M] (None: all) ask.

    `dropout` is that of the attention probabilities. All forms give the same results.
    """
    if attention is None:
        return None, None
    if isinstance(attention, Tensor) and attention.dim() == 2:
        mask = attention[:, None, None]
        return mask, mask
    if isinstance(attention, Tensor):
        return attention[:, None], (attention if keep is None else select_positions(attention, keep))[:, None]
    first, last = attention
    whole: Mask = block_mask(first, last) if in_blocks(first, dropout) else attention_mask(first, last)[:, None]
    if keep is None:
        return whole, whole
    # Not in blocks: most of a block of queries would be empty.
    return whole, attention_mask(first.gather(1, keep), last.gather(1, keep), keys=first.shape[1])[:, None]


def in_blocks(first: Tensor, dropout: float) -> bool:
    """Whether blocks of keys that no query of a block sees are to be skipped, by a kernel that torch.compile makes.

    Uncompiled, flex_attention is for checking alone, on a CPU it has no backward pass, and it knows no dropout. Rows of
    one block have nothing to skip.
    """
    return torch.compiler.is_compiling() and first.is_cuda and first.shape[1] > BLOCK and dropout == 0


def block_mask(first: Tensor, last: Tensor) -> BlockMask:
    """``first`` and ``last``, int64 [B, T], for flex_attention."""

    def sees(b: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key >= first[b, query]) & (key < last[b, query])

    return create_block_mask(sees, len(first), None, first.shape[1], first.shape[1], first.device, BLOCK)


def attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Mask, dropout: float) -> Tensor:
    """[B, A, M, units of a head] and twice [B, A, T, the same] → [B, A, M, the same].

    Args:
        mask: what a query sees.
        dropout: of the attention probabilities; 0 with a mask of blocks.
    """
    if isinstance(mask, BlockMask):
        return flex_attention(queries, keys, values, block_mask=mask)
    return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, dropout_p=dropout)


def select_positions(x: Tensor, positions: Tensor) -> Tensor:
    """[B, T, N] at int64 [B, M] positions of each row → [B, M, N]."""
    return x.gather(1, positions[:, :, None].expand(-1, -1, x.shape[2]))
