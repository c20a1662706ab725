"""ORM objects made of plain rows, for pages of many: a fraction of the cost of loading them into a session."""

from collections.abc import Iterable
from typing import Any, TypeVar

from sqlalchemy.orm import class_mapper

from streamsvc.storage.database import Base

Model = TypeVar("Model", bound=Base)


def build_detached(model: type[Model], rows: Iterable[Any]) -> list[Model]:
    """Return an object per row, which has the model's columns by name.

    They belong to no session: changes are not saved, and a relationship is read only after it was set in `vars()`.
    """
    new_object = class_mapper(model).class_manager.new_instance
    objects = []
    for row in rows:
        instance: Any = new_object()
        vars(instance).update(row._asdict())
        objects.append(instance)
    return objects
