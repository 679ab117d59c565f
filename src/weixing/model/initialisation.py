"""How fresh weights begin. Seeded by a generator of its own: the global random state is neither read nor moved."""

import math
from typing import Literal

import torch
from torch import nn

STANDARD_DEVIATION = 0.02


@torch.no_grad()
def initialise(model: nn.Module, scheme: Literal["bert", "uer"] = "bert", seed: int = 7) -> None:
    """Give every parameter of `model` its first value, in place; the same on every device and machine.

    ``bert``: weights and embeddings from N(0, 0.02²), biases 0, LayerNorm gain 1 and shift 0 (Devlin et al. 2018).

    ``uer``: biases from N(0, 0.02²) as well, LayerNorm shift 0 (UER-py trainer.py:38-40), and LayerNorm gain
    √((H-1)/H): UER-py divides by the unbiased standard deviation (layers/layer_norm.py:16-21), and a gain of 1
    there is this gain here.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if isinstance(module, nn.LayerNorm):
                units = parameter.numel()
                gain = math.sqrt((units - 1) / units) if scheme == "uer" else 1.0
                parameter.fill_(gain if name == "weight" else 0.0)
            elif name == "bias" and scheme == "bert":
                parameter.zero_()
            else:
                parameter.copy_(torch.empty(parameter.shape).normal_(0.0, STANDARD_DEVIATION, generator=generator))
