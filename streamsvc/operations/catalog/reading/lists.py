"""Lists of titles: each walks one index in the order of the sort and stops at the page's end.

What narrows a list most is what it walks: the titles asked for by id, one person's titles, else the links of one
facet (a genre, a language, …), which carry the sort keys; else all titles. Other conditions are looked up row by row.
Statements are made once for each shape of question and run with its values.
"""

from functools import lru_cache
from typing import NamedTuple

import sqlalchemy as sa

from streamsvc.http import pagination
from streamsvc.models import Collection, Person, Title, TitleCard, TitleCredit, TitleFacet
from streamsvc.models.catalog.visibility import IN_CATALOG, VISIBLE
from streamsvc.operations.catalog.reading.audience import Audience
from streamsvc.operations.catalog.reading.version import CatalogSnapshot
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import fetch_all, fetch_one

SORTS = ("-added", "added", "title", "-title", "year", "-year", "-popularity")
SORT_COLUMNS = {"added": (), "title": ("sort_title",), "year": ("year_key",), "popularity": ("rank",)}
FACET_KINDS = ("collection", "genre", "language", "country", "kind")
"""From what usually narrows a list most to what narrows it least."""
RANGE_CONDITIONS = {
    "year_gte": Title.year >= sa.bindparam("year_gte"),
    "year_lte": Title.year <= sa.bindparam("year_lte"),
    "runtime_lte": Title.runtime_s <= sa.bindparam("runtime_lte"),
    "age_lte": Title.min_age <= sa.bindparam("age_lte"),
}
FILTER_NAMES = (*FACET_KINDS, *RANGE_CONDITIONS, "person", "ids")
"""What makes a list another list: a cursor of the one is none of the other."""


class ListShape(NamedTuple):
    """All that makes one list's statement another's."""

    sort: str
    facets: int = 0
    ranges: tuple[str, ...] = ()
    person: bool = False
    ids: bool = False
    after: bool = False
    sees_all: bool = False


def list_title_cards(
    query: dict, audience: Audience, snapshot: CatalogSnapshot
) -> tuple[list[str], str | None, int | None]:
    """Cards as JSON, the next page's cursor, the total where it was asked for. Raises Invalid."""
    shape, parameters = build_list_query(query, audience, snapshot)
    narrowed = {name: query[name] for name in FILTER_NAMES if query.get(name) is not None}
    scope = f"titles:{query['sort']}:{narrowed}"
    after = pagination.decode_cursor(scope, query["cursor"])
    places = {f"after_{at}": value for at, value in enumerate(after or ())}
    rows = list_rows(shape._replace(after=after is not None), {**parameters, **places, "limit": query["limit"] + 1})
    shown = pagination.build_page(rows, query["limit"], scope, lambda row: list(row[2:]))
    total = fetch_one(count_statement(shape), parameters)[0] if query["include_total"] else None
    return localized_cards(shown["items"], query["locale"] or audience.language, snapshot), shown["next_cursor"], total


def list_rows(shape: ListShape, parameters: dict) -> list:
    """The rows of the list of this shape; only one asked for by ids has a statement as long as its question."""
    return (
        fetch_all(list_statement(shape), parameters) if shape.ids else compiled_list_statement(shape).all(**parameters)
    )


@lru_cache(maxsize=1_000)
def compiled_list_statement(shape: ListShape) -> CompiledStatement:
    return CompiledStatement(list_statement(shape))


def build_list_query(query: dict, audience: Audience, snapshot: CatalogSnapshot) -> tuple[ListShape, dict]:
    """The shape of a list and its values."""
    parameters = audience.sql_parameters()
    wanted = [(kind, query[kind]) for kind in FACET_KINDS if query.get(kind)]
    pks = [_facet_pk(facet, snapshot) for facet in wanted]
    # the facet with the fewest titles is walked; the sort is stable, so that before any count the order above holds
    for at, pk in enumerate(sorted(pks, key=lambda pk: snapshot.titles.get(pk, 0))):
        parameters[f"facet_{at}"] = pk
    ranges = tuple(name for name in RANGE_CONDITIONS if query.get(name) is not None)
    parameters |= {name: query[name] for name in ranges}
    if query.get("person"):
        parameters["person"] = _person_pk(query["person"])
    if query.get("ids") is not None:
        parameters["ids"] = query["ids"]
    shape = ListShape(
        query["sort"],
        facets=len(wanted),
        ranges=ranges,
        person=bool(query.get("person")),
        ids=query.get("ids") is not None,
        sees_all=audience.sees_all,
    )
    return shape, parameters


def _facet_pk(facet, snapshot):
    """The key of a facet, 0 for one that no title has. Raises Invalid where there is none of that name."""
    pk = snapshot.facets.get(facet) or _collection_facet_pk(facet, snapshot)
    if pk is None and facet[0] in ("genre", "collection"):
        raise Invalid(errors={facet[0]: ["There is none of this name."]})
    return pk or 0


