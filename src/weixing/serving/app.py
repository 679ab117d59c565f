"""The application: endpoints, errors in one form, the page, and what every request passes on its way in."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

import weixing
from weixing.inference.model import Model
from weixing.serving import reference
from weixing.serving.errors import ApiError
from weixing.serving.gate import Entrance, Gate
from weixing.serving.limits import Limits
from weixing.serving.metrics import Metrics
from weixing.serving.pages import Exhibits, exhibit_routes, page_routes
from weixing.serving.routes import guarded_routes, open_routes
from weixing.serving.service import Service
from weixing.serving.shelf import Shelf

# Of the reference; nothing from elsewhere, so that it works offline and a text in it cannot load anything.
POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"


@dataclass(frozen=True)
class Served:
    """A service that is not running yet.

    Args:
        entrance: the application, for an ASGI server.
        service: what it works with.
    """

    entrance: Entrance
    service: Service


def create(
    sources: Mapping[str, str],
    load: Callable[[str], Model],
    limits: Limits,
    *,
    token: str | None = None,
    origins: Sequence[str] = (),
    exhibits: Exhibits | None = None,
) -> Served:
    """The service of some models.

    Args:
        sources: what each model's name stands for, as `load` takes it.
        load: gives a model that is ready for use.
        limits: of requests.
        token: that requests must bring, or None.
        origins: whose pages in a browser may send requests (CORS), ``*`` for all.
        exhibits: what the page shows beside the models.
    """
    metrics = Metrics()
    service = Service(Shelf(sources, load, limits, metrics), limits, metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await service.shelf.close()

    app = FastAPI(
        title="weixing 微型", version=weixing.__version__, description=reference.DESCRIPTION, lifespan=lifespan,
        docs_url=None, redoc_url=None, redirect_slashes=False,
    )  # fmt: skip
    guarded = (guarded_routes(service), exhibit_routes(exhibits or Exhibits()))
    routers = (*guarded, open_routes(service), page_routes(), _reference(app))
    for router in routers:
        app.include_router(router)
    app.openapi = lambda: reference.openapi(  # type: ignore[method-assign]  # FastAPI's own way
        app, service, _paths(*guarded) if token else ()
    )
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _fault)

    inner: ASGIApp = Gate(
        app, limits, token, guarded=_paths(*guarded), posted=_paths(*guarded, method="POST"), metrics=metrics
    )
    if origins:
        inner = CORSMiddleware(
            inner, allow_origins=origins, allow_methods=["GET", "POST"], allow_headers=["Authorization", "Content-Type"]
        )
    return Served(Entrance(inner, _paths(*routers), metrics), service)


def _paths(*routers: APIRouter, method: str | None = None) -> set[str]:
    """All their paths, or those with this method."""
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    return {route.path for route in routes if method is None or method in (route.methods or ())}


def _reference(app: FastAPI) -> APIRouter:
    """The reference of the API, for people."""
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    async def docs() -> Response:
        return HTMLResponse(reference.as_html(app.openapi()), headers={"Content-Security-Policy": POLICY})

    return router


async def _api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return Response(error.body(), error.status, media_type="application/json", headers=error.headers)


async def _invalid(request: Request, error: Exception) -> Response:
    """What FastAPI found wrong with a body; the value itself is not repeated."""
    assert isinstance(error, RequestValidationError)
    first = max(error.errors(), key=lambda problem: len(problem["loc"]))  # of several kinds, the one that nearly fits
    if first["type"] == "json_invalid":
        reason = first["ctx"]["error"]
        return await _api_error(request, ApiError(400, f"the body is not JSON: {reason}", accepted="one JSON object"))
    _, *place = first["loc"]
    where = f"{place[0]}{''.join(f'[{part}]' for part in place[1:] if isinstance(part, int))}" if place else "body"
    return await _api_error(request, ApiError(422, first["msg"], where=where))


async def _http_error(request: Request, error: Exception) -> Response:
    """What Starlette refuses: paths and methods that do not exist."""
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    accepted = headers.get("Allow") or headers.get("allow")
    what = {404: f"there is nothing at {request.url.path}", 405: f"{request.url.path} has no {request.method}"}
    message = what.get(error.status_code, str(error.detail))
    if error.status_code == 404:
        accepted = "the paths of GET /openapi.json"
    return await _api_error(request, ApiError(error.status_code, message, accepted=accepted, headers=headers))


async def _fault(request: Request, _: Exception) -> Response:
    """A fault of the program; the server logs it."""
    return await _api_error(request, ApiError(500, "a fault of the program; its log says more"))
