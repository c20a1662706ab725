"""Title lists sorted by several keys, of which only the first has an index: `-year,title`.

A list goes through the groups of titles that are equal in the first key. The next groups of up to `chunk` titles
together are sorted by all keys. A larger group is walked by the index of its second key, where its titles are frequent
because it is large; within it, the same holds for the third key. So the rows tested for a page are bounded.

A position has a value for each key and the last row's own key. A shorter one is the end of a group: `[2001]` is after
all titles of 2001, and `[2001, None]` is before them.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import sqlalchemy as sa

from streamsvc.models import Title
from streamsvc.operations.catalog.reading import list_statements
from streamsvc.operations.catalog.reading.list_statements import ListShape
from streamsvc.rules.catalog.ranks import encode_rank
from streamsvc.rules.catalog.sort_orders import format_sort, parse_sort
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import db

MAX_PK = 2**32 - 1


class GroupsShape(NamedTuple):
    """Everything on which the statement of groups depends.

    `starts`: whether they start `from` a group, or `after` it. `ends`: whether they end before another group. `values`:
    how many values the position within the first group has, and `is_before`: whether it is before a group in there.
    """

    titles: ListShape
    starts: str = ""
    ends: bool = False
    values: int = 0
    is_before: bool = False


def read_rows(
    shape: ListShape, parameters: dict[str, Any], limit: int, position: list[Any], size: int
) -> tuple[list[Any], list[Any] | None]:
    """Return up to `limit` of the next rows after a position, of which `size` are tested, each with its sort values.

    And the position to continue from if there are fewer rows; None at the end of the list.
    """
    keys, fixed = parse_sort(shape.sort), list[Any]()
    while True:
        depth = len(fixed)
        shape = shape._replace(sort=format_sort(keys[depth:]), within=tuple(key.name for key in keys[:depth]))
        values = parameters | {f"within_{index}": value for index, value in enumerate(fixed)} | {"chunk": size}
        after = [] if position[depth:] == [None] else position[depth:]
        if depth == len(keys) - 1:
            rows, end = _walk_group(shape, values | {"limit": limit}, after, size)
        else:
            start, values = _start(shape, after, values)
            [groups] = compiled_groups_statement(start).all(**values)
            if groups.beyond is not None and groups.first == groups.beyond:
                position = position if len(after) > 1 and after[0] == groups.first else [*fixed, groups.first, None]
                fixed.append(groups.first)
                continue
            rows, end = _sort_groups(start, values | {"limit": limit}, after, groups)
        return [(row[0], *fixed, *row[1:]) for row in rows], [*fixed, *end] or None


def _walk_group(shape: ListShape, values: dict[str, Any], after: list[Any], size: int) -> tuple[list[Any], list[Any]]:
    """Return the next rows of a large group in the order of its last key, and the position that was tested up to."""
    shape = shape._replace(after=bool(after))
    values |= _position(after)
    rows = list_statements.compiled_list_statement(shape, db.engine.dialect.name).all(**values)
    if len(rows) >= values["limit"]:
        return rows, []
    end = list_statements.compiled_end_statement(shape).one(**values, skipped=size - 1)
    return rows, list(end or ())


def _start(shape: ListShape, after: list[Any], values: dict[str, Any]) -> tuple[GroupsShape, dict[str, Any]]:
    """Return the shape of the groups that follow a position, and the parameters with their start."""
    if not after:
        return GroupsShape(shape), values
    [first, *rest] = after
    is_from, is_before = bool(rest), bool(rest) and rest[-1] is None
    bound = _bound(shape, first, is_lower=parse_sort(shape.sort)[0].is_descending != is_from)
    count = (len(after) - is_before) if is_from else 0
    start = GroupsShape(shape, "from" if is_from else "after", values=count, is_before=is_before)
    return start, values | _position(after[:count]) | {"start": bound}


def _sort_groups(
    shape: GroupsShape, values: dict[str, Any], after: list[Any], groups: Any
) -> tuple[list[Any], list[Any]]:
    """Return the next rows of the groups before `groups.beyond`, and where that begins."""
    if groups.first is None:
        return [], []
    if groups.beyond is None:
        return compiled_sorted_statement(shape).all(**values), []
    is_descending = parse_sort(shape.titles.sort)[0].is_descending
    values |= {"end": _bound(shape.titles, groups.beyond, is_lower=not is_descending)}
    return compiled_sorted_statement(shape._replace(ends=True)).all(**values), [groups.beyond, None]


def _bound(shape: ListShape, value: Any, is_lower: bool) -> Any:
    """Return the lowest or the highest value that the first key's index has in a group."""
    name = parse_sort(shape.sort)[0].name
    return encode_rank(value, 0 if is_lower else MAX_PK) if name == "popularity" else value


