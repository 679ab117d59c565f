"""The endpoints. docs/serving.md describes them for people, `schemas` and openapi.json for machines."""

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST

from weixing.serving.errors import ApiError
from weixing.serving.schemas import (
    ClassifyAnswer,
    ClassifyRequest,
    EmbeddingsAnswer,
    EmbeddingsRequest,
    FeaturesAnswer,
    FeaturesRequest,
    FillMaskAnswer,
    FillMaskRequest,
    Models,
    State,
    errors,
)
from weixing.serving.service import Service
from weixing.serving.work import Answer, Classify, Features, FillMask
from weixing.text.vocabulary import MASK


class JsonRequest(Request):
    """A request whose JSON is read strictly: UTF-8, no NaN, no endless nesting."""

    async def json(self) -> object:
        """The body."""
        return orjson.loads(await self.body())


class JsonRoute(APIRoute):
    """A route with `JsonRequest`."""

    def get_route_handler(self) -> Callable:
        """As FastAPI has it."""
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handler(JsonRequest(request.scope, request.receive))

        return strict


REFUSALS = errors(400, 401, 404, 408, 413, 415, 422, 429, 503, 504)


def guarded_routes(service: Service) -> APIRouter:
    """The endpoints that have to do with models: with a token, they ask for it."""
    router = APIRouter(route_class=JsonRoute)

    @router.post("/fill-mask", response_model=FillMaskAnswer, responses=REFUSALS)
    async def fill_mask(request: FillMaskRequest) -> Response:
        """The tokens likeliest in the place of each [MASK], as `weixing.load(MODEL).fill_mask(TEXT, top_k)`."""
        texts, model = service.texts(request.texts, "texts"), service.model(request.model, FillMask.name)
        masks = sum(text.count(MASK) for text in texts)
        service.bound(masks * request.top_k, service.limits.candidates, "candidates ([MASK]s times top_k)", "texts")
        answers = await service.compute(model, FillMask(request.top_k), texts, [*map(len, texts)])
        return _json(model=model, candidates=[answer.value for answer in answers], tokens=_tokens(answers))

    @router.post("/features", response_model=FeaturesAnswer, responses=REFUSALS)
    async def features(request: FeaturesRequest) -> Response:
        """Vectors of texts, as `weixing.load(MODEL).features(TEXTS, pooling)`."""
        texts, model = service.texts(request.texts, "texts"), service.model(request.model, Features.name)
        if request.pooling == "tokens":
            tokens = sum(len(text) + 2 for text in texts)
            service.bound(tokens, service.limits.token_vectors, "tokens with a vector each", "texts")
        answers = await service.compute(model, Features(request.pooling), texts, [*map(len, texts)])
        vectors = [answer.value for answer in answers]
        hidden = vectors[0].shape[-1]
        return _json(model=model, pooling=request.pooling, hidden=hidden, vectors=vectors, tokens=_tokens(answers))

    @router.post("/classify", response_model=ClassifyAnswer, responses=REFUSALS)
    async def classify(request: ClassifyRequest) -> Response:
        """Labels of texts, or of pairs of texts, as `weixing.load(MODEL).classify(TEXTS, SECOND_TEXTS, top_k)`."""
        texts, model = service.texts(request.texts, "texts"), service.model(request.model, Classify.name)
        pairs, seconds = False, [""] * len(texts)
        if request.second_texts is not None:
            pairs, seconds = True, service.texts(request.second_texts, "second_texts")
        if len(seconds) != len(texts):
            what = f"{len(seconds)} second texts for {len(texts)} texts"
            raise ApiError(422, what, where="second_texts", accepted=f"one for each: {len(texts)}")
        items = list(zip(texts, seconds, strict=True))
        sizes = [len(text) + len(second) + pairs for text, second in items]
        answers = await service.compute(model, Classify(request.top_k, pairs), items, sizes)
        return _json(model=model, labels=[answer.value for answer in answers], tokens=_tokens(answers))

    @router.post("/v1/embeddings", response_model=EmbeddingsAnswer, responses=REFUSALS)
    async def embeddings(request: EmbeddingsRequest) -> Response:
        """Mean-pooled vectors as OpenAI's endpoint gives them, so that its clients can be used."""
        model, items = service.model(request.model, Features.name), _inputs(service, request.input)
        answers = await service.compute(model, Features("mean"), items, [*map(len, items)], "input")
        hidden = len(answers[0].value)
        if request.dimensions not in (None, hidden):
            raise ApiError(422, f"dimensions {request.dimensions}", where="dimensions", accepted=str(hidden))
        encode = _base64 if request.encoding_format == "base64" else lambda vector: vector
        data = [
            {"object": "embedding", "index": index, "embedding": encode(answer.value)}
            for index, answer in enumerate(answers)
        ]
        tokens = _tokens(answers)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return _json(object="list", model=model, data=data, usage=usage)

    @router.get("/models", response_model=Models, responses=errors(401))
    async def models() -> Response:
        """The models that requests may name, and what is known of them."""
        return _json(models=service.shelf.describe())

    @router.get("/metrics", responses=errors(401) | {200: {"content": {"text/plain": {}}}}, response_class=Response)
    async def metrics() -> Response:
        """Counts and times, for Prometheus."""
        return Response(service.metrics.page(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return router


def open_routes(service: Service) -> APIRouter:
    """What is asked by whoever watches over the service; tells nothing, and needs no token."""
    router = APIRouter(route_class=JsonRoute)

    @router.get("/health", response_model=State)
    async def health() -> Response:
        """Whether the process is alive: always 200."""
        return _json(status="alive")

    @router.get("/ready", response_model=State, responses=errors(503))
    async def ready() -> Response:
        """Whether requests should be sent here: the models of the start are loaded, and it is not stopping."""
        if not service.ready:
            raise ApiError(503, "models are being loaded, or the service is stopping", retry_after=1)
        return _json(status="ready")

    return router


def _json(**content: Any) -> Response:
    return Response(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


def _tokens(answers: list[Answer]) -> int:
    return sum(answer.tokens for answer in answers)


def _inputs(service: Service, given: Any) -> list[str] | list[np.ndarray]:
    """What OpenAI calls the input, as texts or arrays of token ids."""
    if isinstance(given, str) or isinstance(given[0], str):
        return service.texts(given, "input")
    rows = [given] if isinstance(given[0], int) else given
    service.bound(len(rows), service.limits.texts, "token arrays", "input")
    for number, row in enumerate(rows):
        service.bound(len(row), service.limits.characters, "tokens", f"input[{number}]")
    return [np.array(row, np.int32) for row in rows]


def _base64(vector: np.ndarray) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()
