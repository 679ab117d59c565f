"""Held-out masked-LM loss and accuracy, always at the same 15 % uniform mask, so that numbers compare across runs."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from weixing.data.masking import Masking
from weixing.data.shards import ShardSet
from weixing.model.heads import MaskedLanguageModel
from weixing.training.batch import BatchMaker
from weixing.training.devices import Precision, autocast

EVALUATION_RATE = 0.15
EVALUATION_SEED = 15
ROWS_AT_ONCE = 64  # part of the protocol: the masks are drawn for this many rows at a time


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
        masking = Masking(shards.vocabulary, rate=EVALUATION_RATE)
        self._batches = BatchMaker(shards.vocabulary, masking, isolate, torch.device("cpu"))

    @torch.inference_mode()
    def evaluate(self, model: MaskedLanguageModel, device: torch.device, precision: Precision) -> Evaluation:
        """Evaluate `model`, which is left in the mode it was in."""
        training = model.training
        model.eval()
        loss, correct, count = 0.0, 0.0, 0.0
        for number, start in enumerate(range(0, len(self.shards), ROWS_AT_ONCE)):
            rows = self.shards.rows(np.arange(start, min(start + ROWS_AT_ONCE, len(self.shards))))
            batch = self._batches(rows, None, EVALUATION_SEED + number).to(device)
            masked = batch.masked
            with autocast(device, precision):
                logits = model(masked.ids, None, batch.attention, batch.positions, predict=masked.positions).float()
            losses = F.cross_entropy(logits.transpose(1, 2), masked.labels, reduction="none")
            loss += (losses * masked.weights).sum().item()
            correct += ((logits.argmax(2) == masked.labels) * masked.weights).sum().item()
            count += masked.weights.sum().item()
        model.train(training)
        return Evaluation(loss / max(1.0, count), correct / max(1.0, count))
