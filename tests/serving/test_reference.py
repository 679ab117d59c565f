"""openapi.json and the pages: valid, with the limits and names of this very service, and nothing from elsewhere."""

import json
import re

from fastapi.openapi.models import OpenAPI

from tests.serving.running import Running, running
from weixing.serving.limits import Limits


def references(value) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if "$ref" in value else []
        return own + [name for item in value.values() for name in references(item)]
    return [name for item in value for name in references(item)] if isinstance(value, list) else []


def test_openapi_is_valid_and_complete(service: Running) -> None:
    document = service.ask("/openapi.json").json
    OpenAPI.model_validate(document)
    for reference in references(document):
        found = document
        for key in reference.removeprefix("#/").split("/"):
            found = found[key]
    assert set(document["paths"]) == {
        "/fill-mask", "/features", "/classify", "/v1/embeddings", "/models", "/health", "/ready", "/metrics",
        "/family", "/runs",
    }  # fmt: skip
    refusal = document["paths"]["/features"]["post"]["responses"]["422"]["content"]["application/json"]["schema"]
    assert refusal == {"$ref": "#/components/schemas/ErrorAnswer"}
    assert "HTTPValidationError" not in document["components"]["schemas"]
    assert "security" not in document["paths"]["/features"]["post"]
    names = {
        title: document["components"]["schemas"][title]["properties"]["model"]["anyOf"][0]["enum"]
        for title in ("FeaturesRequest", "FillMaskRequest", "ClassifyRequest")
    }
    assert names == {
        "FeaturesRequest": ["first", "second", "classifier"], "FillMaskRequest": ["first", "second"],
        "ClassifyRequest": ["classifier"],
    }  # fmt: skip


def test_openapi_tells_the_limits_the_names_and_the_token_of_this_service(models) -> None:
    limits = Limits(texts=7, characters=70)
    with running({"a": "", "b": ""}, lambda _: models["first"], limits, token="x") as service:
        document = service.ask("/openapi.json").json
    properties = document["components"]["schemas"]["FeaturesRequest"]["properties"]
    one, several = properties["texts"]["anyOf"]
    assert (one["maxLength"], several["maxItems"], several["items"]["maxLength"]) == (70, 7, 70)
    assert properties["model"]["anyOf"][0]["enum"] == ["a", "b"]
    secured = {path for path, methods in document["paths"].items() if "security" in next(iter(methods.values()))}
    assert secured == set(document["paths"]) - {"/health", "/ready"}
    assert document["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}


def test_the_reference_loads_nothing_from_elsewhere(service: Running) -> None:
    reply = service.ask("/docs")
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("text/html")
    assert "default-src 'self'" in reply.headers["Content-Security-Policy"]
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", reply.json)


def test_the_reference_names_every_endpoint_and_every_value_of_a_request(service: Running) -> None:
    page, document = service.ask("/docs").json, service.ask("/openapi.json").json
    for path in document["paths"]:
        assert path in page
    for name, schema in document["components"]["schemas"].items():
        if name.endswith("Request"):
            for value in schema["properties"]:
                assert f"<code>{value}</code>" in page
            assert json.dumps(schema["example"], ensure_ascii=False)[:20].replace('"', "&quot;") in page


def test_metrics_move_and_can_be_read(service: Running) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    answered = 'weixing_requests_total{path="/features",status="200"}'
    service.ask("/features", {"texts": ["你好", "世界"]})
    requests, texts = service.metric(answered), service.metric('weixing_texts_total{model="first",task="features"}')
    service.ask("/features", {"texts": ["你好", "世界"]})
    assert service.metric(answered) == requests + 1
    assert service.metric('weixing_texts_total{model="first",task="features"}') == texts + 2
    reply = service.ask("/metrics")
    assert reply.headers["Content-Type"].startswith("text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(reply.json)}
    for name in ("weixing_request_seconds", "weixing_batch_texts", "weixing_batch_seconds", "weixing_queue_tokens"):
        assert families[name].samples
    service.ask("/no/such/path")
    assert service.metric('weixing_requests_total{path="other",status="404"}') >= 1
