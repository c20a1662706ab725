"""Similar titles: those that share the most genres and people with a title; ties go to the more popular one.

A shared person weighs as much as three shared genres. Only the most popular titles of each genre and the latest titles
of each person are considered, so the cost does not depend on the size of the catalogue.
"""

from collections import Counter
from typing import Any

import sqlalchemy as sa

from streamsvc.models import Facet, Title, TitleCard, TitleCredit, TitleFacet
from streamsvc.models.catalog.visibility import per_visibility
from streamsvc.operations.catalog.reading.audience import Audience
from streamsvc.storage.database import fetch_all

MAX_SIMILAR = 12
MAX_TITLES_PER_GENRE = 200
MAX_TITLES_PER_PERSON = 200
MAX_CANDIDATES = 100
PERSON_WEIGHT = 3

GENRES_OF_TITLE = (
    sa.select(TitleFacet.facet_pk)
    .join(Facet, Facet.pk == TitleFacet.facet_pk)
    .where(TitleFacet.title_pk == sa.bindparam("pk"), Facet.kind == "genre")
)
TOP_TITLES_OF_GENRE = (
    sa.select(TitleFacet.title_pk)
    .where(TitleFacet.facet_pk == sa.bindparam("facet"))
    .order_by(TitleFacet.rank.desc())
    .limit(MAX_TITLES_PER_GENRE)
)
_of_person, _other = (sa.alias(TitleCredit.__table__, name) for name in ("of_person", "other"))
_earliest = (
    sa.select(_of_person.c.title_pk)
    .where(_of_person.c.person_pk == TitleCredit.person_pk)
    .order_by(_of_person.c.title_pk.desc())
    .offset(MAX_TITLES_PER_PERSON)
    .limit(1)
    .scalar_subquery()
)
_people = (
    sa.select(TitleCredit.person_pk, sa.func.coalesce(_earliest, 0).label("earliest"))
    .where(TitleCredit.title_pk == sa.bindparam("pk"))
    .distinct()  # keeps databases from computing `earliest` for each of a person's titles
    .subquery("people")
)
TITLES_SHARING_PEOPLE = (
    sa.select(_other.c.title_pk, sa.func.count(_other.c.person_pk.distinct()).label("shared"))
    .select_from(_people)
    .join(_other, sa.and_(_other.c.person_pk == _people.c.person_pk, _other.c.title_pk > _people.c.earliest))
    .group_by(_other.c.title_pk)
)


def _cards_statement(visible: Any) -> sa.Select:
    return (
        sa.select(Title.pk, TitleCard.body, Title.rank)
        .join(TitleCard, sa.and_(TitleCard.title_pk == Title.pk, TitleCard.locale == ""))
        .where(Title.pk.in_(sa.bindparam("pks", expanding=True)), visible)
    )


CARDS_BY_PK = per_visibility(_cards_statement)


def list_similar_cards(title_pk: int, audience: Audience) -> list[tuple[int, str]]:
    """Return (key, card) of up to twelve visible titles similar to this one, the most similar first."""
    return list_heaviest_cards(compute_similarity(title_pk), {title_pk}, audience)


def compute_similarity(title_pk: int) -> Counter:
    """Return the weight of what other titles share with this one, by title's key."""
    weights: Counter = Counter()
    for (facet,) in fetch_all(GENRES_OF_TITLE, {"pk": title_pk}):
        weights.update(row.title_pk for row in fetch_all(TOP_TITLES_OF_GENRE, {"facet": facet}))
    for row in fetch_all(TITLES_SHARING_PEOPLE, {"pk": title_pk}):
        weights[row.title_pk] += PERSON_WEIGHT * row.shared
    return weights


def list_heaviest_cards(weights: Counter, exclude: set[int], audience: Audience) -> list[tuple[int, str]]:
    """Return (key, card) of the visible titles with the greatest weights; ties go to the more popular one."""
    pks = [pk for pk, _ in weights.most_common(MAX_CANDIDATES + len(exclude)) if pk not in exclude]
    rows = fetch_all(CARDS_BY_PK[audience.visibility], {**audience.sql_parameters(), "pks": pks}) if pks else []
    rows.sort(key=lambda row: (weights[row.pk], row.rank), reverse=True)
    return [(row.pk, row.body) for row in rows[:MAX_SIMILAR]]
