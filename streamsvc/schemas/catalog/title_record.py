"""The records of titles and people in the OpenAPI document, derived from their own types so that they agree."""

from typing import Any

import msgspec

from streamsvc.rules.catalog.person import PersonRecord
from streamsvc.rules.catalog.record import CatalogRecord


def record_schemas() -> dict[str, dict]:
    """Return {component: JSON Schema 2020-12} of the records as written and as read, without references."""
    return _record_schemas(CatalogRecord, "Title") | _record_schemas(PersonRecord, "Person")


def _record_schemas(record_type: type, name: str) -> dict[str, dict]:
    (reference,), parts = msgspec.json.schema_components([record_type])
    record = _inline_references(reference, parts)
    record["properties"] = {"id": {"type": "string"}} | record["properties"]
    stored = record | {
        "description": f"A {name.lower()} record as stored, with the {name.lower()}'s id.",
        "required": ["id", *record["required"]],
    }
    record["required"].remove("external_id")  # the URL has it; if sent, it must be the same. `id` is ignored
    return {f"{name}Record": record, f"Stored{name}Record": stored}


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
