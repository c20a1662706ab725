"""people, and their credits in titles."""

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base, new_id


class Person(Base):
    __tablename__ = "people"

    pk: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True, default=lambda: new_id("per"))
    name: Mapped[str] = mapped_column(unique=True)


class TitleCredit(Base):
    __tablename__ = "title_credits"
    __table_args__ = (sa.Index("ix_title_credits_person_pk", "person_pk", "title_pk"),)

    title_pk: Mapped[int] = mapped_column(sa.ForeignKey("titles.pk"), primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(primary_key=True)
    person_pk: Mapped[int] = mapped_column(sa.ForeignKey("people.pk"))
    role: Mapped[str]
    character: Mapped[str | None]
