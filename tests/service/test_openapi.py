"""The OpenAPI document is generated from the code, committed, valid and complete; its page loads no other host."""

import json
import re
from pathlib import Path

import jsonschema_rs
import pytest
from marshmallow import ValidationError
from openapi_spec_validator import validate

import streamsvc
from streamsvc.schemas.base import FullMatch
from streamsvc.security.access import VIEWER_ONLY, public
from tests.worlds.described_client import RECORD_FOLDER, find_used_schemas

pytestmark = pytest.mark.one_database
COMMITTED_DOCUMENT = Path(__file__).parent.parent.parent / "openapi.json"
METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture
def document(client):
    return client.get("/openapi.json").json


def list_operations(document):
    return {(path, m): o for path, item in document["paths"].items() for m, o in item.items() if m in METHODS}


def test_the_committed_document_matches_the_code(document):
    """`make openapi` regenerates it."""
    assert json.loads(COMMITTED_DOCUMENT.read_text()) == document


def test_the_document_is_valid_openapi_3_1(document):
    assert document["openapi"].startswith("3.1")
    validate(document)


def test_every_route_is_described(app, document):
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in rule.methods & {m.upper() for m in METHODS}
    }
    assert routes == set(list_operations(document))


def test_every_operation_has_a_summary_and_an_error_response(document):
    no_summary = [key for key, o in list_operations(document).items() if not o.get("summary")]
    no_error = [key for key, o in list_operations(document).items() if "default" not in o["responses"]]
    assert (no_summary, no_error) == ([], [])


def test_every_operation_has_an_id_of_its_own(document):
    ids = [o["operationId"] for o in list_operations(document).values()]
    assert len(set(ids)) == len(ids)
    assert not [name for name in ids if not re.fullmatch("[a-z]+([A-Z][a-z0-9]*)*", name)]


def nodes(document):
    """Every object of the document, at any depth."""
    if isinstance(document, dict):
        yield document
    for child in document.values() if isinstance(document, dict) else document if isinstance(document, list) else []:
        yield from nodes(child)


def test_patterns_are_anchored_as_ecma_262_reads_them(document):
    patterns = [node["pattern"] for node in nodes(document) if isinstance(node.get("pattern"), str)]
    assert patterns
    assert not [p for p in patterns if not (p.startswith("^") and p.endswith("$")) or re.search(r"\\[AZz]|\(\?P", p)]


def test_a_pattern_matches_the_whole_text():
    code = FullMatch("[A-Z]{2}", "no")
    assert code("DE") == "DE"
    for text in ("DE\n", "DEU", " DE", "de", ""):
        with pytest.raises(ValidationError):
            code(text)


def test_every_property_has_a_type(document):
    properties = [
        p for node in nodes(document) if isinstance(node.get("properties"), dict) for p in node["properties"].items()
    ]
    typed = {"type", "$ref", "anyOf", "allOf", "oneOf", "enum"}
    assert not [name for name, schema in properties if not typed & schema.keys()]


def bodies(operation):
    """The media types of an operation's request and of its responses below 400."""
    responses = [response for status, response in operation["responses"].items() if status[0] in "123"]
    return [content for body in [operation.get("requestBody", {}), *responses] for content in media_types(body)]


def parameters_of(item):
    return [parameter for parameter in item.get("parameters", []) if "$ref" not in parameter]


def media_types(body):
    return body.get("content", {}).values()


def test_every_body_and_every_parameter_has_an_example(document):
    operations = list_operations(document)
    assert not [key for key, o in operations.items() if not all({"example", "examples"} & m.keys() for m in bodies(o))]
    paths = document["paths"].values()
    parameters = [p for item in paths for o in [item, *item.values()] if isinstance(o, dict) for p in parameters_of(o)]
    parameters += document["components"]["parameters"].values()
    assert not {p["name"] for p in parameters if "example" not in p}


def test_every_parameter_allows_its_example(document):
    wrong = [
        f"{method} {path}: {parameter['name']}"
        for (path, method), operation in list_operations(document).items()
        for parameter in parameters_of(operation)
        if "schema" in parameter
        and not jsonschema_rs.is_valid(with_used_schemas(parameter["schema"], document), parameter["example"])
    ]
    assert not wrong


def with_used_schemas(schema, document):
    """The schema as a document of its own, with those that it refers to."""
    return schema | {"components": {"schemas": find_used_schemas(schema, document["components"]["schemas"])}}


def test_every_schema_has_an_example_that_it_allows(document):
    schemas = document["components"]["schemas"]
    for name, schema in schemas.items():
        if name == "Problem" or name.endswith("Problem"):
            continue
        whole = with_used_schemas({"$ref": f"#/components/schemas/{name}"}, document)
        validator = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
        for example in schema["examples"]:
            validator.validate(example)


