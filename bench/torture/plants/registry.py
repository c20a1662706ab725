"""The planted faults by name."""

from collections.abc import Callable

PLANTS: dict[str, Callable[[], None]] = {}


def plantable(function: Callable[[], None]) -> Callable[[], None]:
    """Register a function that plants the fault of its name in this process."""
    PLANTS[function.__name__] = function
    return function
