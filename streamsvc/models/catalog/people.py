"""people, and their credits in titles."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.models.catalog import Sortable
from streamsvc.storage.database import Base, new_id


def _only(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


class Person(Base):
    """`id` is public and never changes. Several people may have one name; only one of them has no `external_id`."""

    __tablename__ = "people"
    __table_args__ = (
        sa.Index("ix_people_external_id", "external_id", unique=True, **_only("external_id IS NOT NULL")),
        sa.Index("ix_people_name_with_id", "name", **_only("external_id IS NOT NULL")),
        sa.Index("ix_people_name_without_id", "name", unique=True, **_only("external_id IS NULL")),
        sa.Index("ix_people_name_key", "name_key", "pk"),
        sa.Index("ix_people_merged_into", "merged_into", **_only("merged_into IS NOT NULL")),
    )

    pk: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True, default=lambda: new_id("per"))
    name: Mapped[str]
    external_id: Mapped[str | None]
    """The operator's identifier, such as `imdb:nm4043618`; None for a person known by name alone."""
    name_key: Mapped[str] = mapped_column(Sortable, default="", server_default="")
    """The folded name, the sort key of lists."""
    body: Mapped[str | None] = mapped_column(sa.Text)
    """The canonical JSON of rules/catalog/person.py:encode_person; None if the operator says nothing of the person."""
    picture: Mapped[str | None] = mapped_column(sa.Text)
    """JSON: the picture that credits show, as the API shows artwork."""
    merged_into: Mapped[int | None] = mapped_column(sa.ForeignKey("people.pk"))
    """The person that an operator said this one is; the row stays, so that names and ids lead there."""


class TitleCredit(Base):
    __tablename__ = "title_credits"
    __table_args__ = (sa.Index("ix_title_credits_person_pk", "person_pk", "title_pk"),)

    title_pk: Mapped[int] = mapped_column(sa.ForeignKey("titles.pk"), primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(primary_key=True)
    person_pk: Mapped[int] = mapped_column(sa.ForeignKey("people.pk"))
    role: Mapped[str]
    character: Mapped[str | None]
