"""Rows that come with the viewer: read by the statement that authenticates it, for views that players call often.

Such a view names what it reads by `reads_with_viewer`. The row is in `Viewer.joined`; it decides nothing about access.
"""

from collections import namedtuple
from collections.abc import Callable
from functools import partial
from typing import Any

import sqlalchemy as sa

from streamsvc.storage.compiled_statements import CompiledStatement

View = Any


class JoinedRead:
    """A SELECT of one row at most, by the parameters of the view's path and `now`.

    `owner`: the column that must be the viewer's account; None if the row belongs to nobody. A SELECT of scalar
    subqueries alone becomes columns of the viewer's, which SQLite reads faster than a join.
    """

    def __init__(self, select: sa.Select, owner: str | None = None) -> None:
        self._select, self._rows, self._owner = select, select.subquery(), owner
        row_type: Any = namedtuple("Row", self._rows.c.keys())  # type: ignore[misc]  # a class of its own for each
        self._make_row: Callable[..., Any] = partial(tuple.__new__, row_type)
        self._width = len(self._rows.c)
        self._compiled: CompiledStatement | None = None

    def join(self, viewers: sa.Select) -> CompiledStatement:
        """Return the statement that reads the viewer too; each of the viewer's rows has the joined columns."""
        if self._compiled is None and not self._select.get_final_froms():
            scalars = [column.label(f"joined_{column.key}") for column in self._select.selected_columns]
            self._compiled = CompiledStatement(viewers.add_columns(*scalars))
        elif self._compiled is None:
            is_own = self._rows.c[self._owner] == viewers.selected_columns.account_id if self._owner else sa.true()
            columns = [column.label(f"joined_{column.key}") for column in self._rows.c]
            self._compiled = CompiledStatement(viewers.add_columns(*columns).outerjoin(self._rows, is_own))
        return self._compiled

    def row_of(self, viewer_row: Any) -> Any:
        """Return the joined columns of a viewer's row, by their own names; all are None if there is no such row."""
        return self._make_row(viewer_row[-self._width :])


def reads_with_viewer(choose: Callable[..., JoinedRead | None]) -> Callable[[View], View]:
    """Mark a view that reads a row with its viewer. `choose` gets the path's parameters; None: nothing is read."""

    def mark(view: View) -> View:
        view.joined_read = choose
        return view

    return mark