def _position(values: list[Any]) -> dict[str, Any]:
    return {f"after_{index}": value for index, value in enumerate(values)}


@lru_cache(maxsize=1_000)
def compiled_groups_statement(shape: GroupsShape) -> CompiledStatement:
    """Return the statement that reads the value of the first group, and that of the row after `chunk` ones."""
    return CompiledStatement(groups_statement(shape))


@lru_cache(maxsize=1_000)
def compiled_sorted_statement(shape: GroupsShape) -> CompiledStatement:
    """Return the compiled statement that sorts groups."""
    return CompiledStatement(sorted_statement(shape))


def groups_statement(shape: GroupsShape) -> sa.Select:
    """Build the statement that reads the value of the first group, and that of the row after `chunk` ones."""
    base = list_statements.walked_model(shape.titles)
    value = list_statements.group_value(parse_sort(shape.titles.sort)[0].name, base)
    rows = _next_rows(shape, sa.select(value), base)
    return sa.select(
        rows.limit(1).scalar_subquery().label("first"),
        rows.limit(1).offset(sa.bindparam("chunk")).scalar_subquery().label("beyond"),
    )


def sorted_statement(shape: GroupsShape) -> sa.Select:
    """Build the statement that sorts groups of up to `chunk` rows: the title's key, then the sort values."""
    titles = shape.titles
    base = list_statements.walked_model(titles)
    keys = [key.label(f"key_{index}") for index, key in enumerate(list_statements.sort_keys(titles, base))]
    rows = sa.select(*list_statements.tested_columns(titles, base), *keys)
    walked = _next_rows(shape, rows, base).limit(sa.bindparam("chunk")).subquery("walked")
    keys = [walked.c[key.name] for key in keys]
    conditions = list_statements.row_conditions(titles, walked.c)
    if shape.values:
        conditions.append(list_statements.after_position(titles, keys, shape.values, shape.is_before))
    return (
        sa.select(walked.c.title_pk, *keys)
        .select_from(sa.join(walked, Title, Title.pk == walked.c.title_pk))
        .where(*conditions)
        .order_by(*list_statements.in_order(titles, keys))
        .limit(sa.bindparam("limit"))
    )


def _next_rows(shape: GroupsShape, select: sa.Select, base: Any) -> sa.Select:
    """Select rows in the order of the first key's index, from the start to the end of the groups."""
    titles = shape.titles
    name, is_descending = parse_sort(titles.sort)[0]
    column = list_statements.index_column(name, base)
    start, end = (sa.bindparam(name, type_=column.type) for name in ("start", "end"))
    conditions = list_statements.facet_conditions(titles, base)
    if name == "year":
        conditions = list_statements.counted_conditions(titles, base)
    if shape.starts == "from":
        conditions.append(column <= start if is_descending else column >= start)
    if shape.starts == "after":
        conditions.append(column < start if is_descending else column > start)
    if shape.ends:
        conditions.append(column > end if is_descending else column < end)
    order = [column] if name == "popularity" else [column, list_statements.title_pk(base)]
    return select.where(*conditions).order_by(*(key.desc() if is_descending else key.asc() for key in order))
