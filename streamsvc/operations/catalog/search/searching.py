"""Search: stage after stage, each walks the index from the most popular title down and stops at the page's end."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TSQUERY

from streamsvc.http import pagination
from streamsvc.models import SearchDoc, Title, TitleCard
from streamsvc.models.catalog.visibility import IN_CATALOG, VISIBLE
from streamsvc.operations.catalog.reading.audience import Audience
from streamsvc.operations.catalog.reading.lists import localized_cards
from streamsvc.operations.catalog.reading.version import CatalogSnapshot
from streamsvc.operations.catalog.search import lexemes
from streamsvc.operations.catalog.search.spelling import suggest_corrections
from streamsvc.operations.catalog.titles.json_fragments import encode_json, json_page, merge_json_objects
from streamsvc.rules.catalog import search
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import db

FTS_TABLE = sa.table("search_fts", sa.column("rowid", sa.BigInteger()), sa.column("search_fts", sa.Text()))


class SearchHit(NamedTuple):
    pk: int
    body: str
    rank: int
    match: str


class SearchPosition(NamedTuple):
    """Where a page starts: the stage, the rank after which it goes on, and how sure the hits before make it.

    Each hit makes it surer that nothing else was meant, an exact one as sure as three, and as sure as can be where the
    name has as many words.
    """

    stage: int = 0
    rank: int = 2**63 - 1
    confidence: int = 0


FIRST_POSITION = SearchPosition()
SURE_WORDS = 3


def search_page(query: dict, audience: Audience, snapshot: CatalogSnapshot) -> tuple[list[tuple[str, str]], str | None]:
    """(match, card) of a page's hits, best first, and the next page's cursor."""
    words = search.query_words(query["q"])
    scope = "search:" + " ".join(words)
    place = SearchPosition(*(pagination.decode_cursor(scope, query["cursor"]) or FIRST_POSITION))
    hits, ends = list_hits(words, audience, query["limit"] + 1, place)
    shown = hits[: query["limit"]]
    bodies = localized_cards(shown, query["locale"] or audience.language, snapshot)
    cursor = pagination.encode_cursor(scope, list(ends[len(shown) - 1])) if len(hits) > len(shown) else None
    return [(hit.match, body) for hit, body in zip(shown, bodies, strict=True)], cursor


def search_json(query: dict, audience: Audience, snapshot: CatalogSnapshot) -> str:
    """A page of hits as JSON."""
    hits, cursor = search_page(query, audience, snapshot)
    total = count_hits(search.query_words(query["q"]), audience) if query["include_total"] else None
    return json_page([merge_json_objects(card, encode_json({"match": match})) for match, card in hits], cursor, total)


def suggestions_json(query: dict, audience: Audience, snapshot: CatalogSnapshot) -> str:
    """What the typed letters may become, as JSON: id, kind, title, year, match."""
    hits, _ = search_page({"cursor": None, **query}, audience, snapshot)
    items = []
    for match, card in hits:
        whole = msgspec.json.decode(card)
        items.append({name: whole[name] for name in ("id", "kind", "title", "year")} | {"match": match})
    return encode_json({"items": items, "next_cursor": None})


def list_hits(
    words: list[str], audience: Audience, limit: int, position: SearchPosition = FIRST_POSITION
) -> tuple[list[SearchHit], list[SearchPosition]]:
    """Up to `most` hits from `place` on, and the place after each."""
    hits: list[SearchHit] = []
    ends: list[SearchPosition] = []
    who = audience.sql_parameters()

    def sure():
        return position.confidence + sum(match_weight(hit.match) for hit in hits)

    for at, stage in _iter_stages(words, position, sure):
        after = position.rank if at == position.stage else FIRST_POSITION.rank
        run, wanted = _hits_query(stage.expression, limit, audience.sees_all)
        for row in run.all(**who, wanted=wanted, after=after, limit=limit - len(hits)):
            hits.append(SearchHit(*row, stage.match))
            ends.append(SearchPosition(at, row.rank, sure()))
        if len(hits) == limit:
            break
    return hits, ends


def count_hits(words: list[str], audience: Audience) -> int:
    """How many hits there are on all pages together: reads them all, so only where it is asked for."""
    counts: list[tuple[str, int]] = []

    def sure():
        return sum(count * match_weight(match) for match, count in counts)

    for _, stage in _iter_stages(words, FIRST_POSITION, sure):
        run, wanted = _hit_count_query(stage.expression, audience.sees_all)
        counts.append(
            (stage.match, run.one(**audience.sql_parameters(), wanted=wanted, after=FIRST_POSITION.rank).found)
        )
    return sum(count for _, count in counts)


def match_weight(match: str) -> int:
    """How much surer a hit makes it that nothing else was meant."""
    return 3 if match == "exact" else 1


def _iter_stages(
    words: list[str], position: SearchPosition, confidence: Callable[[], int]
) -> Iterator[tuple[int, search.SearchStage]]:
    """The stages from a place on; guesses only where what is certain gave few hits, the last resort where none."""
    if not words:
        return
    certain = search.search_stages(words)
    yield from list(enumerate(certain))[position.stage :]
    if position.stage < len(certain) and confidence() >= search.MIN_CERTAIN_HITS:
        return
    corrected = suggest_corrections(search.distinctive_words(words))
    whole = search.search_stages(words, corrected)
    yield from list(enumerate(whole))[max(position.stage, len(certain)) :]
    if position.stage >= len(whole) or confidence() == 0:
        yield from enumerate(search.last_resort_stages(words, corrected), len(whole))


def _hits_query(expression: tuple, limit: int, sees_all: bool) -> tuple[CompiledStatement, str]:
    """The statement that finds an expression's titles soonest, and the expression in the database's language."""
    if db.engine.dialect.name == "sqlite":
        return HITS_ON_SQLITE[sees_all], search.format_fts5(expression)
    common = lexemes.load_lexeme_statistics().is_common(expression, limit)
    return (COMMON_HITS_ON_POSTGRESQL if common else HITS_ON_POSTGRESQL)[sees_all], search.format_tsquery(expression)


def _hit_count_query(expression: tuple, sees_all: bool) -> tuple[CompiledStatement, str]:
    """The statement that counts an expression's titles, and the expression in the database's language."""
    if db.engine.dialect.name == "sqlite":
        return COUNT_ON_SQLITE[sees_all], search.format_fts5(expression)
    return COUNT_ON_POSTGRESQL[sees_all], search.format_tsquery(expression)


_after = sa.bindparam("after", type_=sa.BigInteger())
_expression = sa.bindparam("wanted", type_=sa.Text())
_tsquery = sa.cast(_expression, TSQUERY())
_matching_ranks = (
    sa.select(SearchDoc.rank)
    .where(SearchDoc.words.op("@@")(_tsquery), SearchDoc.rank < _after)
    .cte("found")
    .prefix_with("MATERIALIZED", dialect="postgresql")
)
_docs_by_rank = (
    sa.select(SearchDoc.rank, SearchDoc.words)
    .where(SearchDoc.rank < _after)
    .order_by(SearchDoc.rank.desc())
    .offset(sa.literal_column("0"))  # keeps the condition on the words out of the walk
    .subquery("walked")
)


def _hits_statement(rank, *matches, shown):
    return CompiledStatement(
        sa.select(Title.pk, TitleCard.body, rank.label("rank"))
        .select_from(rank.table)
        .join(Title, Title.rank == rank)
        .join(TitleCard, sa.and_(TitleCard.title_pk == Title.pk, TitleCard.locale == ""))
        .where(*matches, shown)
        .order_by(rank.desc())
        .limit(sa.bindparam("limit"))
    )


def _hit_count_statement(rank, *matches, shown):
    titles = sa.select(sa.func.count().label("found")).select_from(rank.table).join(Title, Title.rank == rank)
    return CompiledStatement(titles.where(*matches, shown))


def _per_audience(*parts, make=_hits_statement):
    return {True: make(*parts, shown=IN_CATALOG), False: make(*parts, shown=VISIBLE)}


_fts_match = (FTS_TABLE.c.rowid, FTS_TABLE.c.search_fts.op("MATCH")(_expression), FTS_TABLE.c.rowid < _after)
COUNT_ON_SQLITE = _per_audience(*_fts_match, make=_hit_count_statement)
COUNT_ON_POSTGRESQL = _per_audience(_matching_ranks.c.rank, make=_hit_count_statement)
HITS_ON_SQLITE = _per_audience(*_fts_match)
"""The index gives the titles of an expression in the order of their rank, as far as they are asked for."""
HITS_ON_POSTGRESQL = _per_audience(_matching_ranks.c.rank)
"""The index gives all titles of an expression, which are then sorted: right where they are few."""
COMMON_HITS_ON_POSTGRESQL = _per_audience(_docs_by_rank.c.rank, _docs_by_rank.c.words.op("@@")(_tsquery))
"""The ranks are walked from the most popular title down, and each is tried: right where many titles match."""
