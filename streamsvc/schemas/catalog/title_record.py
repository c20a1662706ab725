"""The title record in the OpenAPI document, derived from the record's own types so that they agree."""

from typing import Any

import msgspec

from streamsvc.rules.catalog.record import CatalogRecord


def title_record_schemas() -> dict[str, dict]:
    """Return {component: JSON Schema 2020-12} of the record as written and as read, without references."""
    (reference,), parts = msgspec.json.schema_components([CatalogRecord])
    record = _inline_references(reference, parts)
    record["properties"] = {"id": {"type": "string"}} | record["properties"]
    stored = record | {
        "description": "A title record as stored, with the title's id.",
        "required": ["id", *record["required"]],
    }
    record["required"].remove("external_id")  # the URL has it; if sent, it must be the same. `id` is ignored
    return {"TitleRecord": record, "StoredTitleRecord": stored}


def _inline_references(schema: Any, definitions: dict) -> Any:
    if isinstance(schema, list):
        return [_inline_references(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inline_references(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {
        name: _inline_references(inner, definitions)
        for name, inner in schema.items()
        if name != "default" and not (name == "title" and isinstance(inner, str))
    }
