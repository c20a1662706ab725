"""Loads the facts about a title that access decisions need, for details, playback and explanations."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from streamsvc.models import Facet, Title, TitleAgeRating, TitleFacet, TitlePlan, TitleWindow
from streamsvc.models.catalog.visibility import EVERYWHERE, LABEL_KINDS
from streamsvc.operations.catalog.titles import bulk
from streamsvc.rules.catalog.programmes import Labels
from streamsvc.rules.playback.access import TitleFacts, Window
from streamsvc.rules.playback.part_rights import NO_RIGHTS, PartRights
from streamsvc.storage.database import fetch_all

ACCESS_COLUMNS = (Title.pk, Title.min_age, Title.rated_per_country, Title.windowed, Title.plan_limited)
"""What `load_title_facts` needs of a title's row."""
WINDOWS_OF_TITLE = sa.select(
    TitleWindow.position, TitleWindow.country, TitleWindow.starts_at, TitleWindow.ends_at
).where(TitleWindow.title_pk == sa.bindparam("pk"))
LABELS_OF_TITLE = (
    sa.select(Facet.kind, Facet.code)
    .join(TitleFacet, TitleFacet.facet_pk == Facet.pk)
    .where(TitleFacet.title_pk == sa.bindparam("pk"), Facet.kind.in_(LABEL_KINDS))
)
AGE_RATINGS_OF_TITLE = sa.select(TitleAgeRating.country, TitleAgeRating.min_age).where(
    TitleAgeRating.title_pk == sa.bindparam("pk")
)
PLANS_OF_TITLE = sa.select(TitlePlan.plan_code).where(TitlePlan.title_pk == sa.bindparam("pk"))


def load_title_facts(row: Any, title_id: str, with_labels: bool = False) -> TitleFacts:
    """Return the facts of a row with ACCESS_COLUMNS.

    Queries windows, plans and ratings of countries only if the title has any; most titles need no further query.
    `with_labels`: for a viewer with title rules.
    """
    windows, plans = None, None
    if row.windowed:
        windows = list_title_windows(row.pk)
    if row.plan_limited:
        plans = frozenset(plan for (plan,) in fetch_all(PLANS_OF_TITLE, {"pk": row.pk}))
    genres, tags = list_title_labels(row.pk) if with_labels else (frozenset(), frozenset())
    return TitleFacts(row.min_age, windows, plans, None, title_id, genres, tags, load_min_ages(row))


def load_age_facts(row: Any) -> TitleFacts:
    """Return no more than the ages of a row with ACCESS_COLUMNS and `rights`, those of an episode or an extra."""
    own_age_gate = decode_rights(row.rights).age_gate or 0
    return TitleFacts(row.min_age, min_ages=load_min_ages(row), own_age_gate=own_age_gate)


def load_min_ages(row: Any) -> Mapping[str, int | None]:
    """Return the minimum age by country of the countries that rate the title of a row with ACCESS_COLUMNS."""
    return dict(fetch_all(AGE_RATINGS_OF_TITLE, {"pk": row.pk})) if row.rated_per_country else {}


_rights_decoder = msgspec.json.Decoder(PartRights)


def decode_rights(text: str | None) -> PartRights:
    """Return the stored rights of an episode or an extra; a film has none of its own."""
    return _rights_decoder.decode(text) if text else NO_RIGHTS


def list_title_labels(title_pk: int) -> tuple[frozenset[str], frozenset[str]]:
    """Return the codes of a title's genres and of its tags."""
    labels = fetch_all(LABELS_OF_TITLE, {"pk": title_pk})
    genres, tags = (frozenset(code for kind, code in labels if kind == wanted) for wanted in LABEL_KINDS)
    return genres, tags


def list_labels_of_titles(title_pks: Collection[int]) -> dict[int, tuple[frozenset[str], frozenset[str]]]:
    """Return {pk: (codes of its genres, of its tags)} of the titles."""
    of_titles = sa.select(TitleFacet.title_pk, Facet.kind, Facet.code).join(Facet, Facet.pk == TitleFacet.facet_pk)
    codes: dict[tuple[int, str], set[str]] = {}
    for pk, kind, code in fetch_all(of_titles.where(TitleFacet.title_pk.in_(title_pks), Facet.kind.in_(LABEL_KINDS))):
        codes.setdefault((pk, kind), set()).add(code)
    genre, tag = LABEL_KINDS
    return {pk: (frozenset(codes.get((pk, genre), ())), frozenset(codes.get((pk, tag), ()))) for pk in title_pks}


def list_labels_of_broadcasts(title_ids: Iterable[str | None]) -> dict[str | None, Labels]:
    """Return {id: (codes of its genres, of its tags)} of the titles that programmes broadcast, by public id."""
    labels: dict[str | None, Labels] = {}
    for chunk in bulk.in_chunks(sorted(set(filter(None, title_ids)))):
        rows = fetch_all(sa.select(Title.pk, Title.id).where(Title.id.in_(chunk)))
        by_pk = list_labels_of_titles([row.pk for row in rows])
        labels |= {row.id: by_pk[row.pk] for row in rows}
    return labels


def list_title_windows(title_pk: int) -> tuple[Window, ...]:
    """Return a title's licence windows, each with all its countries."""
    by_position: dict[int, list] = {}
    for row in fetch_all(WINDOWS_OF_TITLE, {"pk": title_pk}):
        by_position.setdefault(row.position, []).append(row)
    return tuple(
        Window(
            None if rows[0].country == EVERYWHERE else frozenset(row.country for row in rows),
            rows[0].starts_at,
            rows[0].ends_at,
        )
        for rows in by_position.values()
    )
