"""How fresh weights begin. Seeded by a generator of its own: the global random state is neither read nor moved."""

import math
from typing import cast

import torch
from torch import Tensor, nn

from weixing.model.encoder import Encoder, Layer
from weixing.recipes import Initialisation

STANDARD_DEVIATION = 0.02
POSITION_AMPLITUDE = 0.06
NEIGHBOUR_SCORE = 8.0  # of the position that a head looks at, e^8 times as much as of one elsewhere


@torch.no_grad()
def initialise(model: nn.Module, scheme: Initialisation = "bert", seed: int = 7) -> None:
    """Give every parameter of `model` its first value, in place; the same on every device and machine.

    ``bert``: weights and embeddings from N(0, 0.02²), biases 0, LayerNorm gain 1 and shift 0 (Devlin et al. 2018).

    ``uer``: biases from N(0, 0.02²) as well, LayerNorm shift 0 (UER-py trainer.py:38-40), and LayerNorm gain
    √((H-1)/H): UER-py divides by the unbiased standard deviation (layers/layer_norm.py:16-21), and a gain of 1
    there is this gain here.

    ``neighbours``: as ``bert``, but the heads of the first layer look at the neighbours of each position from the
    start (see `_look_at_neighbours`). Learnt from random weights, that is what most of a short run is spent on:
    until a head knows left from right, a model knows no more than how frequent each character is.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if isinstance(module, nn.LayerNorm):
                units = parameter.numel()
                gain = math.sqrt((units - 1) / units) if scheme == "uer" else 1.0
                parameter.fill_(gain if name == "weight" else 0.0)
            elif name == "bias" and scheme != "uer":
                parameter.zero_()
            else:
                parameter.copy_(torch.empty(parameter.shape).normal_(0.0, STANDARD_DEVIATION, generator=generator))
    if scheme == "neighbours":
        for module in model.modules():
            if isinstance(module, Encoder):
                _look_at_neighbours(module, generator)


def _look_at_neighbours(encoder: Encoder, generator: torch.Generator) -> None:
    """Position vectors of sines, and a first layer whose heads look 1 to the left, 1 to the right, 2 to the left, …

    A head of U units compares position vectors p of U/2 frequencies ω, of which the query's is rotated by its distance
    d: q(i)·k(j) = Σ cos ω(i + d - j), which is largest at j = i + d (vectors: Vaswani et al. 2017, section 3.5).
    Values and output are orthogonal, so that what a head finds arrives whole.
    """
    H, units = encoder.shape.hidden, encoder.shape.head_units
    pairs = units // 2
    even, odd = torch.arange(pairs) * 2, torch.arange(pairs) * 2 + 1
    # One frequency in each of U/2 equal parts of 0 … π: at equal distances they would all be in step again at 2 · U.
    frequencies = math.pi * (torch.arange(pairs) + torch.rand(pairs, generator=generator)) / pairs
    angles = torch.arange(encoder.shape.positions)[:, None] * frequencies
    place = encoder.embeddings.position.weight
    place.zero_()
    place[:, even], place[:, odd] = POSITION_AMPLITUDE * angles.cos(), POSITION_AMPLITUDE * angles.sin()

    # What the embeddings' LayerNorm divides by: token and token-type vectors are drawn, two of the three it adds up.
    size = math.sqrt(2 * STANDARD_DEVIATION**2 + POSITION_AMPLITUDE**2 * pairs / H)
    # At the distance a head looks at, Σ cos is the number of pairs; scores are divided by √units.
    gain = math.sqrt(NEIGHBOUR_SCORE * math.sqrt(units) / pairs) * size / POSITION_AMPLITUDE
    attention = cast(Layer, encoder.layers[0]).attention
    for head in range(H // units):
        distance = (1 + head // 2) * (1 if head % 2 else -1)
        cosines, sines = (frequencies * distance).cos(), (frequencies * distance).sin()
        rotation = torch.zeros(units, H)
        rotation[even, even] = rotation[odd, odd] = cosines
        rotation[even, odd], rotation[odd, even] = -sines, sines
        rows = slice(head * units, (head + 1) * units)
        attention.query_key_value.weight[:H][rows] = gain * rotation
        attention.query_key_value.weight[H : 2 * H][rows] = gain * torch.eye(units, H)
    for matrix in (attention.query_key_value.weight[2 * H :], attention.output.weight):
        matrix.copy_(torch.linalg.qr(torch.empty(H, H).normal_(generator=generator))[0])


@torch.no_grad()
def begin_with_frequencies(bias: Tensor, counts: Tensor) -> None:
    """Let a masked-LM head begin at how frequent each entry is, in place of as frequent as any other.

    Args:
        bias: float32 [V], of the head.
        counts: int64 [V], how often each entry occurs where predictions are asked for.
    """
    frequencies = (counts.double() + 0.5) / (counts.double() + 0.5).sum()
    bias.copy_(frequencies.log() - frequencies.log().mean())
