"""A loaded model: `fill_mask`, `features` and `classify`, with the results that transformers gives.

Reads model files and may download them (through `formats.naming`); `weixing.inference.backends` compute.

Shapes: B texts, T positions, H hidden units, L labels.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from weixing.errors import UserError
from weixing.formats.bert import AnyModel, Bert, bert_of
from weixing.formats.huggingface import no_masked_lm
from weixing.formats.naming import load_source
from weixing.formats.sentence_transformers import pooling_in
from weixing.inference.backends import Pooling
from weixing.inference.batching import batches, pad
from weixing.inference.choosing import choose, make
from weixing.inference.classification import Labels, classifier_logits
from weixing.inference.encoding import OnCut, encode_pairs, encode_texts, say_cut
from weixing.text.tokenizer import Tokenizer
from weixing.text.vocabulary import Vocabulary
from weixing.training.devices import pick_device

POOLINGS = ("cls", "mean", "tokens")
BATCH_TOKENS = 4096  # positions in a batch of `features`: enough to keep a processor busy, little memory
MOST_LOGITS = 128  # places of one pass whose scores of all tokens are made: at 21,128 tokens 11 MB
FEWEST_TOKENS = 256  # of a batch that is made so small for another core's sake


def load(name: str, backend: str = "auto", precision: str = "auto") -> "Model":
    """The model called `name`, ready for use; `Model.backend` says what computes it, and `Model.precision` how.

    Args:
        name: as everywhere (`formats.naming`); a shape has fresh random weights.
        backend: ``compiled`` (a CPU's), ``torch``, ``onnx`` or ``onnx-int8`` (extra `onnx`), or ``auto``: compiled on a
            CPU, torch on a GPU.
        precision: of the matrix products: ``float32``, ``bf16``, ``int16``; or ``auto``: with a named back end its
            first, with ``auto`` the quickest whose vectors have a cosine of at least 0.999 to float32's
            (`inference.choosing`). A processor that cannot do bf16 or int16 computes in float32 all the same.

    Raises:
        UserError: no model has this name, its files are wrong, an extra is missing, or there is no such back end or
            precision here.
    """
    device = pick_device()
    way = choose(backend, precision, device)
    source = load_source(name)
    assert source.vocabulary
    labels = None
    if source.labels is not None and source.bert.classifier is not None:
        labels = Labels(tuple(source.labels), source.bert.outputs_are)
    model = Model(source.bert.to(device), source.vocabulary, *way, labels, source.where)
    model.pooling = pooling_in(source.where) or model.pooling
    return model


class Model:
    """A BERT model with its tokenizer: masked language model, classifier, or encoder alone.

    Texts are cut to the model's positions, said once a call on stderr.

    In a text, [MASK], [SEP] and the like mean the special tokens, as in transformers.

    Several threads may use it at once.

    Args:
        model: in evaluation mode, on its device.
        vocabulary: its own.
        backend, precision: as in `load`.
        labels: of its classifier's outputs.
        where: what to name in errors.

    Attributes:
        pooling: that its vectors are made by where none is named: what it was trained for as a sentence encoder, else
            ``mean``.
    """

    pooling: Pooling = "mean"

    def __init__(
        self,
        model: AnyModel | Bert,
        vocabulary: Vocabulary,
        backend: str = "auto",
        precision: str = "float32",
        labels: Labels | None = None,
        where: Any = None,
    ) -> None:
        self.bert = model if isinstance(model, Bert) else bert_of(model)
        self.vocabulary, self.tokenizer, self.labels, self.where = vocabulary, Tokenizer(vocabulary), labels, where
        self.encoder, self.shape = self.bert.encoder, self.bert.shape
        device = self.encoder.embeddings.token.weight.device
        self.backend = make(choose(backend, precision, device), self.bert)
        self.precision = self.backend.precision

    def encode(self, texts: Sequence[str], on_cut: OnCut = say_cut) -> list[np.ndarray]:
        """Token ids int32 [T] of each text, as `encode_texts` gives them."""
        return encode_texts(self.tokenizer, texts, self.shape.positions, on_cut)

    def encode_pairs(
        self, texts: Sequence[str], second_texts: Sequence[str], on_cut: OnCut = say_cut
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Token ids int32 [T] of each pair, and positions of the first texts, as `encoding.encode_pairs` gives them.

        Raises:
            UserError: as there; or the model has one token type.
        """
        if self.shape.token_types < 2:
            raise UserError("pairs of texts for a model of one token type", where=self.where, accepted="a model of two")
        return encode_pairs(self.tokenizer, texts, second_texts, self.shape.positions, on_cut)

    def fill_mask(self, text: str, top_k: int = 5) -> list[dict[str, Any]] | list[list[dict[str, Any]]]:
        """Likely tokens for each [MASK], as `transformers.pipeline("fill-mask")` gives them.

        Returns:
            `top_k` candidates, likeliest first, each ``{"score", "token", "token_str", "sequence"}``: probability, id,
            token, and the text with it filled in. With several [MASK], a list of such lists, one for each.

        Raises:
            UserError: the text has no [MASK] in the part that the model can read, `top_k` is no possible number, or
                the model has no masked-LM head.
        """
        row = self.encode([text])[0]
        (filled,) = self.fill_rows([row], top_k)
        if not filled:
            raise self.no_mask(text, row)
        return filled[0] if len(filled) == 1 else filled

    def fill_rows(
        self, rows: Sequence[np.ndarray], top_k: int = 5, *, batch_tokens: int = BATCH_TOKENS
    ) -> list[list[list[dict[str, Any]]]]:
        """`fill_mask` of texts that are token ids, as `encode` gives them, many in one pass.

        Returns:
            Of each text a list for each [MASK], however many there are.
        """
        if self.bert.head is None:
            raise no_masked_lm(self.where)
        if not 1 <= top_k <= len(self.vocabulary):
            raise UserError(f"top_k {top_k}", accepted=f"1 to {len(self.vocabulary)}, the size of the vocabulary")
        masks = [np.flatnonzero(row == self.vocabulary.mask_id) for row in rows]
        counts = np.array([len(places) for places in masks])
        results: list[list[list[dict[str, Any]]]] = [[] for _ in rows]
        for count in sorted({*counts.tolist()} - {0}):
            alike = np.flatnonzero(counts == count)  # as many questions in each text of a pass
            for part in batches([len(rows[i]) for i in alike.tolist()], batch_tokens):
                for texts in np.array_split(alike[part], min(len(part), -(-len(part) * count // MOST_LOGITS))):
                    padded = pad([rows[i] for i in texts.tolist()], self.vocabulary.pad_id)
                    logits = self.backend.logits(padded, np.stack([masks[i] for i in texts]))
                    scores, tokens = (x.view(-1, count, top_k).tolist() for x in logits.softmax(-1).topk(top_k))
                    for i, its_scores, its_tokens in zip(texts.tolist(), scores, tokens, strict=True):
                        results[i] = [
                            [
                                self._candidate(rows[i], place, token, score, count == 1)
                                for token, score in zip(tokens_here, scores_here, strict=True)
                            ]
                            for place, tokens_here, scores_here in zip(
                                masks[i].tolist(), its_tokens, its_scores, strict=True
                            )
                        ]
        return results

    def no_mask(self, text: str, row: np.ndarray) -> UserError:
        """What to tell the user of a text that has no [MASK]; `row` as `encode` gives it."""
        return UserError(
            f"no [MASK] in the text {text[:50]!r}"
            + (f", or it is behind its first {len(row) - 2} tokens" if "[MASK]" in text else ""),
            accepted="a text with [MASK] in the place to fill, such as 中国的首都是[MASK]京。",
        )

    def _candidate(self, ids: np.ndarray, place: int, token: int, score: float, skip_specials: bool) -> dict[str, Any]:
        whole = ids.astype(np.int64)
        whole[place] = token
        return {
            "score": score,
            "token": token,
            "token_str": self.tokenizer.decode([token]),
            "sequence": self.tokenizer.decode(whole[whole != self.vocabulary.pad_id], skip_specials=skip_specials),
        }

    def features(
        self, texts: Sequence[str], pooling: Pooling | None = None, *, batch_tokens: int = BATCH_TOKENS
    ) -> np.ndarray | list[np.ndarray]:
        """Vectors of texts, in their order.

        Args:
            pooling: ``mean``, over every token of the text, [CLS] and [SEP] included (what sentence-transformers does);
                ``cls``, the hidden state of [CLS]; ``tokens``, every token's hidden state, [CLS] first, [SEP] last.
                None: `Model.pooling`.
            batch_tokens: most positions in a batch.

        Returns:
            float32 [texts, hidden]; with ``tokens`` a list of float32 [T, hidden].

        Raises:
            UserError: there is no such pooling, or `texts` is one string.
        """
        return self.pool(self.encode(texts), pooling or self.pooling, batch_tokens=batch_tokens)

    def classify(
        self, texts: Sequence[str], second_texts: Sequence[str] | None = None, top_k: int | None = None
    ) -> list[list[dict[str, Any]]]:
        """Labels of texts, or of pairs of texts, as ``pipeline("text-classification", top_k=None)`` gives them.

        Args:
            second_texts: of pairs.
            top_k: how many labels; None: all.

        Returns:
            For each text ``{"label", "score"}``, highest score first: probabilities, which sum to 1 where one label
            holds; of a model of numbers the number.

        Raises:
            UserError: the model has no classifier, or not as many second texts as first ones.
        """
        if top_k is not None and top_k < 1:
            raise UserError(f"top_k {top_k}", accepted="1 or more")
        labels = self.require_labels()
        return [labels.named(row, top_k) for row in self.scores(texts, second_texts).tolist()]

    def scores(
        self, texts: Sequence[str], second_texts: Sequence[str] | None = None, *, batch_tokens: int = BATCH_TOKENS
    ) -> np.ndarray:
        """Scores of all labels, float32 [texts, L], in the order of `labels.names`; else as `classify`."""
        if second_texts is None:
            return self.score(self.encode(texts), batch_tokens=batch_tokens)
        rows, firsts = self.encode_pairs(texts, second_texts)
        return self.score(rows, firsts=firsts, batch_tokens=batch_tokens)

    def score(
        self,
        rows: Sequence[np.ndarray],
        *,
        firsts: np.ndarray | None = None,
        batch_tokens: int = BATCH_TOKENS,
        on_batch: Callable[[int], None] = lambda texts: None,
    ) -> np.ndarray:
        """`scores` of texts, or pairs, that are token ids; arguments as of `pool`."""
        labels = self.require_labels()
        first = self.pool(rows, "cls", firsts=firsts, batch_tokens=batch_tokens, on_batch=on_batch)
        pooler, classifier = cast(nn.Module, self.bert.pooler), cast(nn.Module, self.bert.classifier)
        with torch.inference_mode():
            tokens = torch.from_numpy(np.asarray(first)).to(self.encoder.embeddings.token.weight.device)
            return labels.scores(classifier_logits(pooler, classifier, tokens)).cpu().numpy()

    def require_labels(self) -> Labels:
        """What the outputs of its classifier mean.

        Raises:
            UserError: it has none.
        """
        if self.labels is None:
            raise UserError(
                "this model has no classifier of texts (bert.pooler.*, classifier.*)",
                where=self.where,
                accepted="a model that was fine-tuned: weixing finetune --model … --train … --dev … --out FOLDER",
            )
        return self.labels

    def pool(
        self,
        rows: Sequence[np.ndarray],
        pooling: Pooling = "mean",
        *,
        firsts: np.ndarray | None = None,
        batch_tokens: int = BATCH_TOKENS,
        on_batch: Callable[[int], None] = lambda texts: None,
    ) -> np.ndarray | list[np.ndarray]:
        """`features` of texts, or pairs, that are token ids; `on_batch` hears how many texts each batch had.

        Args:
            rows, firsts: as `encode` or `encode_pairs` gives them.
        """
        if pooling not in POOLINGS:
            raise UserError(f"pooling {pooling!r}", accepted=", ".join(POOLINGS))
        lengths = [len(row) for row in rows]
        share = max(FEWEST_TOKENS, -(-sum(lengths) // self.backend.parallel))
        groups = list(batches(lengths, min(batch_tokens, share)))
        padded = [
            pad([rows[i] for i in group], self.vocabulary.pad_id, None if firsts is None else firsts[group])
            for group in groups
        ]
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
