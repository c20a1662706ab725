"""Search: runs one stage after another; each scans from the most popular title down and stops when the page is full."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TSQUERY

from streamsvc.http import pagination
from streamsvc.models import SearchDoc, Title, TitleCard
from streamsvc.models.catalog.visibility import Visibility, per_visibility
from streamsvc.operations.catalog.reading.audience import Audience
from streamsvc.operations.catalog.reading.shown_cards import shown_cards
from streamsvc.operations.catalog.reading.version import CatalogSnapshot
from streamsvc.operations.catalog.search import lexemes
from streamsvc.operations.catalog.search.spelling import suggest_corrections
from streamsvc.operations.catalog.titles.json_fragments import encode_json, json_page, merge_json_objects
from streamsvc.rules.catalog import search
from streamsvc.rules.catalog.inputs import SearchInput, SuggestionsInput
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import db

FTS_TABLE = sa.table("search_fts", sa.column("rowid", sa.BigInteger()), sa.column("search_fts", sa.Text()))


class SearchHit(NamedTuple):
    """A title found: its key, its card, its rank and the kind of match (exact, prefix, words or fuzzy)."""

    pk: int
    body: str
    rank: int
    match: str


class SearchPosition(NamedTuple):
    """Where a page starts: the stage, the rank after which it continues, and the confidence from earlier hits.

    Each hit raises the confidence that nothing else was meant, an exact one as much as three others.
    """

    stage: int = 0
    rank: int = 2**63 - 1
    confidence: int = 0


FIRST_POSITION = SearchPosition()


def search_page(
    query: SearchInput, audience: Audience, snapshot: CatalogSnapshot
) -> tuple[list[tuple[str, str]], str | None]:
    """Return (match, card) of a page's hits, best first, and the next cursor. Raises Invalid for a bad cursor."""
    words = search.query_words(query["q"])
    scope = "search:" + " ".join(words)
    position = SearchPosition(*(pagination.decode_cursor(scope, query["cursor"]) or FIRST_POSITION))
    hits, positions = list_hits(words, audience, query["limit"] + 1, position)
    page = hits[: query["limit"]]
    bodies = shown_cards(page, audience, snapshot, query["locale"])
    cursor = pagination.encode_cursor(scope, list(positions[len(page) - 1])) if len(hits) > len(page) else None
    return [(hit.match, body) for hit, body in zip(page, bodies, strict=True)], cursor


def search_json(query: SearchInput, audience: Audience, snapshot: CatalogSnapshot) -> str:
    """Return a page of hits."""
    hits, cursor = search_page(query, audience, snapshot)
    total = count_hits(search.query_words(query["q"]), audience) if query["include_total"] else None
    return json_page([merge_json_objects(card, encode_json({"match": match})) for match, card in hits], cursor, total)


def suggestions_json(query: SuggestionsInput, audience: Audience, snapshot: CatalogSnapshot) -> str:
    """Return titles that complete a partially typed query: {items: [{id, kind, title, year, match}], next_cursor}."""
    hits, _ = search_page({**query, "cursor": None, "include_total": False}, audience, snapshot)
    items = []
    for match, card in hits:
        title = msgspec.json.decode(card)
        items.append({name: title[name] for name in ("id", "kind", "title", "year")} | {"match": match})
    return encode_json({"items": items, "next_cursor": None})


def list_hits(
    words: list[str], audience: Audience, limit: int, position: SearchPosition = FIRST_POSITION
) -> tuple[list[SearchHit], list[SearchPosition]]:
    """Return up to `limit` hits from `position` on, and the position after each."""
    hits: list[SearchHit] = []
    positions: list[SearchPosition] = []
    parameters = audience.sql_parameters()

    def confidence() -> int:
        return position.confidence + sum(match_weight(hit.match) for hit in hits)

    for number, stage in _iter_stages(words, position, confidence):
        after = position.rank if number == position.stage else FIRST_POSITION.rank
        statement, expression = _hits_query(stage.expression, limit, audience.visibility)
        for row in statement.all(**parameters, expression=expression, after=after, limit=limit - len(hits)):
            hits.append(SearchHit(*(*row, stage.match)))
            positions.append(SearchPosition(number, row.rank, confidence()))
        if len(hits) == limit:
            break
    return hits, positions


def count_hits(words: list[str], audience: Audience) -> int:
    """Return the number of hits on all pages; it reads every hit, so it runs only on request."""
    counts: list[tuple[str, int]] = []

    def confidence() -> int:
        return sum(count * match_weight(match) for match, count in counts)

    for _, stage in _iter_stages(words, FIRST_POSITION, confidence):
        statement, expression = _hit_count_query(stage.expression, audience.visibility)
        [row] = statement.all(**audience.sql_parameters(), expression=expression, after=FIRST_POSITION.rank)
        counts.append((stage.match, row.hits))
    return sum(count for _, count in counts)


