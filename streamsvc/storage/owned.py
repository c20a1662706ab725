"""Rows that belong to an account: found only together with their owner, so that no query can forget the owner."""

from typing import TYPE_CHECKING, Self

import sqlalchemy as sa
from sqlalchemy.orm import Mapped

from streamsvc.storage.database import db


class OwnedByAccount:
    """A model with `id` and `account_id`; `visible_conditions` says which of its rows the owner still sees."""

    if TYPE_CHECKING:
        id: Mapped[str]
        account_id: Mapped[str]

    @classmethod
    def visible_conditions(cls) -> tuple[sa.ColumnElement[bool], ...]:
        """Return the conditions of the rows that the owner sees; by default all."""
        return ()

    @classmethod
    def select_owned(cls, account_id: str) -> sa.Select[Self]:
        """Select the account's rows."""
        return sa.select(cls).where(cls.account_id == account_id, *cls.visible_conditions())

    @classmethod
    def find_owned(cls, account_id: str, row_id: str) -> Self | None:
        """Find one of the account's rows by id; None if there is none, or if it is another account's."""
        return db.session.scalar(cls.select_owned(account_id).where(cls.id == row_id))
