"""What sits on the encoder: the masked-LM head, classifiers of texts and of tokens, pooling. Pure tensor code.

Shapes: B sequences, T positions, M predicted positions of a row, H hidden units, V vocabulary entries.
"""

from typing import ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weixing.model.attention import Attention
from weixing.model.cross_entropy import decoded_cross_entropy
from weixing.model.encoder import LAYER_NORM_EPSILON, Encoder
from weixing.model.soft_targets import SoftTargets
from weixing.zoo import Shape

ProblemType = Literal["single_label_classification", "multi_label_classification", "regression"]
"""What the outputs of a classifier of texts mean, in transformers' words: one of several classes (softmax), any number
of them (a sigmoid each), or numbers as they are."""


SentencePooling = Literal["mean", "cls"]


class MaskedLanguageModelHead(nn.Module):
    """Linear → GELU → LayerNorm → scores against every token vector, plus a bias for each token."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.dense = nn.Linear(shape.hidden, shape.hidden)
        self.norm = nn.LayerNorm(shape.hidden, eps=LAYER_NORM_EPSILON)
        self.bias = nn.Parameter(torch.zeros(shape.vocabulary_size))

    def transform(self, x: Tensor) -> Tensor:
        """Hidden states [..., H] → what is compared with the token vectors [..., H]."""
        return cast(Tensor, self.norm(F.gelu(self.dense(x))))

    def forward(self, x: Tensor, token_vectors: Tensor) -> Tensor:
        """Hidden states [..., H] and the token embedding [V, H] (tied: it has no copy here) → logits [..., V]."""
        return F.linear(self.transform(x), token_vectors, self.bias)


class MaskedLanguageModel(nn.Module):
    """Encoder with the masked-LM head; the decoder is the token embedding itself.

    Args:
        shape: depth, width and table sizes.
        dropout: of the encoder; the head has none.
    """

    def __init__(self, shape: Shape, dropout: float = 0.0) -> None:
        super().__init__()
        self.encoder = Encoder(shape, dropout)
        self.head = MaskedLanguageModelHead(shape)

    def forward(
        self,
        ids: Tensor,
        token_types: Tensor | None = None,
        attention: Attention = None,
        positions: Tensor | None = None,
        predict: Tensor | None = None,
    ) -> Tensor:
        """Logits: [B, T, V], or [B, M, V] at the positions in `predict` alone.

        Args:
            ids, token_types, attention, positions: as in `Encoder.forward`.
            predict: int64 [B, M], positions within each row; head and last layer are computed nowhere else.
        """
        x = self.encoder(ids, token_types, attention, positions, keep=predict)
        return self.head(x, self.encoder.embeddings.token.weight)

    def loss(
        self,
        ids: Tensor,
        predict: Tensor,
        labels: Tensor,
        weights: Tensor,
        attention: Attention = None,
        positions: Tensor | None = None,
        entries: Tensor | None = None,
        soft: SoftTargets | None = None,
    ) -> Tensor:
        """Sum of the cross entropies at the predicted positions, a scalar in float32 (in float64 for such a model).

        Args:
            ids, predict, attention, positions: as in `forward`.
            labels: int64 [B, M], the tokens to predict.
            weights: float32 [B, M], 0 where a slot is unused.
            entries: int64, ascending: the vocabulary entries that can come, labels among them; None: all.
            soft: targets beside the labels, [B, M, K], among `entries` too; None: the labels alone.
        """
        x = self.head.transform(self.encoder(ids, None, attention, positions, keep=predict)).flatten(0, 1)
        vectors: Tensor = self.encoder.embeddings.token.weight
        bias: Tensor = self.head.bias
        labels = labels.flatten()
        if soft:
            soft = SoftTargets(soft.entries.flatten(0, 1), soft.shares.flatten(0, 1))
        if entries is not None:
            vectors, bias, labels = vectors[entries], bias[entries], torch.searchsorted(entries, labels)
            if soft:
                soft = SoftTargets(torch.searchsorted(entries, soft.entries), soft.shares)
        return decoded_cross_entropy(x, vectors, bias, labels, weights.flatten(), soft)


class Classifier(nn.Module):
    """First token → Linear(H, H) → tanh → Linear(H, labels), as UER-py finetune/run_classifier.py:36-57 has it.

    Dropout before the last layer is 0, as there; `dropout.p` may be set (transformers trains with 0.1 in that place).

    Args:
        encoder: its own from now on.
        labels: outputs.
        problem_type: what they mean; nothing is computed differently.
    """

    each_token: ClassVar[bool] = False

    def __init__(
        self, encoder: Encoder, labels: int, problem_type: ProblemType = "single_label_classification"
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.problem_type = problem_type
        self.dense = nn.Linear(encoder.shape.hidden, encoder.shape.hidden)
        self.dropout = nn.Dropout(0.0)
        self.output = nn.Linear(encoder.shape.hidden, labels)

    def forward(self, ids: Tensor, token_types: Tensor | None = None, attention: Tensor | None = None) -> Tensor:
        """[B, T] as in `Encoder.forward` → logits [B, labels]."""
        return self.classify(self.encoder(ids, token_types, attention, keep=ids.new_zeros(len(ids), 1))[:, 0])

    def classify(self, first: Tensor) -> Tensor:
        """Hidden states of the first tokens, [B, H] → logits [B, labels]."""
        return self.output(self.dropout(torch.tanh(self.dense(first))))


class TokenClassifier(nn.Module):
    """Each token → Linear(H, labels), as transformers' BertForTokenClassification has it; without dropout there.

    Args:
        encoder: its own from now on.
        labels: outputs.
    """

    each_token: ClassVar[bool] = True

    def __init__(self, encoder: Encoder, labels: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.output = nn.Linear(encoder.shape.hidden, labels)

    def forward(self, ids: Tensor, token_types: Tensor | None = None, attention: Tensor | None = None) -> Tensor:
        """[B, T] as in `Encoder.forward` → logits [B, T, labels]."""
        return self.classify(self.encoder(ids, token_types, attention))

    def classify(self, hidden: Tensor) -> Tensor:
        """Hidden states [..., H] → logits [..., labels]."""
        return cast(Tensor, self.output(hidden))


class Embedder(nn.Module):
    """A text → one vector: the mean over its tokens, [CLS] and [SEP] included, or the hidden state of [CLS].

    Args:
        encoder: its own from now on.
        pooling: ``mean`` or ``cls``.
    """

    each_token: ClassVar[bool] = False

    def __init__(self, encoder: Encoder, pooling: SentencePooling = "mean") -> None:
        super().__init__()
        self.encoder = encoder
        self.pooling = pooling

    def forward(self, ids: Tensor, token_types: Tensor | None = None, attention: Tensor | None = None) -> Tensor:
        """[B, T], `attention` bool, as in `Encoder.forward` → vectors, float32 [B, H]."""
        if self.pooling == "cls":
            return cast(Tensor, self.encoder(ids, token_types, attention, keep=ids.new_zeros(len(ids), 1))[:, 0])
        hidden = self.encoder(ids, token_types, attention).float()
        if attention is None:
            return cast(Tensor, hidden.mean(1))
        return cast(Tensor, (hidden * attention[:, :, None]).sum(1) / attention.sum(1, keepdim=True))


AnyClassifier = Classifier | TokenClassifier
TaskModel = AnyClassifier | Embedder
"""What is fine-tuned."""
