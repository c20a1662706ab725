"""Title lists: each walks one index in sort order and stops at the end of the page, or at a bound of rows tested.

A list walks its most selective filter: the requested ids, one person's titles, else the links of one facet (a genre,
a language, …), which carry the sort keys; else all titles. Other conditions are tested row by row, on MAX_ROWS rows per
request: a page that is not full by then is returned with a cursor after the last row tested.
"""

from collections.abc import Iterable
from operator import itemgetter
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from streamsvc.http import pagination
from streamsvc.models import Collection, Facet, Person
from streamsvc.operations.catalog.reading import list_statements, sorted_groups
from streamsvc.operations.catalog.reading.audience import Audience
from streamsvc.operations.catalog.reading.list_statements import FACET_KINDS, RANGES, FacetKind, ListShape, RangeName
from streamsvc.operations.catalog.reading.shown_cards import listed_cards
from streamsvc.operations.catalog.reading.version import KINDS_READ_ON_DEMAND, CatalogSnapshot
from streamsvc.operations.catalog.titles.json_fragments import json_page, select_members
from streamsvc.rules.catalog.inputs import TitlesInput
from streamsvc.rules.maturity import UNRATED_AGE_GATE
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.storage.database import db, fetch_all, fetch_existing, fetch_one

FilterName = Literal[FacetKind, RangeName, "person", "ids"]
MAX_ROWS = 100_000
"""Rows tested for one page."""
GROWTH = 10
"""How much larger each chunk of rows is than the one before it; the first has ROWS_PER_ITEM for each item."""
ROWS_PER_ITEM = 4
SORTED_ROWS = 1_000
"""The first chunk of a list with several sort keys: a larger group of titles equal in the first is not sorted at once,
but walked by the second. The rows that a page of 25 tests are fewer than 30,000 in a catalogue of a million titles."""
MAX_COUNTED_ROWS = 250_000
"""Rows tested for one total, in some 0.1 s, so that totals are exact up to MAX_TOTAL in all but huge catalogues."""
FILTER_NAMES: tuple[FilterName, ...] = (*FACET_KINDS, *RANGES, "person", "ids")
"""The parameters that distinguish one list from another: a cursor is valid only for the same values."""
FACET_BY_CODE = sa.select(Facet.pk, Facet.titles).where(
    Facet.kind == sa.bindparam("kind"), Facet.code == sa.bindparam("code")
)


class ListRows(NamedTuple):
    """Rows (title's key, sort values), and the sort values to continue from if the bound was reached."""

    rows: list[Any]
    stopped_at: list[Any] | None


def titles_json(query: TitlesInput, audience: Audience, snapshot: CatalogSnapshot) -> str:
    """Return a page of titles, with the selected fields. Raises Invalid."""
    cards, next_cursor, total = list_title_cards(query, audience, snapshot)
    if query["selected"]:
        cards = [select_members(card, query["selected"]) for card in cards]
    return json_page(cards, next_cursor, total)


def list_title_cards(
    query: TitlesInput, audience: Audience, snapshot: CatalogSnapshot
) -> tuple[list[str], str | None, dict[str, Any] | None]:
    """Return a page: cards as JSON, the next cursor, and the members of its total if the query requests it.

    Raises Invalid.
    """
    shape, parameters = build_list_query(query, audience, snapshot)
    filters = {name: query[name] for name in FILTER_NAMES if query[name] is not None}
    scope = f"titles:{query['sort']}:{filters}"
    after = pagination.decode_cursor(scope, query["cursor"])
    found = list_rows(shape, parameters, query["limit"] + 1, after)
    page = pagination.build_page(found.rows, query["limit"], scope, lambda row: list(row[1:]), found.stopped_at)
    total = count_titles(shape, parameters) if query["include_total"] else None
    cards = listed_cards([row[0] for row in page["items"]], audience, snapshot, query["locale"])
    return cards, page["next_cursor"], total


def list_rows(shape: ListShape, parameters: dict[str, Any], limit: int, after: list[Any] | None) -> ListRows:
    """Return up to `limit` rows of a list.

    A list by ids is not compiled, since the length of its statement depends on the number of ids.
    """
    shape = shape._replace(after=after is not None)
    parameters = parameters | _position(after) | {"limit": limit}
    if shape.ids:
        return ListRows(fetch_all(list_statements.list_statement(shape), parameters), None)
    if shape.person:
        return ListRows(list_statements.compiled_list_statement(shape).all(**parameters), None)
    if "," in shape.sort:
        return _list_sorted_rows(shape, parameters, limit, after)
    rows: list[Any] = []
    budget, size = MAX_ROWS, limit * ROWS_PER_ITEM
    while True:
        statement = list_statements.compiled_list_statement(shape, db.engine.dialect.name)
        rows += statement.all(**parameters, chunk=size)
        if len(rows) >= limit:
            return ListRows(rows, None)
        end = list_statements.compiled_end_statement(shape).one(**parameters, skipped=size - 1)
        budget -= size
        if end is None or budget <= 0:
            return ListRows(rows, end and list(end))
        shape = shape._replace(after=True)
        parameters |= _position(end) | {"limit": limit - len(rows)}
        size = min(size * GROWTH, budget)


def _list_sorted_rows(shape: ListShape, parameters: dict[str, Any], limit: int, after: list[Any] | None) -> ListRows:
    rows: list[Any] = []
    position, budget, size = after or [], MAX_ROWS, SORTED_ROWS
    while True:
        found, end = sorted_groups.read_rows(shape, parameters, limit - len(rows), position, size)
        rows += found
        budget -= size
        if len(rows) >= limit or end is None or budget <= 0:
            return ListRows(rows, None if len(rows) >= limit else end)
        position, size = end, min(size * GROWTH, budget)


def _position(values: Iterable[Any] | None) -> dict[str, Any]:
    """Return the parameters of a position in a list."""
    return {f"after_{index}": value for index, value in enumerate(values or ())}


def count_titles(shape: ListShape, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the total of a list, exact if it is at most MAX_TOTAL and at most MAX_COUNTED_ROWS rows need testing."""
    parameters = parameters | {"chunk": MAX_COUNTED_ROWS}
    count = fetch_existing(list_statements.count_statement(shape), parameters)[0]
    is_cut = count <= pagination.MAX_TOTAL and list_statements.is_walked(shape) and _has_more_rows(shape, parameters)
    return pagination.total_members(count, is_cut)


def _has_more_rows(shape: ListShape, parameters: dict[str, Any]) -> bool:
    return fetch_one(list_statements.uncounted_statement(shape), parameters) is not None


def build_list_query(query: TitlesInput, audience: Audience, snapshot: CatalogSnapshot) -> tuple[ListShape, dict]:
    """Return the shape of a list and the values of its parameters. Raises Invalid."""
    parameters = audience.sql_parameters()
    facets = [find_facet(kind, value, snapshot) for kind in FACET_KINDS if (value := query[kind])]
    # The facet with the fewest titles is scanned. The sort is stable, so FACET_KINDS decides while counts are missing.
    for index, (pk, _) in enumerate(sorted(facets, key=itemgetter(1))):
        parameters[f"facet_{index}"] = pk
    ranges = tuple(name for name in RANGES if query[name] is not None)
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
    """Return the values of a query's ranges; no unrated title is below an age, and no unknown year is in a range."""
    parameters: dict[str, int] = {name: query[name] for name in ranges}
    if "year_gte" in parameters:
        parameters["year_gte"] = max(parameters["year_gte"], 1)
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
