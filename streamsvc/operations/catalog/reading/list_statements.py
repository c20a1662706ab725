"""The statements of title lists. Each is built once per shape of query and run with the query's values.

The rows that a statement tests are those of one index from a position on, in sort order, and at most `chunk` of them.
SQLite reads in sort order only if the tables are joined directly, so it gets the last row's position as a bound;
PostgreSQL uses no such bound to stop, but keeps the order of a subquery.
"""

from functools import lru_cache
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from streamsvc.http.pagination import bounded_count
from streamsvc.models import Title, TitleCredit, TitleFacet
from streamsvc.models.catalog.visibility import CONDITIONS, Visibility, within_age
from streamsvc.rules.catalog.sort_orders import parse_sort
from streamsvc.storage.compiled_statements import CompiledStatement

SORTS = ("-added", "added", "title", "-title", "year", "-year", "-popularity", "popularity")
"""The sort orders with one key."""
SORT_COLUMNS = {"added": (), "title": ("sort_title",), "year": ("year_key",), "popularity": ("rank",)}
FacetKind = Literal["collection", "studio", "tag", "genre", "language", "country", "kind"]
RangeName = Literal["year_gte", "year_lte", "runtime_lte", "age_lte"]
FACET_KINDS: tuple[FacetKind, ...] = ("collection", "studio", "tag", "genre", "language", "country", "kind")
"""From the usually most selective kind to the least selective one."""
RANGES: tuple[RangeName, ...] = ("year_gte", "year_lte", "runtime_lte", "age_lte")
YEAR_RANGES: set[RangeName] = {"year_gte", "year_lte"}


class ListShape(NamedTuple):
    """Everything on which the statement of a list depends.

    `within`: the sort keys that have the same value in all titles of the list.
    """

    sort: str
    facets: int = 0
    ranges: tuple[RangeName, ...] = ()
    person: bool = False
    ids: bool = False
    after: bool = False
    visibility: Visibility = "listed"
    within: tuple[str, ...] = ()


def is_walked(shape: ListShape) -> bool:
    """Whether the list walks an index of unbounded length, unlike one of ids or of a person's titles."""
    return not (shape.ids or shape.person)


@lru_cache(maxsize=1_000)
def compiled_list_statement(shape: ListShape, dialect: str = "") -> CompiledStatement:
    """Return the compiled statement of a list of this shape."""
    return CompiledStatement(list_statement(shape, dialect))


@lru_cache(maxsize=1_000)
def compiled_end_statement(shape: ListShape) -> CompiledStatement:
    """Return the statement that reads the sort values of the row after the next `skipped` ones."""
    base = walked_model(shape)
    return CompiledStatement(_next_keys(shape, base).limit(1).offset(sa.bindparam("skipped")))


@lru_cache(maxsize=1_000)
def list_statement(shape: ListShape, dialect: str = "") -> sa.Select:
    """Build the statement of a list: the title's key, then the sort values that a cursor holds."""
    base = walked_model(shape)
    if is_walked(shape) and dialect == "postgresql":
        walked = _next_rows(shape, base).subquery("walked")
        keys = [walked.c[f"key_{index}"] for index in range(len(sort_keys(shape, base)))]
        source: Any = sa.join(walked, Title, Title.pk == walked.c.title_pk)
        conditions = row_conditions(shape, walked.c)
    else:
        keys = sort_keys(shape, base)
        source = sa.join(base, Title, Title.pk == base.title_pk) if base is TitleFacet else Title.__table__
        conditions = row_conditions(shape, base)
        if is_walked(shape):
            # Where SQLite expects that hardly a row passes, it would rather sort than read in order.
            tested = [sa.func.likelihood(test, sa.literal_column("1.0")) for test in conditions]
            start = [] if shape.after else _first_year(shape, base)
            conditions = [*tested, *facet_conditions(shape, base), *start, _until_end_of_chunk(shape, keys)]
        conditions += _after(shape, base)
    values = [key.label(f"key_{index}") for index, key in enumerate(keys)]
    select = sa.select(Title.pk, *values).select_from(source)
    return select.where(*conditions).order_by(*in_order(shape, keys)).limit(sa.bindparam("limit"))


@lru_cache(maxsize=1_000)
def count_statement(shape: ListShape) -> sa.Select:
    """Build the statement that counts a list, of which it tests up to `chunk` rows."""
    base = walked_model(shape)
    if not is_walked(shape):
        return bounded_count(sa.select(Title.pk).where(*row_conditions(shape, base)))
    walked = _counted_rows(shape, base).limit(sa.bindparam("chunk")).subquery("walked")
    source = sa.join(walked, Title, Title.pk == walked.c.title_pk)
    return bounded_count(sa.select(Title.pk).select_from(source).where(*row_conditions(shape, walked.c)))


