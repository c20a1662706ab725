"""Title lists: each scans one index in sort order and stops at the end of the page.

A list scans its most selective filter: the requested ids, one person's titles, else the links of one facet (a genre,
a language, …), which carry the sort keys; else all titles. Other conditions are tested row by row. A statement is
built once per shape of query and run with the query's values.
"""

from collections.abc import Iterable
from functools import lru_cache
from operator import itemgetter
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from streamsvc.http import pagination
from streamsvc.models import Collection, Facet, Person, Title, TitleCard, TitleCredit, TitleFacet
from streamsvc.models.catalog.visibility import CONDITIONS, Visibility, within_age
from streamsvc.operations.catalog.reading.audience import Audience
from streamsvc.operations.catalog.reading.shown_cards import shown_cards
from streamsvc.operations.catalog.reading.version import KINDS_READ_ON_DEMAND, CatalogSnapshot
from streamsvc.rules.catalog.inputs import TitlesInput
from streamsvc.rules.maturity import UNRATED_AGE_GATE
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import fetch_all, fetch_existing, fetch_one

SORTS = ("-added", "added", "title", "-title", "year", "-year", "-popularity")
SORT_COLUMNS = {"added": (), "title": ("sort_title",), "year": ("year_key",), "popularity": ("rank",)}
FacetKind = Literal["collection", "studio", "tag", "genre", "language", "country", "kind"]
RangeName = Literal["year_gte", "year_lte", "runtime_lte", "age_lte"]
FilterName = Literal[FacetKind, RangeName, "person", "ids"]
FACET_KINDS: tuple[FacetKind, ...] = ("collection", "studio", "tag", "genre", "language", "country", "kind")
"""From the usually most selective kind to the least selective one."""
RANGE_CONDITIONS: dict[RangeName, sa.ColumnElement[bool]] = {
    "year_gte": Title.year >= sa.bindparam("year_gte"),
    "year_lte": Title.year <= sa.bindparam("year_lte"),
    "runtime_lte": Title.runtime_s <= sa.bindparam("runtime_lte"),
    "age_lte": within_age(sa.bindparam("age_lte", type_=sa.Integer())),
}
FILTER_NAMES: tuple[FilterName, ...] = (
    *FACET_KINDS,
    *RANGE_CONDITIONS,
    "person",
    "ids",
)
"""The parameters that distinguish one list from another: a cursor is valid only for the same values."""


FACET_BY_CODE = sa.select(Facet.pk, Facet.titles).where(
    Facet.kind == sa.bindparam("kind"), Facet.code == sa.bindparam("code")
)


class ListShape(NamedTuple):
    """Everything on which the statement of a list depends."""

    sort: str
    facets: int = 0
    ranges: tuple[RangeName, ...] = ()
    person: bool = False
    ids: bool = False
    after: bool = False
    visibility: Visibility = "listed"


def list_title_cards(
    query: TitlesInput, audience: Audience, snapshot: CatalogSnapshot
) -> tuple[list[str], str | None, int | None]:
    """Return a page: cards as JSON, the next cursor, and the total if the query requests it. Raises Invalid."""
    shape, parameters = build_list_query(query, audience, snapshot)
    filters = {name: query[name] for name in FILTER_NAMES if query[name] is not None}
    scope = f"titles:{query['sort']}:{filters}"
    after = pagination.decode_cursor(scope, query["cursor"])
    position = {f"after_{index}": value for index, value in enumerate(after or ())}
    rows = list_rows(shape._replace(after=after is not None), {**parameters, **position, "limit": query["limit"] + 1})
    page = pagination.build_page(rows, query["limit"], scope, lambda row: list(row[2:]))
    total = fetch_existing(count_statement(shape), parameters)[0] if query["include_total"] else None
    return shown_cards(page["items"], audience, snapshot, query["locale"]), page["next_cursor"], total


def list_rows(shape: ListShape, parameters: dict) -> list:
    """Return the rows of a list.

    A list by ids is not compiled, since the length of its statement depends on the number of ids.
    """
    return (
        fetch_all(list_statement(shape), parameters) if shape.ids else compiled_list_statement(shape).all(**parameters)
    )


@lru_cache(maxsize=1_000)
def compiled_list_statement(shape: ListShape) -> CompiledStatement:
    """Return the compiled statement of a list of this shape."""
    return CompiledStatement(list_statement(shape))


def build_list_query(query: TitlesInput, audience: Audience, snapshot: CatalogSnapshot) -> tuple[ListShape, dict]:
    """Return the shape of a list and the values of its parameters. Raises Invalid."""
    parameters = audience.sql_parameters()
    facets = [find_facet(kind, value, snapshot) for kind in FACET_KINDS if (value := query[kind])]
    # The facet with the fewest titles is scanned. The sort is stable, so FACET_KINDS decides while counts are missing.
    for index, (pk, _) in enumerate(sorted(facets, key=itemgetter(1))):
        parameters[f"facet_{index}"] = pk
    ranges = tuple(name for name in RANGE_CONDITIONS if query[name] is not None)
    parameters |= range_parameters(query, ranges)
    if query["person"]:
        parameters["person"] = get_person_pk(query["person"])
    if query["ids"] is not None:
        parameters["ids"] = query["ids"]
    shape = ListShape(
        query["sort"],
        facets=len(facets),
        ranges=ranges,
        person=bool(query["person"]),
        ids=query["ids"] is not None,
        visibility=audience.visibility,
    )
    return shape, parameters


