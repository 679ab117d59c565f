"""A loaded model: `fill_mask` and `features`, with the results that transformers gives.

Reads model files and may download them (through `formats.naming`). Torch computes, float32, on a GPU if there is one.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from weixing.errors import UserError
from weixing.formats.huggingface import require_masked_lm
from weixing.formats.huggingface_keys import encoder_of
from weixing.formats.naming import load_model
from weixing.inference.batching import batches, pad
from weixing.model.encoder import Encoder
from weixing.model.heads import MaskedLanguageModel
from weixing.progress import say
from weixing.text.tokenizer import Tokenizer
from weixing.text.vocabulary import Vocabulary

BACKENDS = ("auto", "torch")
POOLINGS = ("cls", "mean", "tokens")
BATCH_TOKENS = 8192  # positions in a batch of `features`: enough to keep a processor busy, little memory


def load(name: str, backend: str = "auto") -> "Model":
    """The model called `name`, ready for use.

    Args:
        name: as everywhere (`formats.naming`); a shape has fresh random weights.
        backend: ``torch``, or ``auto``, the quickest that there is (today: torch).

    Raises:
        UserError: no model has this name, its files are wrong, or there is no such backend.
    """
    if backend not in BACKENDS:
        raise UserError(f"backend {backend!r}", accepted=" or ".join(BACKENDS))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, vocabulary = load_model(name)
    return Model(model.to(device).eval(), vocabulary)


class Model:
    """A masked language model, or an encoder alone, with its tokenizer.

    Texts are cut to the model's positions, said once a call on stderr.

    In a text, [MASK], [SEP] and the like mean the special tokens, as in transformers.
    """

    def __init__(self, model: MaskedLanguageModel | Encoder, vocabulary: Vocabulary) -> None:
        self.model, self.vocabulary, self.tokenizer = model, vocabulary, Tokenizer(vocabulary)
        self.encoder = encoder_of(model)
        self.shape = self.encoder.shape

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Token ids int32 [T] of each text, [CLS] and [SEP] around them, no longer than the model's positions."""
        ids, offsets = self.tokenizer.encode_batch(texts, specials=True)
        most = self.shape.positions - 2
        if longer := int((np.diff(offsets) > most).sum()):
            say(f"{longer} of {len(texts)} texts cut to the first {most} tokens, all that the model can read")
        start, end = (np.array([special], np.int32) for special in (self.vocabulary.cls_id, self.vocabulary.sep_id))
        rows = np.split(ids, offsets[1:-1]) if len(texts) else []
        return [np.concatenate([start, row[:most], end]) for row in rows]

    @torch.inference_mode()
    def fill_mask(self, text: str, top_k: int = 5) -> list[dict[str, Any]] | list[list[dict[str, Any]]]:
        """Likely tokens for each [MASK], as `transformers.pipeline("fill-mask")` gives them.

        Returns:
            `top_k` candidates, likeliest first, each ``{"score", "token", "token_str", "sequence"}``: probability, id,
            token, and the text with it filled in. With several [MASK], a list of such lists, one for each.

        Raises:
            UserError: the text has no [MASK] in the part that the model can read, `top_k` is no possible number, or
                the model is an encoder alone.
        """
        model = require_masked_lm(self.model)
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
        logits = model(self._tensor(ids[None]), predict=self._tensor(masks[None]))[0]
        scores, tokens = logits.softmax(-1).topk(top_k)
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
        self, texts: Sequence[str], pooling: str = "mean", *, batch_tokens: int = BATCH_TOKENS
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

    @torch.inference_mode()
    def pool(
        self,
        rows: Sequence[np.ndarray],
        pooling: str = "mean",
        *,
        batch_tokens: int = BATCH_TOKENS,
        on_batch: Callable[[int], None] = lambda texts: None,
    ) -> np.ndarray | list[np.ndarray]:
        """`features` of texts that `encode` made into token ids; `on_batch` hears how many texts each batch had."""
        if pooling not in POOLINGS:
            raise UserError(f"pooling {pooling!r}", accepted=", ".join(POOLINGS))
        vectors = np.empty((len(rows), self.shape.hidden), np.float32)
        matrices: dict[int, np.ndarray] = {}
        for batch in batches([len(row) for row in rows], batch_tokens):
            ids, real = pad([rows[i] for i in batch], self.vocabulary.pad_id)
            attention = self._tensor(real)
            # Without padding no mask is given, and the quickest attention kernel is taken.
            keep = torch.zeros_like(attention[:, :1], dtype=torch.int64) if pooling == "cls" else None
            hidden = self.encoder(self._tensor(ids), attention=None if real.all() else attention, keep=keep)
            if pooling == "tokens":
                for i, matrix in zip(batch.tolist(), hidden.cpu().numpy(), strict=True):
                    matrices[i] = matrix[: len(rows[i])].copy()
            else:
                vectors[batch] = (hidden[:, 0] if pooling == "cls" else _mean(hidden, attention)).cpu().numpy()
            on_batch(len(batch))
        return [matrices[i] for i in range(len(rows))] if pooling == "tokens" else vectors

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.encoder.embeddings.token.weight.device)


def _mean(hidden: Tensor, real: Tensor) -> Tensor:
    """Mean over the real tokens: [B, T, H], bool [B, T] → [B, H]."""
    weights = real / real.sum(1, keepdim=True)
    return torch.einsum("bth,bt->bh", hidden, weights)