@lru_cache(maxsize=1_000)
def uncounted_statement(shape: ListShape) -> sa.Select:
    """Build the statement that returns a row if a list has more than `chunk` rows to test."""
    rows = _counted_rows(shape, walked_model(shape))
    return rows.limit(1).offset(sa.bindparam("chunk"))


def walked_model(shape: ListShape) -> Any:
    """Return the model whose index is walked."""
    return TitleFacet if shape.facets and is_walked(shape) else Title


def sort_keys(shape: ListShape, base: Any) -> list[Any]:
    """Return the columns of the sort order, the last of which decide among all titles."""
    *higher, last = parse_sort(shape.sort)
    keys = [group_value(key.name, base) for key in higher]
    keys += [getattr(base, name) for name in SORT_COLUMNS[last.name]]
    return keys if last.name == "popularity" else [*keys, title_pk(base)]


def group_value(name: str, base: Any) -> Any:
    """Return what titles have in common that are equal in a sort key."""
    return base.rank.bitwise_rshift(sa.literal_column("32")) if name == "popularity" else index_column(name, base)


def index_column(name: str, base: Any) -> Any:
    """Return the column whose index has the titles in the order of a sort key."""
    return getattr(base, SORT_COLUMNS[name][0])


def title_pk(base: Any) -> Any:
    """Return the column of a walked model that has the title's key."""
    return base.title_pk if hasattr(base, "title_pk") else base.pk


def in_order(shape: ListShape, keys: list[Any]) -> list[Any]:
    """Return the sort order of columns as returned by `sort_keys`."""
    directions = _directions(shape, keys)
    return [key.desc() if is_descending else key.asc() for key, is_descending in zip(keys, directions, strict=True)]


def after_position(shape: ListShape, keys: list[Any], values: int, is_from: bool = False) -> sa.ColumnElement[bool]:
    """Return the condition that a row comes after all rows whose first `values` keys have the values `after_0`, ….

    `keys` are columns as returned by `sort_keys`. `is_from`: those rows themselves too.
    """
    bounds = [sa.bindparam(f"after_{index}", type_=key.type) for index, key in enumerate(keys[:values])]
    directions = _directions(shape, keys)
    if values == len(keys) > 1 and len(set(directions)) == 1:
        return _is_beyond(sa.tuple_(*keys), sa.tuple_(*bounds), directions[0])
    *others, last = zip(keys, bounds, directions, strict=False)
    condition = sa.or_(last[0] == last[1], _is_beyond(*last)) if is_from else _is_beyond(*last)
    for key, bound, is_descending in reversed(others):
        condition = sa.or_(_is_beyond(key, bound, is_descending), sa.and_(key == bound, condition))
    return condition


def _is_beyond(key: Any, bound: Any, is_descending: bool) -> sa.ColumnElement[bool]:
    return key < bound if is_descending else key > bound


def _directions(shape: ListShape, keys: list[Any]) -> list[bool]:
    """Return for each of the columns whether it is descending; the last decisive one is as the last key."""
    directions = [key.is_descending for key in parse_sort(shape.sort)]
    return directions + directions[-1:] * (len(keys) - len(directions))


def _walk_conditions(shape: ListShape, base: Any) -> list[Any]:
    """Return the conditions by which a list walks its index: the facet, the years if it sorts by them, the position."""
    conditions = counted_conditions(shape, base) if shape.sort.endswith("year") else facet_conditions(shape, base)
    return conditions + _after(shape, base)


def _after(shape: ListShape, base: Any) -> list[Any]:
    if not shape.after:
        return []
    keys = sort_keys(shape, base)
    return [after_position(shape, keys, len(keys))]


def _first_year(shape: ListShape, base: Any) -> list[Any]:
    """Return where the first page of a list by years starts; its chunk has the end."""
    if shape.sort == "year" and "year_gte" in shape.ranges:
        return [base.year_key >= sa.bindparam("year_gte")]
    if shape.sort == "year" and "year_lte" in shape.ranges:
        return [base.year_key > 0]
    return [base.year_key <= sa.bindparam("year_lte")] if shape.sort == "-year" and "year_lte" in shape.ranges else []


def facet_conditions(shape: ListShape, base: Any) -> list[Any]:
    is_of_facet = walked_model(shape) is TitleFacet
    return [base.facet_pk == sa.bindparam("facet_0", type_=sa.Integer())] if is_of_facet else []


def counted_conditions(shape: ListShape, base: Any) -> list[Any]:
    """Return the conditions of an index of which every row must be tested."""
    years = [name for name in shape.ranges if name in YEAR_RANGES and is_walked(shape)]
    return [*facet_conditions(shape, base), *(range_condition(name, base.year_key) for name in years)]


