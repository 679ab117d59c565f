"""The mean of several models' weights. Opens the models.

Checkpoints of one run at a held learning rate, averaged, stand where a decay would have led (Izmailov et al. 2018,
"Averaging Weights Leads to Wider Optima and Better Generalization", arXiv 1803.05407; Sanyal et al. 2023, "Early Weight
Averaging meets High Learning Rates", arXiv 2306.03241). Models of separate runs have no reason to share a valley.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from weixing.errors import UserError
from weixing.formats.naming import load_masked_lm
from weixing.model.heads import MaskedLanguageModel
from weixing.text.vocabulary import Vocabulary
from weixing.training.snapshots import is_checkpoint, model_at


def load_any(name: str) -> tuple[MaskedLanguageModel, Vocabulary]:
    """A checkpoint of a run, or whatever `load_masked_lm` knows under `name`."""
    return model_at(Path(name)) if is_checkpoint(Path(name)) else load_masked_lm(name)


@torch.no_grad()
def average(names: Sequence[str], shares: Sequence[float] | None = None) -> tuple[MaskedLanguageModel, Vocabulary]:
    """The weighted mean, summed in float64, of the models in `names`, and their vocabulary.

    Args:
        names: two or more checkpoints or models of one shape and vocabulary; each is opened when its turn comes.
        shares: their weights, above 0, which need not sum to 1; None: all the same.

    Raises:
        UserError: fewer than two, shares that are not theirs, a model that is not of the first one's kind.
    """
    if len(names) < 2:
        raise UserError("one model has no mean", accepted="two or more checkpoints or models")
    shares = [1.0] * len(names) if shares is None else list(shares)
    if len(shares) != len(names):
        raise UserError(f"{len(shares)} weights", where="--weights", accepted=f"{len(names)}, one for each model")
    model, vocabulary = load_any(names[0])
    sums = {key: tensor.double() * shares[0] for key, tensor in model.state_dict().items()}
    for name, share in zip(names[1:], shares[1:], strict=True):
        other, its_vocabulary = load_any(name)
        if other.encoder.shape != model.encoder.shape or its_vocabulary != vocabulary:
            raise UserError(
                f"a {other.encoder.shape.name} with vocabulary {its_vocabulary}, which has no mean with "
                f"a {model.encoder.shape.name} with vocabulary {vocabulary}",
                where=name, accepted=f"models of the shape and vocabulary of {names[0]}",
            )  # fmt: skip
        for key, tensor in other.state_dict().items():
            sums[key] += tensor.double() * share
    model.load_state_dict({key: (tensor / sum(shares)).float() for key, tensor in sums.items()})
    return model, vocabulary
