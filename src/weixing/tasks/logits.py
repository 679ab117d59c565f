"""Logits of every row of a task file, without dropout: by torch (any device) or by compiled passes (CPU)."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from weixing.model.compiled.classifier import ClassifierPass
from weixing.model.compiled.encoder import Rows
from weixing.model.compiled.workers import Workers
from weixing.model.heads import TaskModel
from weixing.tasks.batches import sorted_batches, width_of
from weixing.tasks.encoding import Batch, Encoded
from weixing.training.devices import Precision, autocast

BATCH_SIZE = 64
BATCHES_AT_ONCE = 64  # in memory, padded; the cores share them


def logits_of(compute: Callable[[list[Batch]], list[Tensor]], examples: Encoded, *, max_length: int) -> Tensor:
    """Logits, float32 [N, L] in the order of `examples`, or [tokens, L] in that of its ids; on the CPU.

    Of texts that are read apart [2N, L], in the order of `Encoded.starts`.

    Args:
        compute: logits [B, L] or [B, T, L] of each of some batches, on the CPU.
        examples: on the device of the model.
        max_length: of the encoding, in tokens.
    """
    lengths, starts = examples.lengths.cpu(), examples.starts.cpu()
    each_token = examples.words is not None
    found = torch.empty(0)
    batches = sorted_batches(lengths.numpy(), BATCH_SIZE)
    for start in range(0, len(batches), BATCHES_AT_ONCE):
        some = [torch.from_numpy(rows) for rows in batches[start : start + BATCHES_AT_ONCE]]
        widths = [width_of(lengths[rows].numpy(), max_length) for rows in some]
        cut = [examples.batch(rows.to(examples.ids.device), width) for rows, width in zip(some, widths, strict=True)]
        for rows, width, values in zip(some, widths, compute(cut), strict=True):
            if not found.numel():
                found = torch.empty(len(examples.ids if each_token else lengths), values.shape[-1])
            if each_token:
                positions = torch.arange(width)
                real = positions < lengths[rows, None]
                found[(starts[rows, None] + positions)[real]] = values[real]
            else:
                found[rows] = values
    return found


@torch.no_grad()
def plain_logits(model: TaskModel, precision: Precision, batches: list[Batch]) -> list[Tensor]:
    """Float32 logits of each batch, [B, L] or [B, T, L], on the CPU; `model` is in evaluation mode then."""
    model.eval()
    return [forward(model, precision, batch).cpu() for batch in batches]


def forward(model: TaskModel, precision: Precision, batch: Batch) -> Tensor:
    """Float32 logits, [B, L] or [B, T, L], on the device."""
    with autocast(batch.ids.device, precision):
        logits: Tensor = model(batch.ids, batch.token_types, batch.attention)
    return logits.float()


def compiled_logits(passes: Sequence[ClassifierPass], workers: Workers, batches: list[Batch]) -> list[Tensor]:
    """As `plain_logits`; the cores, each with a pass of its own, share the batches."""

    def work(number: int) -> list[Tensor]:
        one = passes[number]
        found = []
        for batch in batches[number :: len(passes)]:
            logits = one.logits(rows_of(batch, one.model.each_token))
            found.append(logits.unflatten(0, batch.ids.shape) if one.model.each_token else logits)
        return found

    shares = workers.map(work, range(len(passes)))
    return [shares[number % len(passes)][number // len(passes)] for number in range(len(batches))]


def rows_of(batch: Batch, each_token: bool) -> Rows:
    """A batch as compiled passes read it; all tokens are asked for, or the first of each row."""
    ids = batch.ids.numpy()
    lengths = batch.attention.sum(1, keepdim=True).expand_as(batch.ids).contiguous().numpy()
    asked = None if each_token else np.zeros((len(ids), 1), np.int64)
    return Rows.of(ids, kinds=batch.token_types.numpy(), last=lengths, asked=asked)
