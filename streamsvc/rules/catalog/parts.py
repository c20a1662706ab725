"""A part of a record laid over what is known of its title: what it does not name stays."""

from typing import Any

NUMBERED_LISTS = ("seasons", "episodes")


def merge_partial_record(existing: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """The whole record as JSON values. Lists are replaced, objects (localizations, external ids) merged by their names.

    Seasons and episodes are those of the part, each laid over the known one of its number.
    """
    return existing | {
        name: _merge_value(name, existing.get(name), value) for name, value in part.items() if value is not None
    }


def _merge_value(name, existing, value):
    if isinstance(value, dict) and isinstance(existing, dict):
        return merge_partial_record(existing, value)
    if name in NUMBERED_LISTS and existing:
        by_number = {str(one["number"]): one for one in existing}
        return [merge_partial_record(by_number.get(str(one["number"]), {}), one) for one in value]
    return value
