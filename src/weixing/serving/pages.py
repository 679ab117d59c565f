"""The page at `/` and what it shows beside the models: the family and runs. Reads the page's files once.

What a browser has already is not sent again: every answer here has an ETag, and is asked for anew each time.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import orjson
from fastapi import APIRouter, Request, Response

from weixing.reporting.runs import Curve, curves
from weixing.reporting.table import Entry
from weixing.serving.family import Family, family
from weixing.serving.schemas import errors

PAGE = Path(__file__).parent / "page"
"""The files that a browser gets: index.html at `/`, each other one at `/NAME`."""
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
# Nothing from elsewhere and nothing inline: a text that is shown can neither load nor run anything.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True)
class Exhibits:
    """What the page shows beside the models.

    Args:
        runs: run folders of `weixing pretrain`, or folders that hold some.
        entries: results of the family, of `weixing.reporting.table.table`, beside the published ones.
        speeds: texts per second by shape.
    """

    runs: Sequence[Path] = ()
    entries: Sequence[Entry] = ()
    speeds: Mapping[str, float] | None = None


@dataclass(frozen=True)
class RunsAnswer:
    """The runs of --runs."""

    runs: list[Curve]


def page_routes() -> APIRouter:
    """The page's files."""
    router = APIRouter(include_in_schema=False)

    def add(file: Path, path: str) -> None:
        content, media_type = file.read_bytes(), f"{TYPES[file.suffix]}; charset=utf-8"

        @router.get(path)
        async def page(request: Request) -> Response:
            return revalidated(request, content, media_type, HEADERS)

    for file in sorted(PAGE.rglob("*")):
        if file.suffix in TYPES:
            name = file.relative_to(PAGE).as_posix()
            add(file, "/" if name == "index.html" else f"/{name}")
    return router


def exhibit_routes(exhibits: Exhibits) -> APIRouter:
    """The family, and runs as they are now."""
    router = APIRouter()
    family_now = cache(lambda: orjson.dumps(family(exhibits.entries, exhibits.speeds)))

    @router.get("/family", response_model=Family, responses=errors(401))
    def family_(request: Request) -> Response:
        """The 24 shapes: parameters, size, and maps of score, size and speed, with their colours."""
        return revalidated(request, family_now(), "application/json")

    @router.get("/runs", response_model=RunsAnswer, responses=errors(401))
    def runs(request: Request) -> Response:
        """Loss and other readings of the runs of --runs, as they are now."""
        return revalidated(request, orjson.dumps(RunsAnswer(curves(exhibits.runs))), "application/json")

    return router


def revalidated(
    request: Request, content: bytes, media_type: str, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer that a browser keeps, and asks each time whether it still holds: 304 if so."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    given = {"ETag": tag, "Cache-Control": "no-cache", **(headers or {})}
    known = {known.strip().removeprefix("W/") for known in request.headers.get("If-None-Match", "").split(",")}
    if tag in known:
        return Response(status_code=304, headers=given)
    return Response(content, media_type=media_type, headers=given)
