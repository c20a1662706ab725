"""The records of titles, people and channels in the OpenAPI document, derived from their own types."""

from typing import Any

import msgspec

from streamsvc.rules.catalog.channels import ChannelRecord
from streamsvc.rules.catalog.person import PersonRecord
from streamsvc.rules.catalog.record import CatalogRecord


def record_schemas() -> dict[str, dict]:
    """Return {component: JSON Schema 2020-12} of each record as written and as read, without references."""
    records = {"Title": CatalogRecord, "Person": PersonRecord, "Channel": ChannelRecord}
    return {key: schema for name, kind in records.items() for key, schema in _schemas_of(kind, name).items()}


def _schemas_of(kind: type, name: str) -> dict[str, dict]:
    (reference,), parts = msgspec.json.schema_components([kind])
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
