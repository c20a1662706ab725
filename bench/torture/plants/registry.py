"""The planted faults by name."""

import inspect
from collections.abc import Callable
from typing import Any

PLANTS: dict[str, Callable[[], None]] = {}


def plantable(function: Callable[[], None]) -> Callable[[], None]:
    """Register a function that plants the fault of its name in this process."""
    PLANTS[function.__name__] = function
    return function


def replace(owner: Any, name: str, value: object) -> None:
    """Replace an attribute of a module or class.

    Raises AttributeError if it has none, and TypeError for a function that cannot be called like the former one: the
    plant would do nothing, or break everything.
    """
    former = getattr(owner, name)
    if callable(former) and callable(value):
        parameters = inspect.signature(former).parameters.values()
        inspect.signature(value).bind(*(p for p in parameters if p.kind == p.POSITIONAL_OR_KEYWORD))
    setattr(owner, name, value)