def range_parameters(query: Any, ranges: Iterable[RangeName]) -> dict[str, int]:
    """Return the values of a query's ranges; no unrated title is below an age."""
    parameters: dict[str, int] = {name: query[name] for name in ranges}
    if "age_lte" in parameters:
        parameters["age_lte"] = min(parameters["age_lte"], UNRATED_AGE_GATE - 1)
    return parameters


def find_facet(kind: str, value: str, snapshot: CatalogSnapshot) -> tuple[int, int]:
    """Return a facet's key, 0 if no title has it, and its titles at the last count.

    Raises Invalid for an unknown genre, tag, studio or collection.
    """
    if kind in KINDS_READ_ON_DEMAND:
        row = fetch_one(FACET_BY_CODE, {"kind": kind, "code": value})
        pk, titles = (row.pk, row.titles) if row else (None, 0)
    else:
        pk = snapshot.facets.get((kind, value)) or _collection_facet_pk((kind, value), snapshot)
        titles = snapshot.title_counts.get(pk or 0, 0)
    if pk is None and kind in ("genre", "tag", "studio", "collection"):
        raise Invalid(errors={kind: [f"There is no such {kind}."]})
    return pk or 0, titles


def _collection_facet_pk(facet: tuple[str, str], snapshot: CatalogSnapshot) -> int | None:
    """Return the facet key of a collection given by its id instead of its code; None if it is neither."""
    if not facet[1].startswith("col_"):
        return None
    row = fetch_one(sa.select(Collection.code).where(Collection.id == sa.bindparam("id")), {"id": facet[1]})
    return snapshot.facets.get(("collection", row.code)) if row else None


def get_person_pk(person_id: str) -> int:
    """Return the key of a person, or of the one they were merged into. Raises Invalid."""
    meant = sa.func.coalesce(Person.merged_into, Person.pk).label("pk")
    person = fetch_one(sa.select(meant).where(Person.id == sa.bindparam("id")), {"id": person_id})
    if person is None:
        raise Invalid(errors={"person": ["There is no such person."]})
    return person.pk


@lru_cache(maxsize=1_000)
def list_statement(shape: ListShape) -> sa.Select:
    """Build the statement of a list: the title's key, its card, then the sort values that a cursor holds."""
    base, conditions = _base_and_conditions(shape)
    keys = _sort_keys(shape, base)
    sort_values = [key.label(f"key_{index}") for index, key in enumerate(keys)]
    select = sa.select(Title.pk, TitleCard.body, *sort_values).select_from(_source(base)).where(*conditions)
    descending = shape.sort.startswith("-")
    if shape.after:
        position = [sa.bindparam(f"after_{index}", type_=key.type) for index, key in enumerate(keys)]
        row, bound = (keys[0], position[0]) if len(keys) == 1 else (sa.tuple_(*keys), sa.tuple_(*position))
        select = select.where(row < bound if descending else row > bound)
        if base is TitleFacet and len(keys) == 1 and shape.sort.endswith("added"):
            # PostgreSQL does not propagate the bound across the join and would scan all titles before it.
            select = select.where(Title.pk < position[0] if descending else Title.pk > position[0])
    order = [key.desc() if descending else key.asc() for key in keys]
    return select.order_by(*order).limit(sa.bindparam("limit"))


@lru_cache(maxsize=1_000)
def count_statement(shape: ListShape) -> sa.Select:
    """Build the statement that counts a whole list; it reads every row, so it runs only on request."""
    base, conditions = _base_and_conditions(shape)
    return sa.select(sa.func.count()).select_from(_source(base, with_cards=False)).where(*conditions)


def _base_and_conditions(shape: ListShape) -> tuple[Any, list[Any]]:
    """Return the model whose index is scanned, and all conditions."""
    is_by_title = shape.ids or shape.person
    base = TitleFacet if shape.facets and not is_by_title else Title
    conditions = [CONDITIONS[shape.visibility], *(RANGE_CONDITIONS[name] for name in shape.ranges)]
    for index in range(shape.facets):
        facet = sa.bindparam(f"facet_{index}", type_=sa.Integer())
        if index == 0 and base is TitleFacet:
            conditions.append(TitleFacet.facet_pk == facet)
        else:
            link = sa.alias(TitleFacet.__table__)
            conditions.append(sa.exists().where(link.c.facet_pk == facet, link.c.title_pk == Title.pk))
    if shape.ids:
        conditions.append(Title.id.in_(sa.bindparam("ids", expanding=True)))
    if shape.person:
        credited = sa.select(TitleCredit.title_pk).where(TitleCredit.person_pk == sa.bindparam("person"))
        conditions.append(Title.pk.in_(credited))
    return base, conditions


def _source(base: Any, with_cards: bool = True) -> sa.FromClause:
    source: sa.FromClause = Title.__table__
    if base is TitleFacet:
        source = sa.join(TitleFacet, Title, Title.pk == TitleFacet.title_pk)
    if with_cards:
        source = sa.join(source, TitleCard, sa.and_(TitleCard.title_pk == Title.pk, TitleCard.locale == ""))
    return source


def _sort_keys(shape: ListShape, base: Any) -> list[Any]:
    names = SORT_COLUMNS[shape.sort.removeprefix("-")]
    title_pk = TitleFacet.title_pk if base is TitleFacet else Title.pk
    keys = [getattr(base, name) for name in names]
    return keys if names == ("rank",) else [*keys, title_pk]
