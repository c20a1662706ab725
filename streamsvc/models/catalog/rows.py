"""collections of titles, and the rows of the home page in order."""

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base, Json, new_id


class Collection(Base):
    __tablename__ = "collections"

    pk: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True, default=lambda: new_id("col"))
    code: Mapped[str] = mapped_column(unique=True)
    title: Mapped[str]
    localizations: Mapped[dict] = mapped_column(Json)
    """Titles by language: {"fr": "Coups de cœur"}."""


class CollectionItem(Base):
    __tablename__ = "collection_items"
    __table_args__ = (sa.Index("ix_collection_items_title_pk", "title_pk"),)

    collection_pk: Mapped[int] = mapped_column(sa.ForeignKey("collections.pk"), primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    title_pk: Mapped[int] = mapped_column(sa.ForeignKey("titles.pk"))


class HomeRow(Base):
    """`kind`: continue, next_up, because (all three filled per profile), collection, new, popular."""

    __tablename__ = "home_rows"

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("row"))
    position: Mapped[int]
    kind: Mapped[str]
    code: Mapped[str | None]
    """The code of the collection, for that kind."""
    title: Mapped[str]
    localizations: Mapped[dict] = mapped_column(Json)
