"""facets: the filters of lists. The link table includes the sort keys, so each list scans one index."""

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.models.catalog import Sortable
from streamsvc.storage.database import Base

LINK_KEYS = ("sort_title", "year_key", "rank", "runtime_s")
"""What a link copies from its title: the sort keys, and what lists test before they look a title up."""


class Facet(Base):
    """A genre, a tag, a studio, a language, a country, a kind or a collection."""

    __tablename__ = "facets"
    __table_args__ = (sa.UniqueConstraint("kind", "code"),)

    pk: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    code: Mapped[str]
    name: Mapped[str | None]
    """The name of a studio, as first written."""
    titles: Mapped[int] = mapped_column(default=0, server_default="0")
    """Its titles at the last count: used to choose which links to scan, not for display."""


class TitleFacet(Base):
    __tablename__ = "title_facets"
    __table_args__ = (
        sa.Index("ix_title_facets_sort_title", "facet_pk", "sort_title", "title_pk"),
        sa.Index("ix_title_facets_year_key", "facet_pk", "year_key", "title_pk"),
        sa.Index("ix_title_facets_ranges", "facet_pk", "title_pk", "year_key", "runtime_s"),
        sa.Index("ix_title_facets_rank", "facet_pk", "rank"),
        sa.Index("ix_title_facets_title_pk", "title_pk"),
    )

    facet_pk: Mapped[int] = mapped_column(sa.ForeignKey("facets.pk"), primary_key=True, autoincrement=False)
    title_pk: Mapped[int] = mapped_column(sa.ForeignKey("titles.pk"), primary_key=True, autoincrement=False)
    sort_title: Mapped[str] = mapped_column(Sortable)
    year_key: Mapped[int]
    rank: Mapped[int] = mapped_column(sa.BigInteger)
    runtime_s: Mapped[int | None]
    """The title's, so that a filter by runtime and year looks up only the titles that pass."""
