"""Parental controls: what a profile may see, and which changes loosen its restrictions."""

from collections.abc import Iterable, Mapping
from typing import Any

NO_AGE_LIMIT = 1_000


def loosens_restrictions(max_age: int | None, kids: bool, change: Mapping[str, Any]) -> bool:
    """Whether the change lets a profile with these restrictions see or do more than before."""
    return highest_visible_age(change.get("max_age", max_age)) > highest_visible_age(max_age) or (
        kids and change.get("kids") is False
    )


def exceeds_open_profiles(profiles: Iterable[Any], new_profile: Mapping[str, Any]) -> bool:
    """Whether a new profile, which has no PIN yet, gives access to more than the account's profiles without a PIN.

    `profiles`: the existing ones, with max_age, kids and has_pin. Anything one of them shows without a PIN was
    accessible.
    """
    open_profiles = [profile for profile in profiles if not profile.has_pin]
    highest_age = max((highest_visible_age(profile.max_age) for profile in open_profiles), default=-1)
    return highest_visible_age(new_profile.get("max_age")) > highest_age or not (
        new_profile.get("kids") or any(not profile.kids for profile in open_profiles)
    )


def highest_visible_age(max_age: int | None) -> int:
    """Return the highest minimum age visible under this limit."""
    return NO_AGE_LIMIT if max_age is None else max_age
