"""The 24 Chinese RoBERTa miniatures and their names; exact parameter and FLOP counts. Plain values, no I/O.

A miniature is a depth L (layers) and a width H (hidden units); everything else follows: H/64 attention heads,
4H feed-forward units, 512 positions, 2 token types, and the 21,128-entry vocabulary of the published models.
Source of the grid: the model cards of uer/chinese_roberta_L-*_H-*; Turc et al. 2019, arXiv 1908.08962.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from weixing.errors import UserError

LAYERS = (2, 4, 6, 8, 10, 12)
HIDDEN = (128, 256, 512, 768)
HEAD_UNITS = 64
PUBLISHED_VOCABULARY_SIZE = 21_128
FLOPS_SEQUENCE_LENGTH, FLOPS_PREDICTED_SHARE = 128, 0.15  # what FLOPs per token are stated at, here and everywhere
ALIASES = {"tiny": "2/128", "mini": "4/256", "small": "4/512", "medium": "8/512", "base": "12/768"}


@dataclass(frozen=True)
class Shape:
    """One encoder shape.

    Args:
        layers: transformer layers L.
        hidden: hidden units H, a multiple of 64.
        vocabulary_size: entries V of the token embedding.
        positions: longest sequence, in tokens.
        token_types: segment embeddings (first and second text).
        head_units: units of one attention head, of which `hidden` is a multiple; 64 in the family.
        feed_forward: units of the feed-forward layer; 0 stands for 4 · hidden, as in the family.

    Raises:
        UserError: a count is not positive, or `hidden` is not a multiple of `head_units`.
    """

    layers: int
    hidden: int
    vocabulary_size: int = PUBLISHED_VOCABULARY_SIZE
    positions: int = 512
    token_types: int = 2
    head_units: int = HEAD_UNITS
    feed_forward: int = 0

    def __post_init__(self) -> None:
        if not self.feed_forward:
            object.__setattr__(self, "feed_forward", 4 * self.hidden)
        counts = (self.layers, self.hidden, self.vocabulary_size, self.positions, self.token_types, self.feed_forward)
        if min(*counts, self.head_units) < 1:
            raise UserError(f"a model shape with a count below 1: {self}", accepted="positive whole numbers")
        if self.hidden % self.head_units:
            raise UserError(
                f"a model shape with {self.hidden} hidden units",
                accepted=f"a multiple of {self.head_units} (one attention head for each {self.head_units} units)",
                action="Choose one of " + ", ".join(map(str, HIDDEN)) + ", or another multiple",
            )

    @property
    def name(self) -> str:
        """``L/H``, as the command line writes it."""
        return f"{self.layers}/{self.hidden}"

    @property
    def alias(self) -> str | None:
        """``tiny``, ``mini``, ``small``, ``medium``, ``base``, or None."""
        return next((alias for alias, name in ALIASES.items() if name == self.name and self.is_regular), None)

    @property
    def upstream_id(self) -> str | None:
        """Hub id of the published model of this depth and width, or None where there is none."""
        if self.layers in LAYERS and self.hidden in HIDDEN and self.is_regular:
            return f"uer/chinese_roberta_L-{self.layers}_H-{self.hidden}"
        return None

    @property
    def is_regular(self) -> bool:
        """Whether depth and width say it all: heads of 64 units, a feed-forward layer of 4 · hidden."""
        return self.head_units == HEAD_UNITS and self.feed_forward == 4 * self.hidden

    @property
    def heads(self) -> int:
        """Attention heads."""
        return self.hidden // self.head_units

    @property
    def parameters(self) -> int:
        """Trainable numbers of the masked language model (tied decoder, no pooler): `BertForMaskedLM`'s own count."""
        H, F, V = self.hidden, self.feed_forward, self.vocabulary_size
        embeddings = (V + self.positions + self.token_types) * H + 2 * H
        attention = 4 * (H * H + H) + 2 * H
        feed_forward = (H * F + F) + (F * H + H) + 2 * H
        head = (H * H + H) + 2 * H + V
        return embeddings + self.layers * (attention + feed_forward) + head

    def forward_flops_per_token(self, sequence_length: int, predicted_share: float) -> float:
        """Multiply-adds counted as two operations, for one position of a forward pass.

        ``8 H² + 4 H F + 4 T H`` for each layer (in the family, where F = 4 H: ``24 H² + 4 T H``): its matrix products,
        attention scores and sums. The last layer needs keys and values everywhere (``4 H²``) but the rest only at the
        share p of the positions that are predicted, and so does the masked-LM head, ``2 (V H + H²)``. This counts what
        is computed here, not the usual ``24 L H² + …``.
        """
        L, H, V, p = self.layers, self.hidden, self.vocabulary_size, predicted_share
        layer, keys_and_values = self._layer_flops_per_token(sequence_length), 4 * H * H
        return (L - 1) * layer + keys_and_values + p * (layer - keys_and_values) + 2 * p * (V * H + H * H)

    def encoder_flops_per_token(self, sequence_length: int) -> float:
        """Of the encoder's forward pass alone, every position of the last layer computed: what vectors cost."""
        return self.layers * self._layer_flops_per_token(sequence_length)

    def _layer_flops_per_token(self, sequence_length: int) -> float:
        H, F = self.hidden, self.feed_forward
        return 8 * H * H + 4 * H * F + 4 * sequence_length * H

    def training_flops_per_token(self, sequence_length: int, predicted_share: float) -> float:
        """The same for forward and backward pass together: three times the forward pass."""
        return 3 * self.forward_flops_per_token(sequence_length, predicted_share)


def parse_shape(name: str, vocabulary_size: int = PUBLISHED_VOCABULARY_SIZE) -> Shape | None:
    """The shape that `name` (``8/512``, ``tiny``, or a custom ``3/192``) means; None if it is no shape's name.

    Raises:
        UserError: a name of the form L/H that is no possible shape.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", ALIASES.get(name.lower(), name))
    return Shape(int(match[1]), int(match[2]), vocabulary_size) if match else None


class Zoo(Mapping[str, Shape]):
    """The 24 shapes by name. ``zoo["8/512"]``, ``zoo["tiny"]``; ``zoo["3/192"]`` gives a custom shape."""

    def __getitem__(self, name: str) -> Shape:
        shape = parse_shape(name)
        if shape is None:
            raise KeyError(name)
        return shape

    def __iter__(self) -> Iterator[str]:
        return (f"{layers}/{hidden}" for layers in LAYERS for hidden in HIDDEN)

    def __len__(self) -> int:
        return len(LAYERS) * len(HIDDEN)


ZOO = Zoo()
