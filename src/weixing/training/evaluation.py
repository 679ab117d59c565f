"""Held-out masked-LM loss and accuracy, always at the same 15 % uniform mask, so that numbers compare across runs."""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from weixing.data.masking import Masking
from weixing.data.shards import ShardSet
from weixing.model.compiled.workers import Workers
from weixing.model.heads import MaskedLanguageModel
from weixing.training.batch import Batch, BatchMaker
from weixing.training.cutting import has_cut
from weixing.training.devices import Precision, autocast
from weixing.training.ranks import ALONE, Ranks

EVALUATION_RATE = 0.15
EVALUATION_SEED = 15
ROWS_AT_ONCE = 64  # part of the protocol: the masks are drawn for this many rows at a time
LOGITS_AT_ONCE = 16_000_000  # 64 MB, and as much again for their softmax, of each worker


@dataclass(frozen=True)
class Evaluation:
    """Mean cross entropy (nats) and accuracy over all predicted positions."""

    loss: float
    accuracy: float


class HeldOut:
    """A held-out set of rows.

    Args:
        shards: the rows, all of them used.
        isolate: whether packed documents are kept apart, as in the run's training.
    """

    def __init__(self, shards: ShardSet, isolate: bool) -> None:
        self.shards = shards
        # Masked on the CPU, so that every device is asked the same questions.
        self._masking, self._isolate = Masking(shards.vocabulary, rate=EVALUATION_RATE), isolate

    def evaluate(
        self,
        model: MaskedLanguageModel,
        device: torch.device,
        precision: Precision,
        workers: Workers | None = None,
        ranks: Ranks = ALONE,
    ) -> Evaluation:
        """Evaluate `model`, which is left in the mode it was in, on several cores if `workers` are given.

        Each rank asks some of the questions, and all get the result.
        """
        training = model.training
        model.eval()
        cut = has_cut(model)

        def evaluate(start: int) -> tuple[float, float, float]:
            # Settings of the thread's own; what is made in inference mode may not be used in training, as FSDP does.
            with torch.no_grad() if cut else torch.inference_mode():
                return self._batch(start, model, device, precision)

        starts = range(0, len(self.shards), ROWS_AT_ONCE)
        mine = starts[ranks.rank :: ranks.count]
        results = workers.map(evaluate, mine) if workers else [evaluate(start) for start in mine]
        if cut and len(mine) < len(starts[:: ranks.count]):
            evaluate(0)  # a model that is cut computes when all ranks do
        loss, correct, count = ranks.totals(*(math.fsum(result[number] for result in results) for number in range(3)))
        model.train(training)
        return Evaluation(loss / max(1.0, count), correct / max(1.0, count))

    def _batch(
        self, start: int, model: MaskedLanguageModel, device: torch.device, precision: Precision
    ) -> tuple[float, float, float]:
        """Sum of the losses, right answers and questions in the rows from `start` on."""
        rows = self.shards.rows(np.arange(start, min(start + ROWS_AT_ONCE, len(self.shards))))
        batches = BatchMaker(self.shards.vocabulary, self._masking, self._isolate, torch.device("cpu"))
        batch = batches(rows, None, EVALUATION_SEED + start // ROWS_AT_ONCE).to(device)
        at_once = max(1, LOGITS_AT_ONCE // (batch.masked.positions.shape[1] * len(self.shards.vocabulary)))
        parts = [batch[first : first + at_once] for first in range(0, len(batch), at_once)]
        if has_cut(model):  # as many on every rank
            for _ in range(len(parts), -(-ROWS_AT_ONCE // at_once)):
                _answers(model, parts[0], device, precision)
        answers = zip(*(_answers(model, part, device, precision) for part in parts), strict=True)
        losses, right = (torch.cat(values) for values in answers)
        weights = batch.masked.weights
        return (losses * weights).sum().item(), (right * weights).sum().item(), weights.sum().item()


def _answers(
    model: MaskedLanguageModel, batch: Batch, device: torch.device, precision: Precision
) -> tuple[Tensor, Tensor]:
    """Loss and whether the answer is right, both [B, M]."""
    masked = batch.masked
    with autocast(device, precision):
        logits = model(masked.ids, None, batch.attention, batch.positions, predict=masked.positions).float()
    losses = F.cross_entropy(logits.transpose(1, 2), masked.labels, reduction="none")
    return losses, logits.argmax(2) == masked.labels
