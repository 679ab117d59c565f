"""Vocabulary entries that no row of a run holds, which training never reads. Pure."""

import numpy as np
import torch

from weixing.data.reach import Reach
from weixing.model.heads import MaskedLanguageModel
from weixing.training.cutting import local, part_of, whole


@torch.no_grad()
def fill_unreached(model: MaskedLanguageModel, reach: Reach) -> None:
    """Give the entries outside of `reach` the mean vector and bias of its rarest ones: to text, they are as rare."""
    unreached = np.setdiff1d(np.arange(len(model.head.bias)), reach.entries)
    for parameter in (model.encoder.embeddings.token.weight, model.head.bias):
        values = whole(parameter)
        values[unreached] = values[reach.rarest].mean(0)
        if values is not parameter:
            local(parameter).copy_(part_of(values, parameter))
