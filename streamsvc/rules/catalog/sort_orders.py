"""Sort orders of title lists: keys separated by commas, of which each decides among titles equal in those before it."""

from typing import NamedTuple

SORT_KEYS = ("added", "title", "year", "popularity")


class SortKey(NamedTuple):
    """A key of a sort order, one of SORT_KEYS; `-year` is descending."""

    name: str
    is_descending: bool


def parse_sort(text: str) -> list[SortKey]:
    """Return the keys of a sort order such as `-year,title`; no two titles are equal in `added`, so it is the last.

    Raises ValueError, whose text is the reason, for an unknown or a repeated key.
    """
    keys = [SortKey(word.removeprefix("-"), word.startswith("-")) for word in text.split(",")]
    names = [key.name for key in keys]
    known = ", ".join(SORT_KEYS)
    if not set(names) <= set(SORT_KEYS):
        raise ValueError(f"Must be one or more of {known}, separated by commas; a leading - sorts in descending order.")
    if len(set(names)) < len(names):
        raise ValueError(f"Must name each of {known} at most once.")
    return keys[: names.index("added") + 1] if "added" in names else keys


def format_sort(keys: list[SortKey]) -> str:
    """Return the text of a sort order."""
    return ",".join(f"{'-' if key.is_descending else ''}{key.name}" for key in keys)