def _counted_rows(shape: ListShape, base: Any) -> sa.Select:
    return sa.select(*tested_columns(shape, base)).where(*counted_conditions(shape, base))


def tested_columns(shape: ListShape, base: Any) -> list[Any]:
    """Return the columns of the index that conditions test; the title is looked up only for rows that pass."""
    columns = [title_pk(base).label("title_pk"), *(index_column(name, base) for name in shape.within)]
    if YEAR_RANGES.intersection(shape.ranges) and "year" not in shape.within:
        columns.append(base.year_key)
    if "runtime_lte" in shape.ranges:
        columns.append(base.runtime_s)
    return columns


def _next_keys(shape: ListShape, base: Any) -> sa.Select:
    """Select the sort values of the rows from the position on."""
    keys = sort_keys(shape, base)
    labelled = [key.label(f"key_{index}") for index, key in enumerate(keys)]
    return sa.select(*labelled).where(*_walk_conditions(shape, base)).order_by(*in_order(shape, keys))


def _next_rows(shape: ListShape, base: Any) -> sa.Select:
    """Select the next `chunk` rows with their sort values."""
    return _next_keys(shape, base).add_columns(*tested_columns(shape, base)).limit(sa.bindparam("chunk"))


def _until_end_of_chunk(shape: ListShape, keys: list[Any]) -> sa.ColumnElement[bool]:
    """Return the condition that a row is not after the last of the next `chunk` rows, or of all if there are fewer."""
    base, is_descending = sa.orm.aliased(walked_model(shape)), shape.sort.startswith("-")
    rows = _next_keys(shape, base)
    backwards = [key.asc() if is_descending else key.desc() for key in sort_keys(shape, base)]
    of_chunk = rows.limit(1).offset(sa.bindparam("chunk") - 1).subquery("of_chunk")
    of_all = rows.order_by(None).order_by(*backwards).limit(1).subquery("of_all")
    ends = sa.union_all(sa.select(of_chunk), sa.select(of_all))
    end = ends.order_by(*in_order(shape, list(ends.selected_columns))).limit(1).scalar_subquery()
    row: Any = keys[0] if len(keys) == 1 else sa.tuple_(*keys)
    return row >= end if is_descending else row <= end


def row_conditions(shape: ListShape, base: Any) -> list[Any]:
    """Return the conditions that each row is tested for; `base` has the columns of the index."""
    conditions = [CONDITIONS[shape.visibility], *(_tested_range(name, base) for name in shape.ranges)]
    for index, name in enumerate(shape.within):
        conditions.append(_unindexed_value(name, base) == sa.bindparam(f"within_{index}"))
    if "runtime_lte" in shape.ranges and walked_model(shape) is TitleFacet:
        # the link lacks the runtime if an earlier release has written it during an upgrade
        conditions.append(sa.or_(base.runtime_s.is_(None), base.runtime_s <= sa.bindparam("runtime_lte")))
    for index in range(shape.facets):
        if index or walked_model(shape) is not TitleFacet:
            link = sa.alias(TitleFacet.__table__)
            facet = sa.bindparam(f"facet_{index}", type_=sa.Integer())
            conditions.append(sa.exists().where(link.c.facet_pk == facet, link.c.title_pk == Title.pk))
    if shape.ids:
        conditions.append(Title.id.in_(sa.bindparam("ids", expanding=True)))
    if shape.person:
        credited = sa.select(TitleCredit.title_pk).where(TitleCredit.person_pk == sa.bindparam("person"))
        conditions.append(Title.pk.in_(credited))
    return conditions


def _tested_range(name: RangeName, base: Any) -> sa.ColumnElement[bool]:
    return range_condition(name, _unindexed_value("year", base) if name in YEAR_RANGES else None)


def _unindexed_value(name: str, base: Any) -> Any:
    """Return the value of a sort key in a form for which SQLite would not walk the key's index instead."""
    value = group_value(name, base)
    return value + sa.literal_column("''" if name == "title" else "0")


def range_condition(name: RangeName, year_key: Any = Title.year_key) -> sa.ColumnElement[bool]:
    """Return the condition of a range; `year_key` is the sort key of years, which is 0 for an unknown one."""
    if name == "year_gte":
        return year_key >= sa.bindparam("year_gte")
    if name == "year_lte":
        return sa.and_(year_key > 0, year_key <= sa.bindparam("year_lte"))
    if name == "runtime_lte":
        return Title.runtime_s <= sa.bindparam("runtime_lte")
    return within_age(sa.bindparam("age_lte", type_=sa.Integer()))
