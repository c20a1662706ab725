"""A test client that compares every exchange with the API description: what is not described fails the test."""

import gzip
import json
import os
import re
from functools import cache
from pathlib import Path

import jsonschema_rs
from flask.testing import FlaskClient
from werkzeug.exceptions import HTTPException

RECORD_FOLDER = os.environ.get("STREAMSVC_TEST_RECORD_TO")
"""If set, exchanges are written to files in this folder, one JSON document per line, and mismatches do not fail."""

_descriptions: dict[frozenset, dict] = {}
_validators: dict[tuple[int, bool], tuple[dict, jsonschema_rs.Draft202012Validator]] = {}
"""By the id of the schema, and whether the request selected fields."""


class DescribedClient(FlaskClient):
    """Flask's test client, which raises AssertionError for a response that the description does not allow."""

    def open(self, *args, **kwargs):
        response = super().open(*args, **kwargs)
        if not kwargs.get("follow_redirects"):
            check_exchange(self.application, response)
        return response


def check_exchange(app, response) -> None:
    """Check the status, media type, body and error code of a response to one of the described operations."""
    request = response.request
    operation, path_values = find_operation(app, request.method, request.path)
    if operation is None:
        return
    problem = find_mismatch(app, operation, response)
    if RECORD_FOLDER:
        record_exchange(operation, path_values, response, problem)
    else:
        assert problem is None, f"{operation['operationId']} {response.status_code}: {problem}\n{response.text[:2000]}"


def find_operation(app, method: str, path: str) -> tuple[dict | None, dict]:
    """Return the description of the operation that serves a request, None if no route does, and its path parameters."""
    method = "GET" if method == "HEAD" else method
    try:
        rule, path_values = app.url_map.bind("localhost").match(path, method, return_rule=True)
    except HTTPException:
        return None, {}
    item = describe(app)["paths"].get(re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), {})
    return item.get(method.lower()), path_values


def find_mismatch(app, operation: dict, response) -> str | None:
    """Say how a response differs from the description; None if it does not."""
    if response.status_code == 500 and app.config["PROPAGATE_EXCEPTIONS"] is False:
        return None  # the test makes the service fail
    described = operation["responses"].get(str(response.status_code))
    if described is None:
        return f"the status is not described (code {(response.json or {}).get('code') if response.is_json else None})"
    if "$ref" in described:
        described = describe(app)["components"]["responses"][described["$ref"].rpartition("/")[2]]
    body, content = response.get_data(), described.get("content", {})
    if response.request.method == "HEAD" or not (body or content) or response.status_code == 304:
        return None
    if not {response.mimetype, "*/*"} & content.keys():
        return f"the media type {response.mimetype} is not described"
    if not response.is_json or response.mimetype not in content:  # a file, described as `*/*`
        return None
    validator = find_validator(app, content[response.mimetype].get("schema", {}), "fields" in response.request.args)
    if response.content_encoding == "gzip":
        body = gzip.decompress(body)
    errors = validator.iter_errors(json.loads(body))
    return "; ".join(f"{'/'.join(map(str, error.instance_path))}: {error.message[:300]}" for error in errors) or None


def describe(app) -> dict:
    """Return the app's API description, which is made once for all apps with the same routes."""
    if "description" not in app.extensions:
        routes = frozenset((rule.rule, frozenset(rule.methods)) for rule in app.url_map.iter_rules())
        if routes not in _descriptions:
            _descriptions[routes] = app.extensions["api"].spec.to_dict()
        app.extensions["description"] = _descriptions[routes]
    return app.extensions["description"]


def find_validator(app, schema: dict, selects_fields: bool = False) -> jsonschema_rs.Draft202012Validator:
    """Return the validator of a schema of the app's description.

    `selects_fields`: the request has `fields`.
    """
    key = id(schema), selects_fields
    if key not in _validators:
        used = find_used_schemas(schema, describe(app)["components"]["schemas"])
        used = require_only_ids(used) if selects_fields else used
        whole = schema | ({"components": {"schemas": used}} if used else {})
        # The schema is kept with its validator, so that its id remains its own.
        _validators[key] = schema, compile_schema(json.dumps(whole, sort_keys=True))
    return _validators[key][1]


def require_only_ids(schemas: dict[str, dict]) -> dict[str, dict]:
    """Return the named schemas as for a request with `fields`: of what has an id, nothing but the id is required."""
    return {
        name: schema | ({"required": ["id"]} if "id" in schema.get("required", ()) else {})
        for name, schema in schemas.items()
    }


def find_used_schemas(schema: dict, schemas: dict[str, dict]) -> dict[str, dict]:
    """Return those of the named schemas that a schema refers to, directly or through others."""
    used: dict[str, dict] = {}
    unread = [schema]
    while unread:
        for name in re.findall(r'"#/components/schemas/([^"/]+)"', json.dumps(unread.pop())):
            if name not in used:
                used[name] = schemas[name]
                unread.append(schemas[name])
    return used


@cache
def compile_schema(schema: str) -> jsonschema_rs.Draft202012Validator:
    """Compile a JSON schema; equal ones once."""
    return jsonschema_rs.Draft202012Validator(json.loads(schema), validate_formats=True)


def record_exchange(operation: dict, path_values: dict, response, problem: str | None) -> None:
    """Append an exchange to this process's file."""
    request = response.request
    line = {
        "operation": operation["operationId"],
        "status": response.status_code,
        "type": response.mimetype,
        "parameters": path_values | dict(request.args),
        "request": _read_json_body(request) if response.status_code < 300 else None,
        "response": response.get_json(silent=True),
        "headers": sorted(response.headers.keys()),
        "problem": problem,
    }
    with (Path(RECORD_FOLDER) / f"{os.getpid()}.ndjson").open("a") as file:
        file.write(json.dumps(line) + "\n")


def _read_json_body(request):
    """Read the JSON body that the client sent; None without one. The app has read the stream already."""
    stream = request.environ["wsgi.input"]
    if not request.mimetype.endswith("json") or not hasattr(stream, "getvalue"):
        return None
    try:
        return json.loads(stream.getvalue())
    except (ValueError, RecursionError):
        return None
