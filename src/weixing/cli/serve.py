"""`weixing serve`: the HTTP service."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weixing.errors import UserError

if TYPE_CHECKING:
    from weixing.serving.pages import Exhibits

TOKEN = "WEIXING_TOKEN"


def run(
    model: Annotated[list[str], typer.Option("--model", "-m", help="Model, as everywhere, or NAME=MODEL; repeatable.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8000,
    backend: Annotated[str, typer.Option(help="As in `features`.")] = "auto",
    precision: Annotated[str, typer.Option(help="As in `features`.")] = "auto",
    max_models: Annotated[int, typer.Option(min=1, help="In memory at a time.")] = 4,
    token_file: Annotated[Path | None, typer.Option(help=f"Bearer token to ask for; or set {TOKEN}.")] = None,
    allow_origin: Annotated[list[str] | None, typer.Option(help="CORS: whose pages may ask; repeatable.")] = None,
    runs: Annotated[list[Path] | None, typer.Option(help="Runs whose curves to show.")] = None,
    results: Annotated[list[Path] | None, typer.Option(help="As in `table`, to show.")] = None,
    speed: Annotated[Path | None, typer.Option(help="As in `table`, to show.")] = None,
    batch_window_ms: Annotated[float, typer.Option(min=0, help="Wait for company.")] = 2.0,
    batch_tokens: Annotated[int, typer.Option(min=1, help="Computed together.")] = 4096,
    max_queue_tokens: Annotated[int, typer.Option(min=1, help="Waiting for a model.")] = 262_144,
    max_requests: Annotated[int, typer.Option(min=1, help="Under way at a time.")] = 512,
    max_texts: Annotated[int, typer.Option(min=1, help="Of a request.")] = 2048,
    max_characters: Annotated[int, typer.Option(min=1, help="Of a text.")] = 20_000,
    max_body_kb: Annotated[int, typer.Option(min=1, help="KiB of a request.")] = 2048,
    timeout_seconds: Annotated[float, typer.Option(min=0.001, help="For an answer.")] = 30.0,
    shutdown_seconds: Annotated[float, typer.Option(min=1, help="To finish its work.")] = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line when ready.")] = False,
) -> int:
    """Serve models over HTTP: fill-mask, vectors, labels, OpenAI's /v1/embeddings, and a page at /.

    Bounds are upper bounds; beyond them a request is refused with what is accepted. /docs describes the API. Ctrl-C
    or SIGTERM: no new connections, what was taken is finished.

    Example: weixing serve --model runs/tiny --model base=uer/chinese_roberta_L-12_H-768
    """
    sources = _named(model)
    token = _token(token_file)
    try:
        import fastapi  # noqa: F401  # whether it is there
        import orjson  # noqa: F401  # whether it is there
        import prometheus_client  # noqa: F401  # whether it is there
        import uvicorn  # noqa: F401  # whether it is there
    except ImportError as error:
        raise UserError(
            f"weixing serve needs {error.name}, which is not installed", action="pip install 'weixing[serve]'"
        ) from None

    from weixing.progress import say
    from weixing.serving.limits import Limits
    from weixing.serving.loading import loader
    from weixing.serving.server import is_loopback, listen, serve

    exhibits = exhibits_of(runs or [], results or [], speed)
    limits = Limits(
        body_bytes=max_body_kb * 1024, texts=max_texts, characters=max_characters, requests=max_requests,
        queue_tokens=max_queue_tokens, batch_tokens=batch_tokens, batch_window_seconds=batch_window_ms / 1000,
        answer_seconds=timeout_seconds, shutdown_seconds=shutdown_seconds, models=max_models,
    )  # fmt: skip
    bound = listen(host, port)
    address, number = bound.getsockname()[:2]
    url = f"http://[{address}]:{number}" if ":" in address else f"http://{address}:{number}"
    if token is None and not is_loopback(address):
        say(f"warning: everyone who can reach {url} can use it; ask for a token with --token-file or {TOKEN}")

    def ready() -> None:
        if as_json:
            print(json.dumps({"url": url, "port": number, "models": list(sources), "pid": os.getpid()}), flush=True)
        say(f"weixing serve: {url} with {', '.join(sources)}; the API is described at {url}/docs; Ctrl-C ends it")

    load = loader(backend, precision)
    return 128 + serve(
        bound, sources, load, limits, token=token, origins=allow_origin or (), exhibits=exhibits, on_ready=ready
    )  # fmt: skip


def _named(models: list[str]) -> dict[str, str]:
    """``NAME=MODEL``, or a model that is its own name."""
    sources: dict[str, str] = {}
    for given in models:
        name, equals, source = given.partition("=")
        if not name or (equals and not source):
            raise UserError(f"--model {given!r}", accepted="MODEL or NAME=MODEL, such as tiny=runs/tiny")
        if name in sources:
            raise UserError(f"--model: two models are called {name!r}", accepted="NAME=MODEL, each name once")
        sources[name] = source if equals else given
    return sources


def exhibits_of(runs: list[Path], results: list[Path], speed: Path | None) -> "Exhibits":
    """What the page shows beside the models."""
    from weixing.reporting.family import read_speeds
    from weixing.reporting.runs import require_folders
    from weixing.reporting.table import table
    from weixing.serving.pages import Exhibits
    from weixing.tasks.results import read_results

    require_folders(runs, "--runs")
    entries = table(read_results(results)) if results else []
    return Exhibits(runs, entries, None if speed is None else read_speeds(speed))


def _token(file: Path | None) -> str | None:
    """The token of the file, or of the environment; None if there is none."""
    if file is None:
        token, where = os.environ.get(TOKEN), TOKEN
        if token is None:
            return None
    else:
        try:
            token, where = file.read_text(encoding="utf-8", errors="replace"), str(file)
        except OSError as error:
            raise UserError(f"cannot read the token: {error.strerror}", where=file) from None
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise UserError("this is no token", where=where, accepted="one line of printable ASCII without spaces")
    return token
