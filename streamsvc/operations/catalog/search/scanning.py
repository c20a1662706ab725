"""Reads hits in chunks, best first: the ranks that match an expression, then which of them the caller may see.

Visibility and filters are tested on a bounded number of ranks per request; a page that is not full by then is returned
with a cursor after the last rank tested.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TSQUERY

from streamsvc.models import (
    Collection,
    CollectionItem,
    Episode,
    Person,
    ProgrammeEntry,
    SearchDoc,
    SearchEntry,
    Title,
    TitleCard,
    TitleCredit,
)
from streamsvc.models.catalog.visibility import EPISODE_CONDITIONS
from streamsvc.operations.catalog.reading.filters import FilterShape, filter_conditions
from streamsvc.operations.catalog.search import lexemes
from streamsvc.rules.catalog import search
from streamsvc.rules.catalog.ranks import decode_pk
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import db
from streamsvc.storage.key_lists import encode_keys, select_keys

MAX_RANKS = 2_000
"""Ranks tested for one request."""
GROWTH = 4
"""How much larger each chunk is than the one before it, up to MAX_RANKS."""
FTS_TABLES = {
    SearchDoc: "search_fts",
    SearchEntry: "search_entries_fts",
    ProgrammeEntry: "programme_entries_fts",
}

_expression = sa.bindparam("expression", type_=sa.Text())
_tsquery = sa.cast(_expression, TSQUERY())
_after, _lowest = (sa.bindparam(name, type_=sa.BigInteger()) for name in ("after", "lowest"))


def fts_table(model: Any) -> sa.TableClause:
    """Return SQLite's full-text table of a model."""
    name = FTS_TABLES[model]
    return sa.table(name, sa.column("rowid", sa.BigInteger()), sa.column(name, sa.Text()))


def _ranks_on_sqlite(model: Any) -> CompiledStatement:
    table = fts_table(model)
    rank = table.c.rowid
    matches = table.c[table.name].op("MATCH")(_expression)
    select = sa.select(rank.label("rank")).where(matches, rank < _after, rank >= _lowest)
    return CompiledStatement(select.order_by(rank.desc()).limit(sa.bindparam("limit")))


def _ranks_on_postgresql(model: Any, is_common: bool) -> CompiledStatement:
    """Scan all from the most popular down if the expression is common, else sort those that the index returns."""
    bounds = (model.rank < _after, model.rank >= _lowest)
    if is_common:
        docs = sa.select(model.rank, model.words).where(*bounds).order_by(model.rank.desc())
        scanned = docs.offset(sa.literal_column("0")).subquery("scanned")
        select = sa.select(scanned.c.rank).where(scanned.c.words.op("@@")(_tsquery))
    else:
        matching = sa.select(model.rank).where(model.words.op("@@")(_tsquery), *bounds)
        found = matching.cte("matching").prefix_with("MATERIALIZED", dialect="postgresql")
        select = sa.select(found.c.rank)
    return CompiledStatement(select.order_by(sa.desc("rank")).limit(sa.bindparam("limit")))


RANKS_ON_SQLITE = {model: _ranks_on_sqlite(model) for model in FTS_TABLES}
RANKS_ON_POSTGRESQL = {
    (model, is_common): _ranks_on_postgresql(model, is_common) for model in FTS_TABLES for is_common in (False, True)
}


def iter_rank_chunks(
    model: Any, expression: search.Expression, bounds: tuple[int, int], budget: int, size: int = MAX_RANKS
) -> Iterator[list[int]]:
    """Yield the ranks of an expression between `bounds`, best first: up to `budget`, in chunks that grow from `size`.

    The lower bound is included, the upper one is not.
    """
    lowest, after = bounds
    while budget > 0:
        size = min(size, budget)
        statement, text = _ranks_statement(model, expression, size)
        ranks = [row.rank for row in statement.all(expression=text, after=after, lowest=lowest, limit=size)]
        yield ranks
        if len(ranks) < size:
            return
        after, budget, size = ranks[-1], budget - len(ranks), min(size * GROWTH, MAX_RANKS)


def _ranks_statement(model: Any, expression: search.Expression, limit: int) -> tuple[CompiledStatement, str]:
    if db.engine.dialect.name == "sqlite":
        return RANKS_ON_SQLITE[model], search.format_fts5(expression)
    is_common = model is SearchDoc and lexemes.load_lexeme_statistics().is_common(expression, limit)
    return RANKS_ON_POSTGRESQL[model, is_common], search.format_tsquery(expression)


def load_rows(kind: str, ranks: list[int], shape: FilterShape, parameters: dict[str, Any]) -> dict[int, Any]:
    """Return the rows of a kind that pass the filters, by rank."""
    dialect = db.engine.dialect.name
    pks = {decode_pk(rank): rank for rank in ranks}
    rows = _rows_statement(kind, shape, dialect).all(**parameters, pks=encode_keys(pks, dialect))
    return {pks[row.pk]: row for row in rows}


@lru_cache(maxsize=500)
def _rows_statement(kind: str, shape: FilterShape, dialect: str) -> CompiledStatement:
    conditions = filter_conditions(shape) + (EPISODE_CONDITIONS[shape.visibility] if kind == "episode" else [])
    return CompiledStatement(ROW_SELECTS[kind](select_keys("pks", dialect), conditions))


def _select_titles(pks: Any, conditions: list) -> sa.Select:
    cards = sa.and_(TitleCard.title_pk == Title.pk, TitleCard.locale == "")
    return sa.select(Title.pk, TitleCard.body).join(TitleCard, cards).where(Title.pk.in_(pks), *conditions)


def _select_episodes(pks: Any, conditions: list) -> sa.Select:
    cards = sa.and_(TitleCard.title_pk == Title.pk, TitleCard.locale == "")
    return (
        sa.select(
            Episode.pk, Episode.id, Episode.title, Episode.season, Episode.number, Title.pk.label("title_pk"),
            Title.id.label("title_id"), TitleCard.body,
        )
        .join(Title, Title.pk == Episode.title_pk)
        .join(TitleCard, cards)
        .where(Episode.pk.in_(pks), Episode.removed_at.is_(None), *conditions)
    )  # fmt: skip


def _select_collections(pks: Any, conditions: list) -> sa.Select:
    in_title = sa.exists().where(
        CollectionItem.collection_pk == Collection.pk, Title.pk == CollectionItem.title_pk, *conditions
    )
    columns = (Collection.pk, Collection.id, Collection.code, Collection.title, Collection.localizations)
    return sa.select(*columns).where(Collection.pk.in_(pks), in_title.correlate(Collection))


def _select_people(pks: Any, conditions: list) -> sa.Select:
    in_title = sa.exists().where(TitleCredit.person_pk == Person.pk, Title.pk == TitleCredit.title_pk, *conditions)
    return sa.select(Person.pk, Person.id, Person.name).where(Person.pk.in_(pks), in_title.correlate(Person))


ROW_SELECTS = {
    "title": _select_titles,
    "episode": _select_episodes,
    "collection": _select_collections,
    "person": _select_people,
}


def count_rows(
    model: Any,
    expression: search.Expression,
    bounds: tuple[int, int],
    load: Callable[[list[int]], dict[int, Any]],
    budget: int,
) -> tuple[int, int]:
    """Count the hits of an expression; `load` returns those of its ranks that are some. Tests up to `budget` ranks.

    Returns the count and how many were tested.
    """
    count = tested = 0
    for ranks in iter_rank_chunks(model, expression, bounds, budget):
        count += len(load(ranks)) if ranks else 0
        tested += len(ranks)
    return count, tested
