"""Profiles: parental controls, and who may change which profile of a household."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

NO_AGE_LIMIT = 1_000
PROFILE_RESTORATION_PERIOD = timedelta(days=30)
"""How long a deleted profile can be restored."""
PURGE_MARGIN = timedelta(hours=1)
"""How much later it is purged, so that no restoration on another server's clock overlaps with it."""


class ProfileAction(StrEnum):
    """What somebody in a household does to a profile."""

    ADD = "add"
    RESTORE = "restore"
    DELETE = "delete"
    IDENTIFY = "identify"
    """Rename it, or turn it into a kids' profile."""
    LOOSEN = "loosen"
    """Raise its age limit, or end that it is a kids' profile."""
    RESTRICT = "restrict"
    """Change which titles it may see, and when it may play."""
    TRANSFER = "transfer"
    """Move it to another account."""
    SET_PIN = "set_pin"
    REMOVE_PIN = "remove_pin"
    ADJUST = "adjust"
    """Anything else: picture, language, autoplay, a lower age limit."""


PIN_SUFFICES = frozenset({ProfileAction.DELETE, ProfileAction.IDENTIFY, ProfileAction.REMOVE_PIN, ProfileAction.ADJUST})
"""What the PIN of the profile itself is a proof for. It does not lift the profile's own restrictions: a child may know
the PIN of the profile that it watches with."""


def is_profile_action_allowed(action: ProfileAction, has_pin: bool, owner_proved: bool, pin_proved: bool) -> bool:
    """Whether somebody may do this to a profile, which has a PIN or not.

    `owner_proved`: they authenticated recently as the account's owner. `pin_proved`: they recently entered the PIN of
    this very profile. A profile without a PIN may be adjusted from every other one.
    """
    if owner_proved or (pin_proved and action in PIN_SUFFICES):
        return True
    return action is ProfileAction.ADJUST and not has_pin


def profile_change_actions(profile: Any, change: Mapping[str, Any]) -> set[ProfileAction]:
    """Return what a change does to a profile, which has name, max_age and kids."""
    changed = {name for name, value in change.items() if getattr(profile, name) != value}
    actions = {ProfileAction.ADJUST} if changed else set()
    if loosens_restrictions(profile.max_age, profile.kids, change):
        actions.add(ProfileAction.LOOSEN)
    if changed & {"name", "kids"}:
        actions.add(ProfileAction.IDENTIFY)
    return actions


def is_limited(profile: Any) -> bool:
    """Whether the owner limits what a profile, which has kids, max_age and restrictions, may see or do."""
    return profile.kids or profile.max_age is not None or profile.restrictions is not None


def loosens_restrictions(max_age: int | None, kids: bool, change: Mapping[str, Any]) -> bool:
    """Whether the change lets a profile with these restrictions see or do more than before."""
    return highest_visible_age(change.get("max_age", max_age)) > highest_visible_age(max_age) or (
        kids and change.get("kids") is False
    )


def highest_visible_age(max_age: int | None) -> int:
    """Return the highest minimum age visible under this limit."""
    return NO_AGE_LIMIT if max_age is None else max_age


def is_restorable(deleted_at: datetime | None, now: datetime) -> bool:
    """Whether a profile is deleted and can still be restored."""
    return deleted_at is not None and now - deleted_at < PROFILE_RESTORATION_PERIOD


def purge_before(now: datetime) -> datetime:
    """Return the time before which profiles were deleted that are now purged."""
    return now - PROFILE_RESTORATION_PERIOD - PURGE_MARGIN
