"""openapi.json with the limits of this very service, and the same as a page for people that needs no script."""

import html
import json
from collections.abc import Collection
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from weixing.serving.limits import Limits
from weixing.serving.service import Service

DESCRIPTION = (
    "Fill-mask, vectors, and labels of Chinese texts. Every error has the form of ErrorAnswer. Requests are computed "
    "together with others; when too much is waiting, 429 says in Retry-After how many seconds to wait."
)
LISTS_OF_TEXTS = {"texts", "second_texts", "input"}
TASKS = {
    "FillMaskRequest": "fill-mask", "FeaturesRequest": "features", "ClassifyRequest": "classify",
    "EmbeddingsRequest": "features",
}  # fmt: skip
BOUNDS = {
    "minimum": "from {:,.0f}", "maximum": "to {:,.0f}", "maxLength": "at most {:,} characters",
    "maxItems": "at most {:,}",
}  # fmt: skip
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem}"
    "h2{margin-top:2.5rem;border-top:1px solid #ccc;padding-top:1rem}code,pre{background:#f3f3f3;border-radius:4px}"
    "pre{padding:.7rem;overflow:auto}td,th{text-align:left;padding:.2rem .8rem .2rem 0;vertical-align:top}"
)


def openapi(app: FastAPI, service: Service, guarded: Collection[str]) -> dict[str, Any]:
    """The OpenAPI document, 3.1.

    Args:
        app: whose endpoints.
        service: whose limits, and whose models as far as they were loaded once.
        guarded: paths that need the token.
    """
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schemas = document["components"]["schemas"]
    known = [entry for entry in service.shelf.describe() if entry["hidden"]]
    for title, task in TASKS.items():
        properties = schemas[title]["properties"]
        properties["model"]["anyOf"][0]["enum"] = service.shelf.able(task)
        for name in LISTS_OF_TEXTS & set(properties):
            _bound(properties[name], service.limits, max((entry["vocabulary_size"] for entry in known), default=0))
        if "dimensions" in properties and known:
            properties["dimensions"]["anyOf"][0]["enum"] = sorted({entry["hidden"] for entry in known})
    if guarded:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for path in guarded:
            for operation in document["paths"][path].values():
                operation["security"] = [{"token": []}]
    return document


def _bound(schema: dict[str, Any], limits: Limits, entries: int) -> None:
    """Put limits into the schema of a list of texts or token ids; `entries`: of the largest vocabulary, 0 unknown."""
    kind, of = schema.get("type"), schema.get("items", {})
    if kind == "string":
        schema["maxLength"] = limits.characters
    elif kind == "integer" and entries:
        schema["maximum"] = entries - 1
    elif kind == "array":
        schema["maxItems"] = limits.characters if of.get("type") == "integer" else limits.texts
        _bound(of, limits, entries)
    for choice in schema.get("anyOf", ()):
        _bound(choice, limits, entries)


def as_html(document: dict[str, Any]) -> str:
    """An OpenAPI document as a page."""
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{_text(document['info']['title'])} API</title><style>{STYLE}</style>"
        f"<h1>{_text(document['info']['title'])} {_text(document['info']['version'])}: API</h1>"
        f"<p>{_text(document['info']['description'])}</p>"
        "<p><a href=openapi.json>openapi.json</a> · <a href=.>page</a></p>"
    ]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts.append(_operation(document, path, method, operation))
    return "".join(parts) + "</html>"


def _operation(document: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> str:
    parts = [f"<h2><code>{method.upper()} {_text(path)}</code></h2><p>{_text(operation.get('description', ''))}</p>"]
    if "requestBody" in operation:
        schema = _resolve(document, operation["requestBody"]["content"]["application/json"]["schema"])
        parts.append(_properties(document, "Request", schema))
        example = json.dumps(schema.get("example"), ensure_ascii=False)
        command = f"curl -s http://HOST:PORT{path} -H 'Content-Type: application/json' -d '{example}'"
        parts.append(f"<pre>{_text(command)}</pre>")
    content = operation["responses"]["200"].get("content", {}).get("application/json", {})
    if content.get("schema"):
        parts.append(_properties(document, "Answer", _resolve(document, content["schema"])))
    refusals = [
        f"{_text(status)}: {_text(response['description'])}" for status, response in operation["responses"].items()
    ]
    return "".join(parts) + f"<p>{'<br>'.join(refusals[1:])}</p>"


def _properties(document: dict[str, Any], title: str, schema: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{_text(name)}</code><td>{_text(_kind(document, value))}"
        f"<td>{_text('' if value.get('default') is None else 'default ' + str(value['default']))}"
        f"<td>{_text(value.get('description', ''))}"
        for name, value in schema.get("properties", {}).items()
    )
    return f"<h3>{title}</h3><p>{_text(schema.get('description', ''))}</p><table>{rows}</table>"


def _kind(document: dict[str, Any], schema: dict[str, Any]) -> str:
    """A schema in a few words: ``string or list of string``."""
    schema = _resolve(document, schema)
    if "anyOf" in schema:
        return " or ".join(_kind(document, choice) for choice in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return " | ".join(map(str, schema.get("enum", [schema.get("const")])))
    bounds = [words.format(schema[key]) for key, words in BOUNDS.items() if key in schema]
    within = f" ({', '.join(bounds)})" if bounds else ""
    if schema.get("type") == "array":
        return f"list of {_kind(document, schema['items'])}{within}"
    return schema.get("type", "object") + within


def _resolve(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """The schema that a reference names."""
    name = schema.get("$ref", "").rpartition("/")[2]
    return document["components"]["schemas"][name] if name else schema


def _text(value: Any) -> str:
    return html.escape(str(value))
