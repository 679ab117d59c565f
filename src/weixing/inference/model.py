"""A loaded model: `fill_mask` and `features`, with the results that transformers gives.

Reads model files and may download them (through `formats.naming`); `weixing.inference.backends` compute.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from weixing.errors import UserError
from weixing.formats.bert import encoder_of
from weixing.formats.huggingface import require_masked_lm
from weixing.formats.naming import load_model
from weixing.inference.backends import Backend, CompiledBackend, Pooling, TorchBackend
from weixing.inference.batching import batches, pad
from weixing.model.encoder import Encoder
from weixing.model.heads import MaskedLanguageModel
from weixing.progress import say
from weixing.text.tokenizer import Tokenizer
from weixing.text.vocabulary import Vocabulary
from weixing.training.devices import Precision, has_bf16, pick_device, pick_precision

BACKENDS = ("auto", "torch", "compiled")
POOLINGS = ("cls", "mean", "tokens")
BATCH_TOKENS = 4096  # positions in a batch of `features`: enough to keep a processor busy, little memory


def load(name: str, backend: str = "auto", precision: str = "float32") -> "Model":
    """The model called `name`, ready for use.

    Args:
        name: as everywhere (`formats.naming`); a shape has fresh random weights.
        backend: ``compiled`` (a CPU's), ``torch``, or ``auto``: compiled on a CPU, torch on a GPU.
        precision: of the matrix products: ``float32``, or ``bf16``, about twice as quick, with vectors within 2e-2; a
            processor without bf16 instructions computes in float32 all the same (`Model.precision` says which).

    Raises:
        UserError: no model has this name, its files are wrong, or there is no such backend or precision.
    """
    device = pick_device()
    if backend not in BACKENDS or (backend == "compiled" and device.type != "cpu"):
        raise UserError(
            f"backend {backend!r} on {device.type}", accepted=" or ".join(BACKENDS) + " (compiled: a CPU's)"
        )
    if precision == "bf16" and not has_bf16(device):
        precision = "float32"
    model, vocabulary = load_model(name)
    return Model(model.to(device).eval(), vocabulary, backend, pick_precision(precision, device))


class Model:
    """A masked language model, or an encoder alone, with its tokenizer.

    Texts are cut to the model's positions, said once a call on stderr.

    In a text, [MASK], [SEP] and the like mean the special tokens, as in transformers.

    Args:
        model: in evaluation mode, on its device.
        vocabulary: its own.
        backend, precision: as in `load`.
    """

    def __init__(
        self,
        model: MaskedLanguageModel | Encoder,
        vocabulary: Vocabulary,
        backend: str = "auto",
        precision: Precision = "float32",
    ) -> None:
        self.model, self.vocabulary, self.tokenizer = model, vocabulary, Tokenizer(vocabulary)
        self.encoder = encoder_of(model)
        self.shape = self.encoder.shape
        on_cpu = self.encoder.embeddings.token.weight.device.type == "cpu"
        self.backend: Backend = (
            TorchBackend(model, precision) if backend == "torch" or not on_cpu else CompiledBackend(model, precision)
        )
        self.precision = self.backend.precision

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Token ids int32 [T] of each text, [CLS] and [SEP] around them, no longer than the model's positions."""
        ids, offsets = self.tokenizer.encode_batch(texts, specials=True)
        most = self.shape.positions - 2
        if longer := int((np.diff(offsets) > most).sum()):
            say(f"{longer} of {len(texts)} texts cut to the first {most} tokens, all that the model can read")
        start, end = (np.array([special], np.int32) for special in (self.vocabulary.cls_id, self.vocabulary.sep_id))
        rows = np.split(ids, offsets[1:-1]) if len(texts) else []
        return [np.concatenate([start, row[:most], end]) for row in rows]

    def fill_mask(self, text: str, top_k: int = 5) -> list[dict[str, Any]] | list[list[dict[str, Any]]]:
        """Likely tokens for each [MASK], as `transformers.pipeline("fill-mask")` gives them.

        Returns:
            `top_k` candidates, likeliest first, each ``{"score", "token", "token_str", "sequence"}``: probability, id,
            token, and the text with it filled in. With several [MASK], a list of such lists, one for each.

        Raises:
            UserError: the text has no [MASK] in the part that the model can read, `top_k` is no possible number, or
                the model is an encoder alone.
        """
        require_masked_lm(self.model)
        if not 1 <= top_k <= len(self.vocabulary):
            raise UserError(f"top_k {top_k}", accepted=f"1 to {len(self.vocabulary)}, the size of the vocabulary")
        ids = self.encode([text])[0].astype(np.int64)
        masks = np.flatnonzero(ids == self.vocabulary.mask_id)
        if not len(masks):
            raise UserError(
                f"no [MASK] in the text {text[:50]!r}"
                + (f", or it is behind its first {len(ids) - 2} tokens" if "[MASK]" in text else ""),
                accepted="a text with [MASK] in the place to fill, such as 中国的首都是[MASK]京。",
            )
        scores, tokens = self.backend.logits(ids[None], masks[None]).softmax(-1).topk(top_k)
        single = len(masks) == 1
        filled = [
            [self._candidate(ids, place, token, score, single) for token, score in zip(row, row_scores, strict=True)]
            for place, row, row_scores in zip(masks.tolist(), tokens.tolist(), scores.tolist(), strict=True)
        ]
        return filled[0] if single else filled

    def _candidate(self, ids: np.ndarray, place: int, token: int, score: float, skip_specials: bool) -> dict[str, Any]:
        whole = ids.copy()
        whole[place] = token
        return {
            "score": score,
            "token": token,
            "token_str": self.tokenizer.decode([token]),
            "sequence": self.tokenizer.decode(whole[whole != self.vocabulary.pad_id], skip_specials=skip_specials),
        }

    def features(
        self, texts: Sequence[str], pooling: Pooling = "mean", *, batch_tokens: int = BATCH_TOKENS
    ) -> np.ndarray | list[np.ndarray]:
        """Vectors of texts, in their order.

        Args:
            pooling: ``mean``, over every token of the text, [CLS] and [SEP] included (what sentence-transformers does);
                ``cls``, the hidden state of [CLS]; ``tokens``, every token's hidden state, [CLS] first, [SEP] last.
            batch_tokens: most positions in a batch.

        Returns:
            float32 [texts, hidden]; with ``tokens`` a list of float32 [T, hidden].

        Raises:
            UserError: there is no such pooling, or `texts` is one string.
        """
        if isinstance(texts, str):
            raise UserError("one text in place of a list of texts", accepted='a list, such as ["输入任意文本内容"]')
        return self.pool(self.encode(texts), pooling, batch_tokens=batch_tokens)

    def pool(
        self,
        rows: Sequence[np.ndarray],
        pooling: Pooling = "mean",
        *,
        batch_tokens: int = BATCH_TOKENS,
        on_batch: Callable[[int], None] = lambda texts: None,
    ) -> np.ndarray | list[np.ndarray]:
        """`features` of texts that `encode` made into token ids; `on_batch` hears how many texts each batch had."""
        if pooling not in POOLINGS:
            raise UserError(f"pooling {pooling!r}", accepted=", ".join(POOLINGS))
        groups = list(batches([len(row) for row in rows], batch_tokens))
        padded = [pad([rows[i] for i in group], self.vocabulary.pad_id) for group in groups]
        results = self.backend.pool(padded, pooling, on_batch)
        if pooling == "tokens":
            matrices = {
                i: matrix[: len(rows[i])].copy()
                for group, result in zip(groups, results, strict=True)
                for i, matrix in zip(group.tolist(), result, strict=True)
            }
            return [matrices[i] for i in range(len(rows))]
        vectors = np.empty((len(rows), self.shape.hidden), np.float32)
        for group, result in zip(groups, results, strict=True):
            vectors[group] = result
        return vectors
