"""The OpenAPI document is generated from the code, committed, valid and complete; its page loads no other host."""

import json
import re
from pathlib import Path

import pytest
from marshmallow import ValidationError
from openapi_spec_validator import validate

from streamsvc.schemas.base import FullMatch

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
