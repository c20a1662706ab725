"""What a profile may see, and which change lets it see more."""

NO_LIMIT = 1_000


def loosens(max_age: int | None, kids: bool, change: dict) -> bool:
    """Whether the change lets a profile with this limit see or do more than it could."""
    before, after = max_age, change.get("max_age", max_age)
    reaches = NO_LIMIT if after is None else after
    return reaches > (NO_LIMIT if before is None else before) or (kids and change.get("kids") is False)
