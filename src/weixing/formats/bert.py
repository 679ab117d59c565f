"""A BERT model as files hold it: the encoder, and of the heads those that are there. Pure tensor code.

Formats are converted by way of this: each is read into a `Bert` and written from one. Training and use take a part of
it (`masked_lm`, `classifier_model`, `encoder`).

Shapes: B sequences, T positions, H hidden units, V vocabulary entries.
"""

from collections.abc import Collection, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from weixing.model.encoder import Encoder
from weixing.model.heads import (
    AnyClassifier,
    Classifier,
    Embedder,
    MaskedLanguageModel,
    MaskedLanguageModelHead,
    ProblemType,
    TokenClassifier,
)
from weixing.zoo import Shape

AnyModel = MaskedLanguageModel | AnyClassifier | Embedder | Encoder
Part = Literal["head", "pooler", "next_sentence", "classifier", "token_classifier"]
PARTS: dict[Part, str] = {
    "head": "masked-LM head",
    "pooler": "pooler",
    "next_sentence": "next-sentence head",
    "classifier": "classifier",
    "token_classifier": "classifier of tokens",
}


class Bert(nn.Module):
    """An encoder with any of five parts on it.

    Args:
        shape: of the encoder.
        parts: ``head`` (masked LM, decoder tied to the token embedding), ``pooler`` (first token → Linear → tanh),
            ``next_sentence`` and ``classifier`` (pooled → Linear; both need the pooler), ``token_classifier`` (each
            token → Linear).
        labels: outputs of the classifier, of which there is one at most.

    Attributes:
        problem_type: what the outputs of ``classifier`` mean, where that is known.
    """

    def __init__(self, shape: Shape, parts: Collection[Part], labels: int = 0) -> None:
        super().__init__()
        H = shape.hidden
        self.encoder = Encoder(shape)
        self.head = MaskedLanguageModelHead(shape) if "head" in parts else None
        self.pooler = nn.Linear(H, H) if "pooler" in parts else None
        self.next_sentence = nn.Linear(H, 2) if "next_sentence" in parts else None
        self.classifier = nn.Linear(H, labels) if "classifier" in parts else None
        self.token_classifier = nn.Linear(H, labels) if "token_classifier" in parts else None
        self.problem_type: ProblemType | None = None

    @property
    def shape(self) -> Shape:
        """Of the encoder."""
        return self.encoder.shape

    @property
    def parts(self) -> list[Part]:
        """Those that are there."""
        return [part for part in PARTS if getattr(self, part) is not None]

    @property
    def labels(self) -> int:
        """Outputs of the classifier, 0 if there is none."""
        classifier = self.classifier or self.token_classifier
        return classifier.out_features if classifier is not None else 0

    def forward(self, ids: Tensor, token_types: Tensor, attention: Tensor) -> dict[str, Tensor]:
        """All that the model can say of int64 [B, T] ids and token types; `attention` bool [B, T] is True on tokens.

        Returns:
            ``hidden`` [B, T, H], and of the parts that are there ``head`` [B, T, V] logits, ``pooler`` [B, H],
            ``next_sentence`` [B, 2], ``classifier`` [B, labels] and ``token_classifier`` [B, T, labels] logits.
        """
        outputs = {"hidden": self.encoder(ids, token_types, attention)}
        if self.head is not None:
            outputs["head"] = self.head(outputs["hidden"], self.encoder.embeddings.token.weight)
        if self.pooler is not None:
            outputs["pooler"] = torch.tanh(self.pooler(outputs["hidden"][:, 0]))
            for name, part in (("next_sentence", self.next_sentence), ("classifier", self.classifier)):
                if part is not None:
                    outputs[name] = part(outputs["pooler"])
        if self.token_classifier is not None:
            outputs["token_classifier"] = self.token_classifier(outputs["hidden"])
        return outputs

    def with_weights(self, weights: Mapping[str, Tensor]) -> "Bert":
        """The same model with other weights, by the names of `state_dict`, which it takes and does not copy."""
        with torch.device("meta"):
            other = Bert(self.shape, self.parts, self.labels)
        other.problem_type = self.problem_type
        other.load_state_dict(dict(weights), assign=True)
        return other.eval()

    def masked_lm(self) -> MaskedLanguageModel:
        """Encoder and masked-LM head, which must be there; the parameters are shared."""
        assert self.head is not None
        with torch.device("meta"):
            model = MaskedLanguageModel(self.shape)
        model.encoder, model.head = self.encoder, self.head
        return model

    @property
    def outputs_are(self) -> ProblemType:
        """`problem_type`, or what transformers' pipeline takes outputs for of which it knows nothing."""
        return self.problem_type or ("single_label_classification" if self.labels > 1 else "multi_label_classification")

    def classifier_model(self) -> AnyClassifier:
        """Encoder, and pooler and classifier, or classifier of tokens, which must be there; parameters are shared."""
        if self.token_classifier is not None:
            of_tokens = TokenClassifier(self.encoder, 1)
            of_tokens.output = self.token_classifier
            return of_tokens
        assert self.pooler is not None
        assert self.classifier is not None
        model = Classifier(self.encoder, 1, self.outputs_are)
        model.dense, model.output = self.pooler, self.classifier
        return model


def encoder_of(model: AnyModel) -> Encoder:
    """The encoder in `model`, or `model` if it is one."""
    return model if isinstance(model, Encoder) else model.encoder


def bert_of(model: AnyModel) -> Bert:
    """A model of this project as files hold it; the parameters are shared."""
    parts: dict[Part, nn.Module] = {}
    if isinstance(model, MaskedLanguageModel):
        parts["head"] = model.head
    elif isinstance(model, Classifier):
        parts |= {"pooler": model.dense, "classifier": model.output}
    elif isinstance(model, TokenClassifier):
        parts["token_classifier"] = model.output
    encoder = encoder_of(model)
    with torch.device("meta"):
        bert = Bert(encoder.shape, parts, labels=1)
    bert.encoder = encoder
    for name, part in parts.items():
        setattr(bert, name, part)
    if isinstance(model, Classifier):
        bert.problem_type = model.problem_type
    return bert
