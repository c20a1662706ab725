"""Conditions of titles for reads that do not scan in a list's order, such as a search: each is tested title by title.

A statement is built once per shape, which is everything that it depends on but the values.
"""

from typing import Any, NamedTuple

import sqlalchemy as sa

from streamsvc.models import Title, TitleCredit, TitleFacet
from streamsvc.models.catalog.visibility import CONDITIONS, Visibility
from streamsvc.operations.catalog.reading.list_statements import RANGES, RangeName, range_condition
from streamsvc.operations.catalog.reading.lists import find_facet, get_person_pk, range_parameters
from streamsvc.operations.catalog.reading.version import CatalogSnapshot
from streamsvc.rules.catalog.inputs import TitleFiltersInput


class FilterShape(NamedTuple):
    """The conditions of a read without their values."""

    visibility: Visibility
    ranges: tuple[RangeName, ...] = ()
    facets: tuple[int, ...] = ()
    """For each condition on facets, the number of those of which a title must have one."""
    excluded: int = 0
    """The number of facets of which a title must have none."""
    person: bool = False


def build_filters(
    query: TitleFiltersInput, visibility: Visibility, snapshot: CatalogSnapshot
) -> tuple[FilterShape, dict[str, Any]]:
    """Return the shape of a query's filters and the values of its parameters. Raises Invalid."""
    ranges = tuple(name for name in RANGES if query[name] is not None)
    parameters: dict[str, Any] = range_parameters(query, ranges)
    groups = [[facet] for facet in _single_facets(query)]
    if query["genre"]:
        groups.append([("genre", code) for code in query["genre"]])
    for group, facets in enumerate(groups):
        parameters |= {f"facet_{group}_{i}": find_facet(*facet, snapshot)[0] for i, facet in enumerate(facets)}
    excluded = query["genre_not"] or []
    parameters |= {f"excluded_{i}": find_facet("genre", code, snapshot)[0] for i, code in enumerate(excluded)}
    if query["person"]:
        parameters["person"] = get_person_pk(query["person"])
    shape = FilterShape(visibility, ranges, tuple(map(len, groups)), len(excluded), bool(query["person"]))
    return shape, parameters


def _single_facets(query: TitleFiltersInput) -> list[tuple[str, str]]:
    values = {
        "collection": query["collection"],
        "tag": query["tag"],
        "studio": query["studio"],
        "kind": query["kind"],
        "language": query["language"],
        "audio": query["audio"],
        "subtitle": query["subtitle"],
        "height": query["height_gte"],
        "country": query["origin_country"],
    }
    return [(kind, str(value)) for kind, value in values.items() if value is not None]


def filter_conditions(shape: FilterShape) -> list[sa.ColumnElement[bool]]:
    """Return the conditions of a shape on `Title`, with its visibility."""
    conditions = [CONDITIONS[shape.visibility], *map(range_condition, shape.ranges)]
    conditions += [_has_one_of(f"facet_{group}_{i}" for i in range(count)) for group, count in enumerate(shape.facets)]
    if shape.excluded:
        conditions.append(sa.not_(_has_one_of(f"excluded_{i}" for i in range(shape.excluded))))
    if shape.person:
        credit = sa.alias(TitleCredit.__table__)
        conditions.append(
            sa.exists().where(credit.c.person_pk == sa.bindparam("person"), credit.c.title_pk == Title.pk)
        )
    return conditions


def _has_one_of(parameters: Any) -> sa.ColumnElement[bool]:
    link = sa.alias(TitleFacet.__table__)
    pks = [sa.bindparam(name, type_=sa.Integer()) for name in parameters]
    return sa.exists().where(link.c.facet_pk.in_(pks), link.c.title_pk == Title.pk)