def _collection_facet_pk(facet, snapshot):
    """A collection is asked for by its id too."""
    if not facet[1].startswith("col_"):
        return None
    row = fetch_one(sa.select(Collection.code).where(Collection.id == sa.bindparam("id")), {"id": facet[1]})
    return row and snapshot.facets.get(("collection", row.code))


def _person_pk(person_id):
    found = fetch_one(sa.select(Person.pk).where(Person.id == sa.bindparam("id")), {"id": person_id})
    if found is None:
        raise Invalid(errors={"person": ["There is none of this name."]})
    return found.pk


@lru_cache(maxsize=1_000)
def list_statement(shape: ListShape) -> sa.Select:
    """The list of this shape: the title's key, its card, then the values that a cursor holds."""
    walked, conditions = _base_and_conditions(shape)
    keys = _sort_keys(shape, walked)
    places_in_order = [key.label(f"key_{at}") for at, key in enumerate(keys)]
    select = sa.select(Title.pk, TitleCard.body, *places_in_order).select_from(_source(walked)).where(*conditions)
    descending = shape.sort.startswith("-")
    if shape.after:
        places = [sa.bindparam(f"after_{at}", type_=key.type) for at, key in enumerate(keys)]
        here, there = (keys[0], places[0]) if len(keys) == 1 else (sa.tuple_(*keys), sa.tuple_(*places))
        select = select.where(here < there if descending else here > there)
        if walked is TitleFacet and len(keys) == 1 and shape.sort.endswith("added"):
            # PostgreSQL does not carry the bound across the join by itself, and would walk all titles before it
            select = select.where(Title.pk < places[0] if descending else Title.pk > places[0])
    order = [key.desc() if descending else key.asc() for key in keys]
    return select.order_by(*order).limit(sa.bindparam("limit"))


@lru_cache(maxsize=1_000)
def count_statement(shape: ListShape) -> sa.Select:
    """How many titles the whole list has: reads them all, so only where it is asked for."""
    walked, conditions = _base_and_conditions(shape)
    return sa.select(sa.func.count()).select_from(_source(walked, with_cards=False)).where(*conditions)


def _base_and_conditions(shape):
    """What is walked, and every condition."""
    alone = shape.ids or shape.person
    walked = TitleFacet if shape.facets and not alone else Title
    conditions = [IN_CATALOG if shape.sees_all else VISIBLE, *(RANGE_CONDITIONS[name] for name in shape.ranges)]
    for at in range(shape.facets):
        facet = sa.bindparam(f"facet_{at}", type_=sa.Integer())
        if at == 0 and walked is TitleFacet:
            conditions.append(TitleFacet.facet_pk == facet)
        else:
            link = sa.alias(TitleFacet.__table__)
            conditions.append(sa.exists().where(link.c.facet_pk == facet, link.c.title_pk == Title.pk))
    if shape.ids:
        conditions.append(Title.id.in_(sa.bindparam("ids", expanding=True)))
    if shape.person:
        theirs = sa.select(TitleCredit.title_pk).where(TitleCredit.person_pk == sa.bindparam("person"))
        conditions.append(Title.pk.in_(theirs))
    return walked, conditions


def _source(base, with_cards=True):
    source = Title.__table__
    if base is TitleFacet:
        source = sa.join(TitleFacet, Title, Title.pk == TitleFacet.title_pk)
    if with_cards:
        source = sa.join(source, TitleCard, sa.and_(TitleCard.title_pk == Title.pk, TitleCard.locale == ""))
    return source


def _sort_keys(shape, base):
    names = SORT_COLUMNS[shape.sort.removeprefix("-")]
    own = TitleFacet.title_pk if base is TitleFacet else Title.pk
    keys = [getattr(base, name) for name in names]
    return keys if names == ("rank",) else [*keys, own]


def localized_cards(rows, language: str | None, snapshot: CatalogSnapshot) -> list[str]:
    """The cards of these rows (title's key, card) in the language that comes closest, else in the title's own."""
    wanted = snapshot.card_locales(language)
    if not wanted or not rows:
        return [row[1] for row in rows]
    localized = list_cards_in_locales([row[0] for row in rows], wanted)
    return [next((localized[row[0], tag] for tag in wanted if (row[0], tag) in localized), row[1]) for row in rows]


CARDS_IN_LOCALES = sa.select(TitleCard.title_pk, TitleCard.locale, TitleCard.body).where(
    TitleCard.title_pk.in_(sa.bindparam("pks", expanding=True)),
    TitleCard.locale.in_(sa.bindparam("locales", expanding=True)),
)


def list_cards_in_locales(pks: list[int], locales: list[str]) -> dict[tuple[int, str], str]:
    return {(pk, tag): body for pk, tag, body in fetch_all(CARDS_IN_LOCALES, {"pks": pks, "locales": locales})}
