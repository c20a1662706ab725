"""The search index. On SQLite triggers copy each table of tokens into a full-text table (`search_fts`, …)."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.models.catalog import Sortable
from streamsvc.storage.database import Base, UtcTime


class SearchDoc(Base):
    """A title's tokens (rules/catalog/search.py) by its rank, so that the index returns titles by popularity."""

    __tablename__ = "search_docs"

    rank: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    words: Mapped[str] = mapped_column(sa.Text().with_variant(TSVECTOR(), "postgresql"))


class SearchEntry(Base):
    """The tokens of an episode, a collection, a person or a channel, by a rank within the range of its kind.

    `kind` and `ref`, the key of what is found, are also in the rank (rules/catalog/ranks.py); they find the entry when
    the rank changes.
    """

    __tablename__ = "search_entries"
    __table_args__ = (sa.UniqueConstraint("kind", "ref"),)

    rank: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    kind: Mapped[str]
    ref: Mapped[int]
    words: Mapped[str] = mapped_column(sa.Text().with_variant(TSVECTOR(), "postgresql"))


class ProgrammeEntry(Base):
    """The tokens of a programme by its rank (rules/catalog/ranks.py:programme_rank); it goes with the programme.

    Equal `repeat_key`: the same programme once more, with the same limits.
    """

    __tablename__ = "programme_entries"
    __table_args__ = (
        sa.ForeignKeyConstraint(
            ["channel_pk", "starts_at"], ["programmes.channel_pk", "programmes.starts_at"], ondelete="CASCADE"
        ),
        sa.UniqueConstraint("channel_pk", "starts_at"),
        sa.Index("ix_programme_entries_repeat_key", "repeat_key", "rank"),
    )

    rank: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    channel_pk: Mapped[int]
    starts_at: Mapped[datetime] = mapped_column(UtcTime)
    repeat_key: Mapped[int] = mapped_column(sa.BigInteger)
    words: Mapped[str] = mapped_column(sa.Text().with_variant(TSVECTOR(), "postgresql"))


class SearchWord(Base):
    """A word of a title or a person's name, a candidate for spelling corrections."""

    __tablename__ = "search_words"

    word: Mapped[str] = mapped_column(Sortable, primary_key=True)
    sound: Mapped[str] = mapped_column(Sortable, index=True, default="", server_default="")
    """rules/catalog/typos.py:sound_key; empty for words without one."""
