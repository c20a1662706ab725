"""The planted faults by name."""

from collections.abc import Callable
from typing import Any

PLANTS: dict[str, Callable[[], None]] = {}


def plantable(function: Callable[[], None]) -> Callable[[], None]:
    """Register a function that plants the fault of its name in this process."""
    PLANTS[function.__name__] = function
    return function


def replace(owner: Any, name: str, value: object) -> None:
    """Replace an attribute of a module or class. Raises AttributeError if it has none: the plant would do nothing."""
    getattr(owner, name)
    setattr(owner, name, value)
