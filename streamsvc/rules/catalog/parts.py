"""Merges a partial record into the stored record of its title; fields it does not name stay."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

NUMBERED_LISTS = ("seasons", "episodes")


def merge_partial_record(existing: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """Return the complete record as JSON values.

    Lists are replaced; objects (localizations, external ids) are merged by name. Seasons, episodes and extras are those
    of the part, each merged into the existing one with the same number or key.
    """
    if part.get("age_rating") and "age_ratings" not in part and existing.get("age_ratings"):
        existing = existing | {"age_ratings": _other_ratings(existing["age_ratings"], part["age_rating"])}
    return existing | {
        name: _merge_value(name, existing.get(name), value) for name, value in part.items() if value is not None
    }


def _other_ratings(ratings: list[str], main: str) -> list[str]:
    """Return the ratings of countries without that of the main rating's country, which has one rating alone."""
    country = str(main).partition(":")[0].upper()
    return [rating for rating in ratings if rating.partition(":")[0] != country]


def _merge_value(name: str, existing: Any, value: Any) -> Any:
    if isinstance(value, dict) and isinstance(existing, dict):
        return merge_partial_record(existing, value)
    if name in NUMBERED_LISTS and existing:
        by_number = {str(item["number"]): item for item in existing}
        return [merge_partial_record(by_number.get(str(item["number"]), {}), item) for item in value]
    if name == "extras" and existing:
        by_key = dict(zip(_keys_of(existing), existing, strict=True))
        return [
            merge_partial_record(by_key.get(key, {}), item) for key, item in zip(_keys_of(value), value, strict=True)
        ]
    return value


def _keys_of(extras: list[dict[str, Any]]) -> list[str]:
    return extra_keys((extra.get("external_id"), extra.get("kind", ""), extra.get("title", "")) for extra in extras)


def extra_keys(extras: Iterable[tuple[str | None, str, str]]) -> list[str]:
    """Return what identifies each extra (external_id, kind, title) of a title: its external id, else kind and title.

    Of several with the same kind and title, the second and later ones are numbered.
    """
    counts: Counter[tuple[str, str]] = Counter()
    keys = []
    for external_id, kind, title in extras:
        if external_id is not None:
            keys.append(f"id:{external_id}")
            continue
        counts[kind, title] += 1
        number = counts[kind, title]
        keys.append(f"{kind}:{title}" if number == 1 else f"{kind}#{number}:{title}")
    return keys
