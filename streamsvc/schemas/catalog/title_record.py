"""The title record in the OpenAPI document, derived from the record's own types so that they agree."""

from typing import Any

import msgspec

from streamsvc.rules.catalog.record import CatalogRecord


def title_record_schema() -> dict:
    """Return the JSON Schema 2020-12 of the record, without references."""
    (reference,), parts = msgspec.json.schema_components([CatalogRecord])
    return _inline_references(reference, parts)


def _inline_references(schema: Any, definitions: dict) -> Any:
    if isinstance(schema, list):
        return [_inline_references(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inline_references(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {name: _inline_references(inner, definitions) for name, inner in schema.items()}


TITLE_RECORD_BODY = {"required": True, "content": {"application/json": {"schema": title_record_schema()}}}
