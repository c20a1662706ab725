"""The title record as the OpenAPI document describes it: read from the record's own types, so that they agree."""

import msgspec

from streamsvc.rules.catalog.record import Title


def json_schema() -> dict:
    """JSON Schema 2020-12 of the record, without references."""
    (reference,), parts = msgspec.json.schema_components([Title])
    return _inlined(reference, parts)


def _inlined(schema, parts):
    if isinstance(schema, list):
        return [_inlined(one, parts) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(parts[schema["$ref"].rpartition("/")[2]], parts)
    return {name: _inlined(inner, parts) for name, inner in schema.items()}


REQUEST_BODY = {"required": True, "content": {"application/json": {"schema": json_schema()}}}
