"""A part of a record laid over what is known of its title: what it does not name stays."""

from typing import Any

NUMBERED = ("seasons", "episodes")


def laid_over(known: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """The whole record as JSON values. Lists are replaced, objects (localizations, external ids) merged by their names.

    Seasons and episodes are those of the part, each laid over the known one of its number.
    """
    return known | {name: _laid(name, known.get(name), value) for name, value in part.items() if value is not None}


def _laid(name, known, value):
    if isinstance(value, dict) and isinstance(known, dict):
        return laid_over(known, value)
    if name in NUMBERED and known:
        by_number = {str(one["number"]): one for one in known}
        return [laid_over(by_number.get(str(one["number"]), {}), one) for one in value]
    return value
