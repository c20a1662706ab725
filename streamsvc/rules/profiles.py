"""What a profile may see, and which change lets it see more."""

NO_AGE_LIMIT = 1_000


def loosens_restrictions(max_age: int | None, kids: bool, change: dict) -> bool:
    """Whether the change lets a profile with this limit see or do more than it could."""
    return highest_visible_age(change.get("max_age", max_age)) > highest_visible_age(max_age) or (
        kids and change.get("kids") is False
    )


def exceeds_open_profiles(profiles, new_profile: dict) -> bool:
    """Whether a new profile, which has no PIN yet, lets whoever stands before the screen see or do more than before.

    `profiles`: those that there are, with max_age, kids and has_pin. What one of them shows without a PIN was open.
    """
    open_ones = [profile for profile in profiles if not profile.has_pin]
    most = max((highest_visible_age(profile.max_age) for profile in open_ones), default=-1)
    return highest_visible_age(new_profile.get("max_age")) > most or not (
        new_profile.get("kids") or any(not profile.kids for profile in open_ones)
    )


def highest_visible_age(max_age: int | None) -> int:
    """The oldest minimum age that is seen under this limit."""
    return NO_AGE_LIMIT if max_age is None else max_age