def match_weight(match: str) -> int:
    """Return how much a hit raises the confidence that nothing else was meant."""
    return 3 if match == "exact" else 1


def _iter_stages(
    words: list[str], position: SearchPosition, confidence: Callable[[], int]
) -> Iterator[tuple[int, search.SearchStage]]:
    """Yield (number, stage) from a position on.

    Guesses follow only if the certain stages gave few hits, and the last resort only if nothing was found.
    """
    if not words:
        return
    certain = search.search_stages(words)
    yield from list(enumerate(certain))[position.stage :]
    if position.stage < len(certain) and confidence() >= search.MIN_CERTAIN_HITS:
        return
    corrections = suggest_corrections(search.distinctive_words(words))
    all_stages = search.search_stages(words, corrections)
    yield from list(enumerate(all_stages))[max(position.stage, len(certain)) :]
    if position.stage >= len(all_stages) or confidence() == 0:
        yield from enumerate(search.last_resort_stages(words, corrections), len(all_stages))


def _hits_query(expression: tuple, limit: int, visibility: Visibility) -> tuple[CompiledStatement, str]:
    """Return the fastest statement for an expression's titles, and the expression in the database's syntax."""
    if db.engine.dialect.name == "sqlite":
        return HITS_ON_SQLITE[visibility], search.format_fts5(expression)
    is_common = lexemes.load_lexeme_statistics().is_common(expression, limit)
    statements = COMMON_HITS_ON_POSTGRESQL if is_common else HITS_ON_POSTGRESQL
    return statements[visibility], search.format_tsquery(expression)


def _hit_count_query(expression: tuple, visibility: Visibility) -> tuple[CompiledStatement, str]:
    """Return the statement that counts an expression's titles, and the expression in the database's syntax."""
    if db.engine.dialect.name == "sqlite":
        return COUNT_ON_SQLITE[visibility], search.format_fts5(expression)
    return COUNT_ON_POSTGRESQL[visibility], search.format_tsquery(expression)


_after = sa.bindparam("after", type_=sa.BigInteger())
_expression = sa.bindparam("expression", type_=sa.Text())
_tsquery = sa.cast(_expression, TSQUERY())
_matching_ranks = (
    sa.select(SearchDoc.rank)
    .where(SearchDoc.words.op("@@")(_tsquery), SearchDoc.rank < _after)
    .cte("matching")
    .prefix_with("MATERIALIZED", dialect="postgresql")
)
_docs_by_rank = (
    sa.select(SearchDoc.rank, SearchDoc.words)
    .where(SearchDoc.rank < _after)
    .order_by(SearchDoc.rank.desc())
    .offset(sa.literal_column("0"))  # keeps the condition on the words out of the ordered scan
    .subquery("scanned")
)


def _hits_statement(rank: Any, *conditions: Any, visible: Any) -> CompiledStatement:
    return CompiledStatement(
        sa.select(Title.pk, TitleCard.body, rank.label("rank"))
        .select_from(rank.table)
        .join(Title, Title.rank == rank)
        .join(TitleCard, sa.and_(TitleCard.title_pk == Title.pk, TitleCard.locale == ""))
        .where(*conditions, visible)
        .order_by(rank.desc())
        .limit(sa.bindparam("limit"))
    )


def _hit_count_statement(rank: Any, *conditions: Any, visible: Any) -> CompiledStatement:
    titles = sa.select(sa.func.count().label("hits")).select_from(rank.table).join(Title, Title.rank == rank)
    return CompiledStatement(titles.where(*conditions, visible))


def _per_audience(
    *parts: Any,
    build: Callable[..., CompiledStatement] = _hits_statement,
) -> dict[Visibility, CompiledStatement]:
    """Return the statement for each audience: operators, viewers, and viewers with title rules."""
    return per_visibility(lambda visible: build(*parts, visible=visible))


_fts_match = (FTS_TABLE.c.rowid, FTS_TABLE.c.search_fts.op("MATCH")(_expression), FTS_TABLE.c.rowid < _after)
COUNT_ON_SQLITE = _per_audience(*_fts_match, build=_hit_count_statement)
COUNT_ON_POSTGRESQL = _per_audience(_matching_ranks.c.rank, build=_hit_count_statement)
HITS_ON_SQLITE = _per_audience(*_fts_match)
"""The index returns an expression's titles in order of rank, and only as many as are fetched."""
HITS_ON_POSTGRESQL = _per_audience(_matching_ranks.c.rank)
"""The index returns all titles of an expression, which are then sorted: best if few match."""
COMMON_HITS_ON_POSTGRESQL = _per_audience(_docs_by_rank.c.rank, _docs_by_rank.c.words.op("@@")(_tsquery))
"""Scans from the most popular title down and tests each: best if many match."""
