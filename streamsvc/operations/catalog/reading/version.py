"""The catalogue's version, and a snapshot that stays valid until the version changes."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from flask import current_app

from streamsvc import clock
from streamsvc.models import CatalogState, Facet, PartWindow, TitleWindow
from streamsvc.rules.catalog.codes import language_fallbacks
from streamsvc.security.joined_reads import JoinedRead
from streamsvc.security.viewers import Viewer
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import UtcTime, fetch_all

_now = sa.bindparam("now", type_=UtcTime())


def _latest(moment: Any) -> sa.ScalarSelect:
    """Select the latest value of a column that is not in the future: as the driver returns it, since it is only compared."""
    return sa.select(sa.type_coerce(sa.func.max(moment), sa.types.NullType)).where(moment <= _now).scalar_subquery()


_CATALOG_STATE = sa.select(
    sa.select(CatalogState.version).where(CatalogState.id == 1).scalar_subquery().label("version"),
    _latest(TitleWindow.starts_at).label("opened"),
    _latest(TitleWindow.ends_at).label("closed"),
    _latest(PartWindow.starts_at).label("part_opened"),
    _latest(PartWindow.ends_at).label("part_closed"),
)
CATALOG_STATE, CATALOG_READ = CompiledStatement(_CATALOG_STATE), JoinedRead(_CATALOG_STATE)
KINDS_READ_ON_DEMAND = ("studio", "tag")
"""Kinds of facets of which a catalogue may have tens of thousands, so that each list reads its own."""
ALL_FACETS = sa.select(Facet.kind, Facet.code, Facet.pk, Facet.titles).where(Facet.kind.not_in(KINDS_READ_ON_DEMAND))


@dataclass(frozen=True)
class CatalogSnapshot:
    """The facets of one version of the catalogue: their keys by (kind, code), and an estimate of their title counts.

    Without those of KINDS_READ_ON_DEMAND.
    """

    version: int
    facets: dict[tuple[str, str], int]
    title_counts: dict[int, int]

    def card_locales(self, language: str | None) -> list[str]:
        """Return the locales in which a title's card may exist, best first; empty if no title has any of them."""
        return [tag for tag in language_fallbacks(language) if ("locale", tag) in self.facets]

    def has_ratings_of(self, country: str | None) -> bool:
        """Whether a title may have a rating of the country besides its main one."""
        return ("rating", country) in self.facets


def choose_catalog_read(**_: object) -> JoinedRead:
    """Return the read of the catalogue's version together with the viewer."""
    return CATALOG_READ


def current_catalog_version(viewer: Viewer | None = None) -> tuple:
    """Return what a list depends on besides its query and audience: the version and the last start and end of a window.

    Costs five index lookups, unless it was read with the `viewer`, by a view marked with `choose_catalog_read`.
    """
    state = viewer.joined if viewer else CATALOG_STATE.one(now=clock.now())
    return tuple(state or ())


def load_snapshot(version: int | None) -> CatalogSnapshot:
    """Return the snapshot of a version; read once per version and process."""
    snapshot = current_app.extensions.get("catalog")
    if snapshot is None or snapshot.version != version:
        rows = fetch_all(ALL_FACETS)
        snapshot = CatalogSnapshot(version or 0, {(r.kind, r.code): r.pk for r in rows}, {r.pk: r.titles for r in rows})
        if version is not None:
            current_app.extensions["catalog"] = snapshot
    return snapshot
