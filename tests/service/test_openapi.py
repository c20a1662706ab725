"""The description is generated from the code, committed, valid, complete, and shown without another host."""

import json
import re
from pathlib import Path

import pytest
from openapi_spec_validator import validate

COMMITTED = Path(__file__).parent.parent.parent / "openapi.json"
METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture
def document(client):
    return client.get("/openapi.json").json


def operations(document):
    return {(path, m): o for path, item in document["paths"].items() for m, o in item.items() if m in METHODS}


def test_the_committed_document_is_what_the_code_says(document):
    """`make openapi` writes it anew."""
    assert json.loads(COMMITTED.read_text()) == document


def test_the_document_is_valid_openapi_3_1(document):
    assert document["openapi"].startswith("3.1")
    validate(document)


def test_every_route_is_described(app, document):
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in rule.methods & {m.upper() for m in METHODS}
    }
    assert routes == set(operations(document))


def test_every_operation_says_what_it_is_and_how_it_fails(document):
    mute = [where for where, o in operations(document).items() if not o.get("summary")]
    unfailing = [where for where, o in operations(document).items() if "default" not in o["responses"]]
    assert (mute, unfailing) == ([], [])


def test_a_client_that_has_the_document_hears_304(client):
    etag = client.get("/openapi.json").headers["ETag"]
    assert client.get("/openapi.json", headers={"If-None-Match": etag}).status_code == 304


def test_the_docs_name_no_other_host(client):
    page = client.get("/docs")
    assert page.status_code == 200
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", page.text)
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    for part in re.findall(r"(?:src|href)=\"(docs/[^\"]+)\"", page.text):
        with client.get(f"/{part}") as file:
            assert file.status_code == 200


def test_no_answer_is_described_as_an_object_that_has_nothing_in_it(document):
    empty = {
        name
        for name, schema in document["components"]["schemas"].items()
        if schema.get("additionalProperties") is False and not schema.get("properties")
    }
    used = json.dumps([operation["responses"] for operation in operations(document).values()])
    assert not [name for name in empty if f'/schemas/{name}"' in used]