def test_every_error_is_named_by_its_code(document):
    """Each status has the codes that it may come with; each code has a schema and an example of its own."""
    schemas, examples = document["components"]["schemas"], document["components"]["examples"]
    codes = schemas["Problem"]["properties"]["code"]["x-extensible-enum"]
    assert len(codes) > 60 and len(set(codes)) == len(codes)
    for operation in list_operations(document).values():
        for status, response in operation["responses"].items():
            if status[0] not in "45":
                continue
            if "$ref" in response:
                response = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
            content = response["content"]["application/problem+json"]
            refs = [r["$ref"].rpartition("/")[2] for r in content["schema"].get("oneOf", [content["schema"]])]
            for name in refs:
                (code,) = schemas[name]["allOf"][1]["properties"]["code"]["enum"]
                assert code in codes and f"`{code}`" in response["description"]
                assert examples[name]["value"]["code"] == code


def test_every_operation_says_who_may_call_it(app, document):
    """Public operations need nothing; of all others each alternative names a scheme, with scopes for operators."""
    open_to_all = {key for key, o in list_operations(document).items() if o["security"] == []}
    assert ("/v1/sessions", "post") in open_to_all and ("/v1/account", "get") not in open_to_all
    for key, operation in list_operations(document).items():
        view = next(v for v in app.view_functions.values() if is_view_of(v, operation))
        access = getattr(view, "access", VIEWER_ONLY)
        assert access.public == (key in open_to_all)
        scopes = [scope for alternative in operation["security"] for scope in alternative.get("operator", [])]
        scope = "admin" if access.scope == "sandbox" else access.scope
        assert scopes == ([scope] if scope else [])
        has_cookie = any("cookie" in alternative for alternative in operation["security"])
        assert has_cookie == access.viewer
        has_csrf = any("csrf" in alternative for alternative in operation["security"])
        is_console = "/v1/admin/" in key[0] and not access.public
        assert any("operatorCookie" in alternative for alternative in operation["security"]) == is_console
        assert has_csrf == ((access.viewer or is_console) and key[1] != "get")


def is_view_of(view, operation):
    documentation = getattr(view, "_apidoc", {}).get("manual_doc", {})
    return documentation.get("operationId") == operation["operationId"]


def test_headers_are_described_where_they_count(document):
    operations = list_operations(document)
    subscribe = operations["/v1/subscriptions", "post"]
    assert {"$ref": "#/components/parameters/RequiredIdempotencyKey"} in subscribe["parameters"]
    assert "Idempotency-Replayed" in subscribe["responses"]["201"]["headers"]
    titles = operations["/v1/catalog/titles", "get"]
    assert {"$ref": "#/components/parameters/IfNoneMatch"} in titles["parameters"]
    assert "ETag" in titles["responses"]["200"]["headers"] and "ETag" in titles["responses"]["304"]["headers"]
    patch = operations["/v1/admin/titles/{external_id}", "patch"]
    assert {"$ref": "#/components/parameters/RequiredIfMatch"} in patch["parameters"]
    assert "Retry-After" in operations["/v1/sessions", "post"]["responses"]["429"].get("headers", {"Retry-After": 0})
    without_id = [
        key
        for key, o in operations.items()
        for response in o["responses"].values()
        if "$ref" not in response and "X-Request-Id" not in response["headers"]
    ]
    assert not without_id


def test_webhooks_are_described_and_deliveries_match(app, document):
    """Each kind of event that the code publishes has its webhook."""
    sources = "".join(path.read_text() for path in (Path(streamsvc.__file__).parent / "operations").rglob("*.py"))
    published = set(re.findall(r'publish_event\("([a-z.]+)"', sources))
    assert {"invoice.issued", "subscription.changed"} <= published
    assert published <= set(document["webhooks"])
    assert 'publish_event(f"payment.{payment.status}"' in sources


@pytest.mark.skipif(RECORD_FOLDER is not None, reason="mismatches are recorded instead")
def test_a_response_that_is_not_described_fails_the_test(client, monkeypatch):
    """The test client holds each response against the description."""
    monkeypatch.setitem(client.application.view_functions, "health.get_liveness", public(lambda: {"status": 1}))
    with pytest.raises(AssertionError, match="1 is not of type"):
        client.get("/livez")


def test_an_unchanged_document_is_304(client):
    etag = client.get("/openapi.json").headers["ETag"]
    assert client.get("/openapi.json", headers={"If-None-Match": etag}).status_code == 304


def test_the_docs_page_loads_no_other_host(client):
    page = client.get("/docs")
    assert page.status_code == 200
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", page.text)
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    for part in re.findall(r"(?:src|href)=\"(docs/[^\"]+)\"", page.text):
        with client.get(f"/{part}") as file:
            assert file.status_code == 200


def test_no_response_schema_is_an_object_without_fields(document):
    empty = {
        name
        for name, schema in document["components"]["schemas"].items()
        if schema.get("additionalProperties") is False and not schema.get("properties")
    }
    used = json.dumps([operation["responses"] for operation in list_operations(document).values()])
    assert not [name for name in empty if f'/schemas/{name}"' in used]
