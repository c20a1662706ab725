"""Loads the facts about a title that access decisions need, for details, playback and explanations."""

from collections.abc import Collection, Mapping
from datetime import date
from typing import Any

import sqlalchemy as sa

from streamsvc.models import Facet, Title, TitleAgeRating, TitleFacet, TitlePlan, TitleWindow
from streamsvc.models.catalog.visibility import EVERYWHERE
from streamsvc.rules.playback.access import TitleFacts, Window
from streamsvc.storage.database import fetch_all

ACCESS_COLUMNS = (Title.pk, Title.min_age, Title.rated_per_country, Title.windowed, Title.plan_limited)
"""What `load_title_facts` needs of a title's row."""
WINDOWS_OF_TITLE = sa.select(
    TitleWindow.position, TitleWindow.country, TitleWindow.starts_at, TitleWindow.ends_at
).where(TitleWindow.title_pk == sa.bindparam("pk"))
GENRES_OF_TITLE = (
    sa.select(Facet.code)
    .join(TitleFacet, TitleFacet.facet_pk == Facet.pk)
    .where(TitleFacet.title_pk == sa.bindparam("pk"), Facet.kind == "genre")
)
AGE_RATINGS_OF_TITLE = sa.select(TitleAgeRating.country, TitleAgeRating.min_age).where(
    TitleAgeRating.title_pk == sa.bindparam("pk")
)
PLANS_OF_TITLE = sa.select(TitlePlan.plan_code).where(TitlePlan.title_pk == sa.bindparam("pk"))


def load_title_facts(row: Any, title_id: str, released_on: date | None = None, with_genres: bool = False) -> TitleFacts:
    """Return the facts of a row with ACCESS_COLUMNS. `released_on`: of an episode.

    Queries windows, plans and ratings of countries only if the title has any; most titles need no further query.
    `with_genres`: for a viewer with title rules.
    """
    windows, plans = None, None
    if row.windowed:
        windows = list_title_windows(row.pk)
    if row.plan_limited:
        plans = frozenset(plan for (plan,) in fetch_all(PLANS_OF_TITLE, {"pk": row.pk}))
    genres = list_title_genres(row.pk) if with_genres else frozenset()
    return TitleFacts(row.min_age, windows, plans, released_on, title_id, genres, load_min_ages(row))


def load_min_ages(row: Any) -> Mapping[str, int | None]:
    """Return the minimum age by country of the countries that rate the title of a row with ACCESS_COLUMNS."""
    return dict(fetch_all(AGE_RATINGS_OF_TITLE, {"pk": row.pk})) if row.rated_per_country else {}


def list_title_genres(title_pk: int) -> frozenset[str]:
    """Return the codes of a title's genres."""
    return frozenset(code for (code,) in fetch_all(GENRES_OF_TITLE, {"pk": title_pk}))


def list_genres_of_titles(title_pks: Collection[int]) -> dict[int, frozenset[str]]:
    """Return {pk: codes of its genres} of the titles that have any."""
    of_titles = sa.select(TitleFacet.title_pk, Facet.code).join(Facet, Facet.pk == TitleFacet.facet_pk)
    genres: dict[int, set[str]] = {}
    for pk, code in fetch_all(of_titles.where(TitleFacet.title_pk.in_(title_pks), Facet.kind == "genre")):
        genres.setdefault(pk, set()).add(code)
    return {pk: frozenset(codes) for pk, codes in genres.items()}


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
