"""A model as it was read, whatever its format; and how two models are compared. Pure: opens no files.

Shapes: B sequences, T positions.
"""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from weixing.errors import UserError
from weixing.formats.bert import Bert
from weixing.text.vocabulary import Vocabulary
from weixing.zoo import Shape

ROUNDING = 2e-5  # most that other orders of the same sums may change an output in float32, as a share of the largest


@dataclass(frozen=True)
class Source:
    """A model that was read.

    Attributes:
        bert: on the CPU, float32.
        format: its name for messages.
        where: what was read.
        vocabulary: None where the format has none.
        labels: of the classifier's outputs, in order; None where it has none or they have no names.
        dtype: that its weights are stored in.
        original: what computes as the framework that the file was made for does; None: `bert` itself.
        left_aside: tensors of the file that `bert` has not, by the file's name, with what they are.
        heads_assumed: whether nothing said how many heads there are, and 64 units each were assumed.
        folded: whether LayerNorms that come from UER-py's were folded (`weixing.formats.uer`); None: not from there.
        lower_case: whether its tokenizer ignores capitals.
    """

    bert: Bert
    format: str
    where: Path
    vocabulary: Vocabulary | None = None
    labels: list[str] | None = None
    dtype: torch.dtype = torch.float32
    original: Bert | None = None
    left_aside: dict[str, str] = field(default_factory=dict)
    heads_assumed: bool = False
    folded: bool | None = None
    lower_case: bool = True


def probe(shape: Shape) -> tuple[Tensor, Tensor, Tensor]:
    """A fixed batch: ids, token types (both) and attention; int64, int64, bool [B, T]; texts of several lengths."""
    lengths = [length for length in (min(24, shape.positions), 17, 9, 2) if length <= shape.positions]
    places = torch.arange(max(lengths))
    generator = torch.Generator().manual_seed(7)
    ids = torch.randint(shape.vocabulary_size, (len(lengths), max(lengths)), generator=generator)
    attention = places < torch.tensor(lengths)[:, None]
    second = (places >= torch.tensor(lengths)[:, None] // 2) & attention
    return ids, second.long().clamp(max=shape.token_types - 1), attention


def outputs(bert: Bert) -> dict[str, Tensor]:
    """What `bert` says of `probe`, at real tokens alone."""
    ids, token_types, attention = probe(bert.shape)
    with torch.inference_mode():
        return {name: at_tokens(output, attention) for name, output in bert(ids, token_types, attention).items()}


def at_tokens(output: Tensor, attention: Tensor) -> Tensor:
    """Of an output [B, T, …] the numbers at tokens alone, which padding has none of; one of texts [B, …] as it is."""
    return output[attention] if output.dim() == 3 else output


def largest_difference(theirs: dict[str, Tensor], ours: dict[str, Tensor]) -> float:
    """The largest difference of any number of the outputs that two models have in common; NaN if one is no number."""
    return float(torch.stack([(theirs[name] - ours[name]).abs().max() for name in theirs.keys() & ours.keys()]).max())


def require_vocabulary(vocabulary: Vocabulary | None, shape: Shape, where: Path) -> Vocabulary:
    """`vocabulary` itself.

    Raises:
        UserError: there is none, or it is not of the model's size.
    """
    if vocabulary is None:
        raise UserError("this model comes without its vocabulary", where=where, action="Name it: --vocab vocab.txt")
    if len(vocabulary) != shape.vocabulary_size:
        raise UserError(
            f"a vocabulary of {len(vocabulary)} tokens for a model of {shape.vocabulary_size}",
            where=where,
            accepted="the vocabulary that the model was trained with",
        )
    return vocabulary
