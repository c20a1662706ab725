"""Error sentences for fields and query parameters that a schema does not know: what it knows, and what was meant."""

from collections.abc import Iterator
from difflib import get_close_matches

from marshmallow import Schema, fields

UNKNOWN = ["Unknown field."]
"""marshmallow's messages for a field that the schema does not know."""
MAX_EXPLAINED = 10
"""How many unknown fields of one request are explained: a body may have thousands."""


def explain_unknown_fields(messages: dict, schema: Schema, noun: str) -> dict:
    """Return marshmallow's nested messages with better sentences for unknown fields, which come last, by name.

    `noun`: `field` or `parameter`.
    """
    return _explain(messages, schema, noun, iter(range(MAX_EXPLAINED)))


def _explain(messages: dict, schema: Schema | None, noun: str, budget: Iterator) -> dict:
    explained: dict = {}
    for name, inner in sorted(messages.items(), key=lambda item: str(item[0]) if item[1] == UNKNOWN else ""):
        if isinstance(inner, dict):  # an integer is the index of a list's item, which has the list's schema
            inner_schema = schema if isinstance(name, int) else _find_nested_schema(schema, name)
            explained[name] = _explain(inner, inner_schema, noun, budget)
        elif inner == UNKNOWN:
            known = schema if schema and next(budget, None) is not None else None
            explained[name] = [_unknown_sentence(name, known, noun) if known else f"Unknown {noun}."]
        else:
            explained[name] = inner
    return explained


def _find_nested_schema(schema: Schema | None, name: str) -> Schema | None:
    """Find the schema of a nested field, or of the items of a list of them; None for another field."""
    field = next((f for key, f in schema.load_fields.items() if (f.data_key or key) == name), None) if schema else None
    if isinstance(field, fields.List):
        field = field.inner
    return field.schema if isinstance(field, fields.Nested) else None


def _unknown_sentence(name: str, schema: Schema, noun: str) -> str:
    known = sorted(field.data_key or key for key, field in schema.load_fields.items())
    meant = [f"Did you mean {close}?" for close in get_close_matches(name, known, n=1)]
    return " ".join([f"Unknown {noun}.", *meant, f"Known: {', '.join(known)}."])
