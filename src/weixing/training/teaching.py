"""What a trained model says of the positions that others learn to predict. Pure: forward passes over a batch.

On a CPU by compiled passes, each core with rows of its own; elsewhere by torch.
"""

import hashlib
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from weixing.model.compiled.buffers import Buffers
from weixing.model.compiled.encoder import CompiledEncoder
from weixing.model.compiled.masked_lm import TOKENS, masked_lm_likely_entries
from weixing.model.compiled.parameters import Weights
from weixing.model.compiled.workers import Workers
from weixing.model.heads import MaskedLanguageModel
from weixing.model.soft_targets import SoftTargets, likely_entries
from weixing.text.vocabulary import Vocabulary
from weixing.training.batch import Batch
from weixing.training.devices import Precision, autocast, product_type
from weixing.training.gradients import CHUNK_NUMBERS, compiled_rows


class Teacher:
    """A trained model, which is not changed.

    Args:
        model: on `device`; in its vocabulary are those that it teaches.
        share: of a target that is the teacher's, above 0 and at most 1; the rest is the label's.
        entries: vocabulary entries that can be predicted (`weixing.data.reach`), or None: all.
        precision: of the matrix products.
        micro_batch_size: rows of one forward pass where torch computes.
        device: where it computes.
    """

    def __init__(
        self,
        model: MaskedLanguageModel,
        share: float,
        entries: np.ndarray | None,
        precision: Precision,
        micro_batch_size: int,
        device: torch.device,
    ) -> None:
        self.model, self.share, self.precision = model.to(device).eval().requires_grad_(False), share, precision
        self._micro_batch_size = micro_batch_size
        self._entries = None if entries is None else torch.from_numpy(entries).to(device)
        self._passes: list[CompiledEncoder] = []
        if device.type == "cpu":
            self._workers = Workers()
            dtype = product_type(precision)
            weights = Weights(model, dtype, {TOKENS: entries})
            weights.copy_chosen(0, 1)
            self._passes = [
                CompiledEncoder(model.encoder, weights, None, Buffers(dtype), "encoder.")
                for _ in range(self._workers.count)
            ]

    def __call__(self, batch: Batch) -> Batch:
        """`batch` with the teacher's share of the targets."""
        entries, probabilities = self._by_passes(batch) if self._passes else self._by_torch(batch)
        shape = (*batch.masked.labels.shape, -1)
        return replace(batch, soft=SoftTargets(entries.view(shape), self.share * probabilities.view(shape)))

    def _by_passes(self, batch: Batch) -> tuple[Tensor, Tensor]:
        rows = compiled_rows(batch)
        at_once = max(1, CHUNK_NUMBERS // (rows.ids.shape[1] * self.model.encoder.shape.hidden))
        shares = [share for share in np.array_split(np.arange(len(batch)), len(self._passes)) if len(share)]

        def work_off(number: int) -> list[tuple[np.ndarray, np.ndarray]]:
            parts = np.array_split(shares[number], -(-len(shares[number]) // at_once))
            return [
                masked_lm_likely_entries(self._passes[number], rows.some(slice(int(part[0]), int(part[-1]) + 1)))
                for part in parts
            ]

        found = [result for results in self._workers.map(work_off, range(len(shares))) for result in results]
        entries, probabilities = (torch.from_numpy(np.concatenate(values)) for values in zip(*found, strict=True))
        return entries, probabilities

    @torch.no_grad()
    def _by_torch(self, batch: Batch) -> tuple[Tensor, Tensor]:
        found = []
        for start in range(0, len(batch), self._micro_batch_size):
            part = batch[start : start + self._micro_batch_size]
            masked = part.masked
            with autocast(masked.ids.device, self.precision):
                logits = self.model(masked.ids, None, part.seen, part.positions, predict=masked.positions)
            logits = logits.flatten(0, 1)
            if self._entries is None:
                found.append(likely_entries(logits))
            else:
                columns, probabilities = likely_entries(logits[:, self._entries])
                found.append((self._entries[columns], probabilities))
        entries, probabilities = (torch.cat(values) for values in zip(*found, strict=True))
        return entries, probabilities


def model_sha256(model: MaskedLanguageModel, vocabulary: Vocabulary) -> str:
    """What tells a teacher from another one of its name: SHA-256 of its vocabulary and weights."""
    digest = hashlib.sha256(vocabulary.sha256.encode())
    for key, tensor in model.state_dict().items():
        digest.update(key.encode())
        digest.update(tensor.contiguous().numpy())
    return digest.hexdigest()
