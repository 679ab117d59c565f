"""The BERT encoder: post-LayerNorm, learned positions, exact-erf GELU (Devlin et al. 2018, arXiv 1810.04805).

Pure tensor code; nothing here opens a file or touches a global random state once the weights exist.
Shapes: B sequences, T positions, M kept positions, H hidden units, A attention heads (of 64 units each in the family).
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from weixing.model.attention import Attention, Mask, attend, masks, select_positions
from weixing.zoo import Shape

LAYER_NORM_EPSILON = 1e-12


class Embeddings(nn.Module):
    """Sum of token, position and token-type vectors, then LayerNorm and dropout."""

    def __init__(self, shape: Shape, dropout: float) -> None:
        super().__init__()
        self.token = nn.Embedding(shape.vocabulary_size, shape.hidden)
        self.position = nn.Embedding(shape.positions, shape.hidden)
        self.token_type = nn.Embedding(shape.token_types, shape.hidden)
        self.norm = nn.LayerNorm(shape.hidden, eps=LAYER_NORM_EPSILON)
        self.dropout = nn.Dropout(dropout)

    def forward(self, ids: Tensor, token_types: Tensor | None, positions: Tensor | None) -> Tensor:
        """[B, T] ids (and token types, positions) → [B, T, H]."""
        # What is the same for every row is added once as a slice, not looked up for each position.
        place = self.position.weight[: ids.shape[1]] if positions is None else self.position(positions)
        kind = self.token_type.weight[0] if token_types is None else self.token_type(token_types)
        return self.dropout(self.norm(self.token(ids) + (place + kind)))


class SelfAttention(nn.Module):
    """Multi-head attention; one matrix makes queries, keys and values (rows 0..H-1, H..2H-1, 2H..3H-1)."""

    def __init__(self, hidden: int, head_units: int, dropout: float) -> None:
        super().__init__()
        self.head_units = head_units
        self.query_key_value = nn.Linear(hidden, 3 * hidden)
        self.output = nn.Linear(hidden, hidden)
        self.dropout = nn.Dropout(dropout)  # on the attention probabilities, inside the kernel

    def forward(self, x: Tensor, mask: Mask, asking: Tensor | None = None) -> Tensor:
        """[B, T, H] → [B, T, H]; the mask is for the positions that ask.

        With `asking` [B, M, H], what some positions hold: these alone ask, all T are looked at → [B, M, H].
        """
        H = x.shape[2]
        if asking is None:
            q, k, v = self.query_key_value(x).split(H, dim=2)
        else:
            weight, bias = self.query_key_value.weight, self.query_key_value.bias
            q = F.linear(asking, weight[:H], bias[:H])
            k, v = F.linear(x, weight[H:], bias[H:]).split(H, dim=2)
        q, k, v = (part.unflatten(2, (-1, self.head_units)).transpose(1, 2) for part in (q, k, v))
        y = attend(q, k, v, mask, self.dropout.p if self.training else 0.0)
        return self.output(y.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """H → 4H → GELU → H."""

    def __init__(self, hidden: int, inner: int) -> None:
        super().__init__()
        self.inner = nn.Linear(hidden, inner)
        self.output = nn.Linear(inner, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, H] → [B, T, H]."""
        return self.output(F.gelu(self.inner(x)))


class Layer(nn.Module):
    """Attention, then feed-forward; each is dropped out, added to its input and normalised after."""

    def __init__(self, shape: Shape, dropout: float) -> None:
        super().__init__()
        self.attention = SelfAttention(shape.hidden, shape.head_units, dropout)
        self.attention_norm = nn.LayerNorm(shape.hidden, eps=LAYER_NORM_EPSILON)
        self.feed_forward = FeedForward(shape.hidden, shape.feed_forward)
        self.feed_forward_norm = nn.LayerNorm(shape.hidden, eps=LAYER_NORM_EPSILON)
        self.dropout = nn.Dropout(dropout)
        self.recompute = False  # in the backward pass, what lies between input and output; saves memory

    def forward(self, x: Tensor, mask: Mask, keep: Tensor | None = None) -> Tensor:
        """[B, T, H], mask as in SelfAttention → [B, T, H]; with `keep` int64 [B, M] → those positions, [B, M, H]."""
        if self.recompute and torch.is_grad_enabled():
            return cast(Tensor, checkpoint(self._compute, x, mask, keep, use_reentrant=False))
        return self._compute(x, mask, keep)

    def _compute(self, x: Tensor, mask: Mask, keep: Tensor | None) -> Tensor:
        asking = x if keep is None else select_positions(x, keep)
        y = self.attention(x, mask, None if keep is None else asking)
        x = self.attention_norm(asking + self.dropout(y))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))


class Encoder(nn.Module):
    """Token ids → hidden states.

    Args:
        shape: depth, width and table sizes.
        dropout: probability after the embedding LayerNorm, on the attention probabilities, after the attention
            output and after the feed-forward output; in force in training mode alone.
    """

    def __init__(self, shape: Shape, dropout: float = 0.0) -> None:
        super().__init__()
        self.shape = shape
        self.embeddings = Embeddings(shape, dropout)
        self.layers = nn.ModuleList(Layer(shape, dropout) for _ in range(shape.layers))

    def forward(
        self,
        ids: Tensor,
        token_types: Tensor | None = None,
        attention: Attention = None,
        positions: Tensor | None = None,
        keep: Tensor | None = None,
    ) -> Tensor:
        """Hidden states of the last layer, [B, T, H], or [B, M, H] at the positions in `keep`.

        Args:
            ids: int64 [B, T].
            token_types: int64 [B, T]; None: 0 everywhere.
            attention: what each position sees (`weixing.model.attention`); None: every other, the quickest.
            positions: int64 [B, T]; None: 0 … T-1.
            keep: int64 [B, M], positions within each row. The last layer asks and feeds forward at these alone, which
                saves most of its work and changes nothing else; a model of L layers costs almost L - 1.
        """
        mask, last_mask = masks(attention, keep, self.embeddings.dropout.p if self.training else 0.0)
        x = self.embeddings(ids, token_types, positions)
        for layer in self.layers[:-1]:
            x = layer(x, mask)
        return cast(Tensor, self.layers[-1](x, last_mask, keep))

    def set_dropout(self, dropout: float) -> None:
        """Change the dropout probability of every place that has one (a loaded model starts with 0)."""
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = dropout
