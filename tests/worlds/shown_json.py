"""Compares the JSON that a page shows with a schema of the API description, or with what a call returned.

`…` stands for anything left out.
"""

import re

ELISION = "…"
CHANGING = re.compile(r"[a-z]{3}_[0-9a-v]{26}|\d{4}-\d\d-\d\dT[\d:.]+Z|https?://[\w.:]+")
"""Parts of values that differ from run to run: ids, times, and the service's address."""
TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}


def find_difference(shown, schema: dict, schemas: dict, path: str = "") -> str | None:
    """Say where a shown value is not what the schema describes; None if it is.

    Members may be missing where the object also has the member `…`; a text with `…` may have any form.
    """
    schema = _resolve(schema, schemas)
    if shown == ELISION or _is_elided(shown):
        return None
    for alternatives in (schema.get("anyOf"), schema.get("oneOf")):
        if alternatives:
            found = [find_difference(shown, each, schemas, path) for each in alternatives]
            return None if None in found else found[0]
    if not _has_type(shown, schema.get("type")):
        return f"{path or 'the value'} is not of the type {schema['type']}"
    if "enum" in schema and shown not in schema["enum"]:
        return f"{path}: {shown!r} is not one of {schema['enum']}"
    if isinstance(shown, str):
        return _find_difference_of_text(shown, schema, path)
    if isinstance(shown, list):
        found = (
            find_difference(each, schema.get("items", {}), schemas, f"{path}[{n}]") for n, each in enumerate(shown)
        )
        return next((each for each in found if each), None)
    return _find_difference_of_object(shown, schema, schemas, path) if isinstance(shown, dict) else None


def find_shape_difference(shown, actual, path: str = "") -> str | None:
    """Say which member of a shown value a real response does not have, or has with another type; None if none.

    Values may differ, and null stands for any type. Each shown item of a list must be like one of the real ones.
    """
    if shown == ELISION or _is_elided(shown) or shown is None or actual is None:
        return None
    if isinstance(shown, dict):
        if not isinstance(actual, dict):
            return f"{path} is no object"
        for name in shown.keys() - {ELISION}:
            if name not in actual:
                return f"{path}.{name} is not in the response"
            if difference := find_shape_difference(shown[name], actual[name], f"{path}.{name}"):
                return difference
        unshown = actual.keys() - shown.keys()
        return f"{path} leaves out {sorted(unshown)}" if unshown and ELISION not in shown else None
    if isinstance(shown, list):
        if not isinstance(actual, list):
            return f"{path} is no list"
        return next((d for each in shown if actual and (d := _find_item_difference(each, actual, path))), None)
    numbers = isinstance(shown, int | float) and isinstance(actual, int | float)
    return None if numbers or type(shown) is type(actual) else f"{path} is {actual!r} in the response"


def _find_item_difference(shown, actual: list, path: str) -> str | None:
    found = [find_shape_difference(shown, each, f"{path}[]") for each in actual]
    return None if None in found else found[0]


def _is_elided(shown) -> bool:
    return isinstance(shown, dict) and shown.keys() == {ELISION}


def find_changed_value(shown, actual, path="") -> str | None:
    """Say where a printed value is not the shown one; ids, times and addresses may differ, and `…` is anything."""
    if shown == ELISION:
        return None
    if isinstance(shown, dict) and isinstance(actual, dict):
        names = shown.keys() - {ELISION}
        if missing := names - actual.keys() or (ELISION not in shown and actual.keys() - names):
            return f"{path}: {missing}"
        return next(
            (found for name in names if (found := find_changed_value(shown[name], actual[name], f"{path}.{name}"))),
            None,
        )
    if isinstance(shown, list) and isinstance(actual, list) and len(shown) == len(actual):
        return next(
            (found for pair in zip(shown, actual, strict=True) if (found := find_changed_value(*pair, path + "[]"))),
            None,
        )
    if isinstance(shown, str) and isinstance(actual, str):
        parts = re.escape(CHANGING.sub("⁂", shown)).replace("…", ".*").replace("⁂", ".*")
        return None if re.fullmatch(parts, actual) else f"{path}: {actual!r}"
    return None if shown == actual else f"{path}: {actual!r}"


def _resolve(schema: dict, schemas: dict) -> dict:
    """Return the schema without `$ref` and `allOf` at its top."""
    while "$ref" in schema:
        rest = {name: value for name, value in schema.items() if name != "$ref"}
        schema = schemas[schema["$ref"].rpartition("/")[2]] | rest
    if "allOf" not in schema:
        return schema
    parts = [_resolve(part, schemas) for part in schema["allOf"]]
    properties = {name: value for part in parts for name, value in part.get("properties", {}).items()}
    required = [name for part in parts for name in part.get("required", [])]
    return {"type": "object", "properties": properties, "required": required}


def _has_type(shown, types: str | list[str] | None) -> bool:
    if types is None:
        return True
    names = [types] if isinstance(types, str) else types
    if isinstance(shown, bool):  # which is an int in Python
        return "boolean" in names
    return any(isinstance(shown, TYPES[name]) for name in names)


def _find_difference_of_text(shown: str, schema: dict, path: str) -> str | None:
    pattern = schema.get("pattern")
    if ELISION in shown or pattern is None or re.search(pattern, shown):
        return None
    return f"{path}: {shown!r} does not match {pattern}"


def _find_difference_of_object(shown: dict, schema: dict, schemas: dict, path: str) -> str | None:
    properties, others = schema.get("properties", {}), schema.get("additionalProperties", "properties" not in schema)
    for name in shown.keys() - {ELISION}:
        described = properties.get(name, others)
        if described is False:
            return f"{path}.{name} is not described"
        if isinstance(described, dict) and (
            difference := find_difference(shown[name], described, schemas, f"{path}.{name}")
        ):
            return difference
    missing = set(schema.get("required", [])) - shown.keys()
    return f"{path} leaves out {sorted(missing)}" if missing and ELISION not in shown else None
