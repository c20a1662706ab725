"""The catalogue's version, and a snapshot that stays valid until the version changes."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.models import CatalogState, Facet, PartWindow, TitleWindow
from streamsvc.rules.catalog.codes import language_fallbacks
from streamsvc.security.joined_reads import JoinedRead
from streamsvc.security.viewers import Viewer
from streamsvc.settings import current_extensions
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import UtcTime, fetch_all

_now = sa.bindparam("now", type_=UtcTime())
_VERSION = sa.select(sa.select(CatalogState.version).where(CatalogState.id == 1).scalar_subquery().label("version"))
_BOUNDS = (TitleWindow.starts_at, TitleWindow.ends_at, PartWindow.starts_at, PartWindow.ends_at)
CATALOG_VERSION, CATALOG_READ = CompiledStatement(_VERSION), JoinedRead(_VERSION)
CATALOG_PERIOD = CompiledStatement(
    _VERSION.add_columns(
        *(
            sa.select(sa.func.max(bound)).where(bound <= _now).scalar_subquery().label(f"last_{number}")
            for number, bound in enumerate(_BOUNDS)
        ),
        *(
            sa.select(sa.func.min(bound)).where(bound > _now).scalar_subquery().label(f"next_{number}")
            for number, bound in enumerate(_BOUNDS)
        ),
    )
)
ALWAYS, NEVER = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
KINDS_READ_ON_DEMAND = ("studio", "tag")
"""Kinds of facets of which a catalogue may have tens of thousands, so that each list reads its own."""
ALL_FACETS = sa.select(Facet.kind, Facet.code, Facet.pk, Facet.titles).where(Facet.kind.not_in(KINDS_READ_ON_DEMAND))


@dataclass(frozen=True)
class CatalogPeriod:
    """A time in which neither the version changes nor a licence window opens or closes: `since <= now < until`."""

    version: int | None
    since: datetime
    until: datetime

    @cached_property
    def etag_part(self) -> str:
        """Text that differs between any two periods."""
        return f"{self.version} {self.since.isoformat()}"


@dataclass(frozen=True)
class CatalogSnapshot:
    """The facets of one version of the catalogue: their keys by (kind, code), and an estimate of their title counts.

    Without those of KINDS_READ_ON_DEMAND.
    """

    version: int
    facets: dict[tuple[str, str], int]
    title_counts: dict[int, int]
    corrections: dict[str, list[str]] = field(default_factory=dict)
    """The corrections of misspelt words that were searched for (operations/catalog/search/spelling.py)."""
    cards: dict[int, str] = field(default_factory=dict)
    """The cards that lists have shown, in the titles' own languages, by title's key (shown_cards.py)."""

    def card_locales(self, language: str | None) -> list[str]:
        """Return the locales in which a title's card may exist, best first; empty if no title has any of them."""
        return [tag for tag in language_fallbacks(language) if ("locale", tag) in self.facets]

    def has_ratings_of(self, country: str | None) -> bool:
        """Whether a title may have a rating of the country besides its main one."""
        return ("rating", country) in self.facets


def choose_catalog_read(**_: object) -> JoinedRead:
    """Return the read of the catalogue's version together with the viewer."""
    return CATALOG_READ


def current_catalog_version(viewer: Viewer | None = None) -> int | None:
    """Return the version; None before the first edit.

    Costs an index lookup, unless it was read with the `viewer`, by a view marked with `choose_catalog_read`.
    """
    row = viewer.joined if viewer else CATALOG_VERSION.one()
    return row.version if row else None


def current_catalog_period(viewer: Viewer | None = None) -> CatalogPeriod:
    """Return what a list depends on besides its query and audience; a process reads it once per period."""
    version, now = current_catalog_version(viewer), clock.now()
    extensions = current_extensions()
    period: CatalogPeriod | None = extensions.get("catalog_period")
    if period is None or period.version != version or not period.since <= now < period.until:
        row = CATALOG_PERIOD.one(now=now)
        assert row is not None, "it has no FROM clause"
        last, upcoming = row[1 : len(_BOUNDS) + 1], row[len(_BOUNDS) + 1 :]
        period = CatalogPeriod(
            row.version, max(filter(None, last), default=ALWAYS), min(filter(None, upcoming), default=NEVER)
        )
        extensions["catalog_period"] = period
    return period


def load_snapshot(version: int | None) -> CatalogSnapshot:
    """Return the snapshot of a version; read once per version and process."""
    extensions = current_extensions()
    snapshot = extensions.get("catalog")
    if snapshot is None or snapshot.version != version:
        rows = fetch_all(ALL_FACETS)
        snapshot = CatalogSnapshot(version or 0, {(r.kind, r.code): r.pk for r in rows}, {r.pk: r.titles for r in rows})
        if version is not None:
            extensions["catalog"] = snapshot
    return snapshot
