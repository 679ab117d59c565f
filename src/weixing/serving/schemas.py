"""What requests and answers look like: the source of openapi.json. Pure.

Bounds that are options of the service (texts, characters) are put into openapi.json by `reference.openapi`.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from weixing.inference.backends import Pooling

MOST_CANDIDATES = 100


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    model: Annotated[str | None, Field(description="A name of GET /models; without it the first that can.")] = None


MaskedText = Annotated[
    str, Field(json_schema_extra={"pattern": r"\[MASK\]"})
]  # told, and found out by the model itself
ORDER = "One text or several; answers keep their order."
Texts = Annotated[str | Annotated[list[str], Field(min_length=1)], Field(description=ORDER)]
MaskedTexts = Annotated[MaskedText | Annotated[list[MaskedText], Field(min_length=1)], Field(description=ORDER)]


# JSON knows one kind of number, and 5.0 is a whole one.
WHOLE = BeforeValidator(lambda value: int(value) if value.__class__ is float and value % 1 == 0 else value)
Count = Annotated[int, Field(ge=1), WHOLE]
TokenIds = Annotated[list[Annotated[int, Field(ge=0, lt=2**31), WHOLE]], Field(min_length=1)]


class FillMaskRequest(_Request):
    """Texts, each with at least one [MASK]."""

    texts: MaskedTexts
    top_k: Annotated[int, Field(ge=1, le=MOST_CANDIDATES, description="Candidates for each [MASK]."), WHOLE] = 5

    model_config = ConfigDict(json_schema_extra={"example": {"texts": "中国的首都是[MASK]京。", "top_k": 5}})


class FeaturesRequest(_Request):
    """Texts to turn into vectors."""

    texts: Texts
    pooling: Annotated[
        Pooling, Field(description="mean over the tokens, the state of [CLS], or tokens: each token's own state.")
    ] = "mean"

    model_config = ConfigDict(json_schema_extra={"example": {"texts": ["输入任意文本内容"], "pooling": "mean"}})


class ClassifyRequest(_Request):
    """Texts, or pairs of texts, to label."""

    texts: Texts
    second_texts: Annotated[str | list[str] | None, Field(description="Of pairs: one for each of texts.")] = None
    top_k: Annotated[Count | None, Field(description="How many labels of each text; without it all.")] = None

    model_config = ConfigDict(json_schema_extra={"example": {"texts": ["房间很干净"], "top_k": 1}})


class EmbeddingsRequest(_Request):
    """What OpenAI's POST /v1/embeddings takes."""

    model_config = ConfigDict(
        extra="ignore", json_schema_extra={"example": {"model": "tiny", "input": "输入任意文本内容"}}
    )

    input: Annotated[
        str | Annotated[list[str], Field(min_length=1)] | TokenIds | Annotated[list[TokenIds], Field(min_length=1)],
        Field(description="A text, texts, token ids of this model's vocabulary, or several lists of them."),
    ]
    encoding_format: Annotated[Literal["float", "base64"], Field(description="base64: of little-endian float32.")] = (
        "float"
    )
    dimensions: Annotated[Count | None, Field(description="Only the model's own number is possible.")] = None
    user: Annotated[str | None, Field(description="Not used.")] = None


class Candidate(BaseModel):
    """A token for a [MASK]: its probability, id and text, and the whole text with it filled in."""

    score: float
    token: int
    token_str: str
    sequence: str


class FillMaskAnswer(BaseModel):
    """`candidates[t][m]`: of text t, for its [MASK] m, likeliest first."""

    model: str
    candidates: list[list[list[Candidate]]]
    tokens: Annotated[int, Field(description="Tokens read, [CLS] and [SEP] included.")]


class FeaturesAnswer(BaseModel):
    """`vectors[t]`: of text t hidden numbers; with pooling tokens a list of such vectors."""

    model: str
    pooling: Pooling
    hidden: int
    vectors: list[list[float] | list[list[float]]]
    tokens: int


class Label(BaseModel):
    """A name, and its score: a probability, or the number itself where a model predicts one."""

    label: str
    score: float


class ClassifyAnswer(BaseModel):
    """`labels[t]`: of text t, highest score first."""

    model: str
    labels: list[list[Label]]
    tokens: int


class Embedding(BaseModel):
    """The vector of input `index`: numbers, or little-endian float32 in base64."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """Tokens read, [CLS] and [SEP] included; both numbers are the same."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(BaseModel):
    """As OpenAI's `/v1/embeddings` answers; `data` in the order of the inputs."""

    object: Literal["list"]
    model: str
    data: list[Embedding]
    usage: Usage


class ModelDescription(BaseModel):
    """A model; what is null is not known before it was loaded once."""

    name: str
    state: Literal["unloaded", "loading", "loaded"]
    shape: str | None
    layers: int | None
    hidden: int | None
    parameters: Annotated[int | None, Field(description="Of the encoder.")]
    positions: Annotated[int | None, Field(description="Tokens that it reads of a text, [CLS] and [SEP] included.")]
    vocabulary_size: int | None
    backend: str | None
    precision: str | None
    tasks: list[Literal["features", "fill-mask", "classify"]] | None
    labels: Annotated[list[str] | None, Field(description="Of a classifier.")]


class Models(BaseModel):
    """Every model that is served, loaded or not."""

    models: list[ModelDescription]


class State(BaseModel):
    """One word: whether the service is alive, or ready."""

    status: str


class ErrorDetail(BaseModel):
    """What kind of error, what was wrong and where, and what would have been accepted."""

    type: str
    message: str
    where: str | None
    accepted: str | None


class ErrorAnswer(BaseModel):
    """Every error, whatever its HTTP status."""

    error: ErrorDetail


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route documents of its errors."""
    return {status: {"model": ErrorAnswer, "description": DESCRIPTIONS[status]} for status in statuses}


DESCRIPTIONS = {
    400: "The request is not HTTP or its body not JSON.",
    401: "The bearer token is missing or wrong.",
    404: "There is no such model.",
    408: "The body did not come in time.",
    413: "The body is too large.",
    415: "The body is not said to be JSON.",
    422: "A value is not accepted; the answer says which, and what would be.",
    429: "Too much is waiting; try again after Retry-After seconds.",
    503: "The model cannot be loaded or is not loaded yet, or the service is stopping.",
    504: "The answer was not computed in time.",
}
