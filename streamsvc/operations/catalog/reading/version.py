"""The catalogue's version, and what can be known of it until the version changes."""

from dataclasses import dataclass

import sqlalchemy as sa
from flask import current_app

from streamsvc import clock
from streamsvc.models import CatalogState, Facet, TitleWindow
from streamsvc.rules.catalog.codes import language_fallbacks
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import UtcTime, fetch_all

_now = sa.bindparam("now", type_=UtcTime())
CATALOG_STATE = CompiledStatement(
    sa.select(
        sa.select(CatalogState.version).where(CatalogState.id == 1).scalar_subquery().label("version"),
        sa.select(sa.func.max(TitleWindow.starts_at))
        .where(TitleWindow.starts_at <= _now)
        .scalar_subquery()
        .label("opened"),
        sa.select(sa.func.max(TitleWindow.ends_at))
        .where(TitleWindow.ends_at <= _now)
        .scalar_subquery()
        .label("closed"),
    )
)
ALL_FACETS = sa.select(Facet.kind, Facet.code, Facet.pk, Facet.titles)


@dataclass(frozen=True)
class CatalogSnapshot:
    """What one version of the catalogue has: the keys of its facets by kind and code, and roughly their titles."""

    version: int
    facets: dict[tuple[str, str], int]
    titles: dict[int, int]

    def codes(self, kind: str) -> list[str]:
        return sorted(code for of, code in self.facets if of == kind)

    def card_locales(self, language: str | None) -> list[str]:
        """The locales to look for a title's card in, best first; none where no title has them."""
        return [tag for tag in language_fallbacks(language) if ("locale", tag) in self.facets]


def current_catalog_version() -> tuple:
    """What a list depends on besides the question and the audience: the version, and the last window that opened or
    closed. Three look-ups in indexes."""
    return tuple(CATALOG_STATE.one(now=clock.now()))


def load_snapshot(version: int | None) -> CatalogSnapshot:
    """What this version has; read once for each version and process."""
    kept = current_app.extensions.get("catalog")
    if kept is None or kept.version != version:
        rows = fetch_all(ALL_FACETS)
        kept = CatalogSnapshot(version or 0, {(r.kind, r.code): r.pk for r in rows}, {r.pk: r.titles for r in rows})
        if version is not None:
            current_app.extensions["catalog"] = kept
    return kept
