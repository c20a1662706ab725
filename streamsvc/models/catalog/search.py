"""What search looks in. On SQLite a full-text table (`search_fts`) follows `search_docs` by triggers."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.models.catalog import Sortable
from streamsvc.storage.database import Base


class SearchDoc(Base):
    """A title's tokens (rules/catalog/search.py), under its rank: the index gives them in order of popularity."""

    __tablename__ = "search_docs"

    rank: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    words: Mapped[str] = mapped_column(sa.Text().with_variant(TSVECTOR(), "postgresql"))


class SearchWord(Base):
    """Every word that some title or person has: what a misspelt one may have meant."""

    __tablename__ = "search_words"

    word: Mapped[str] = mapped_column(Sortable, primary_key=True)
    sound: Mapped[str] = mapped_column(Sortable, index=True, default="", server_default="")
    """rules/catalog/typos.py:sound; empty for words that have none."""
