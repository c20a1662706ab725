"""The search index. On SQLite triggers copy each table of tokens into a full-text table (`search_fts`, …)."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.models.catalog import Sortable
from streamsvc.storage.database import Base


class SearchDoc(Base):
    """A title's tokens (rules/catalog/search.py) by its rank, so that the index returns titles by popularity."""

    __tablename__ = "search_docs"

    rank: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    words: Mapped[str] = mapped_column(sa.Text().with_variant(TSVECTOR(), "postgresql"))


class SearchEntry(Base):
    """The tokens of an episode, a collection or a person, by a rank like a title's within the range of its kind.

    `kind` and `ref`, the key of what is found, are also in the rank (rules/catalog/ranks.py); they find the entry when
    the rank changes.
    """

    __tablename__ = "search_entries"
    __table_args__ = (sa.UniqueConstraint("kind", "ref"),)

    rank: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    kind: Mapped[str]
    ref: Mapped[int]
    words: Mapped[str] = mapped_column(sa.Text().with_variant(TSVECTOR(), "postgresql"))


class SearchWord(Base):
    """A word of a title or a person's name, a candidate for spelling corrections."""

    __tablename__ = "search_words"

    word: Mapped[str] = mapped_column(Sortable, primary_key=True)
    sound: Mapped[str] = mapped_column(Sortable, index=True, default="", server_default="")
    """rules/catalog/typos.py:sound_key; empty for words without one."""
