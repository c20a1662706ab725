"""Search: runs one stage after another; each scans from the most popular hit down and stops when the page is full."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TSQUERY

from streamsvc import clock
from streamsvc.http import pagination
from streamsvc.models import ProgrammeEntry, SearchDoc, SearchEntry, Title, TitleCard
from streamsvc.models.catalog.visibility import Visibility, per_visibility
from streamsvc.operations.catalog.reading.audience import Audience
from streamsvc.operations.catalog.reading.filters import FilterShape, build_filters
from streamsvc.operations.catalog.reading.version import CatalogSnapshot
from streamsvc.operations.catalog.search import lexemes, live_hits, scanning
from streamsvc.operations.catalog.search.spelling import suggest_corrections
from streamsvc.rules.catalog.inputs import SearchInput, TitleFiltersInput
from streamsvc.rules.catalog.ranks import FIRST_RANK, EntryKind, entry_ranks
from streamsvc.rules.catalog.search import (
    MIN_CERTAIN_HITS,
    Expression,
    SearchStage,
    distinctive_words,
    format_fts5,
    format_tsquery,
    last_resort_stages,
    ordered_certain_stages,
    query_words,
    search_stages,
)
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import db

FTS_TABLE = scanning.fts_table(SearchDoc)
HitKind = Literal["title", EntryKind, "programme"]
KINDS: tuple[HitKind, ...] = ("title", "channel", "person", "collection", "episode", "programme")
"""The kinds of hits in the order in which a stage has them."""
LIVE_KINDS: dict[str, Callable[..., dict[int, Any]]] = {
    "channel": live_hits.load_channels,
    "programme": live_hits.load_programmes,
}
"""The kinds whose hits change with time alone, and what loads them."""
DEFAULT_KINDS: tuple[HitKind, ...] = ("title",)
MAX_COUNTED = 50_000
"""Ranks tested for one total."""
CERTAIN_WEIGHT = 100
"""The weight of a hit that has all words as typed; an exact one weighs three of them, and a hundred guesses one."""


class SearchHit(NamedTuple):
    """What was found: the card of the title, for an episode of its series, and the row if it is no title."""

    pk: int
    body: str
    rank: int
    match: str
    kind: str = "title"
    row: Any = None


class SearchPosition(NamedTuple):
    """Where a page starts: the stage, the rank after which it continues, the confidence from earlier hits, the kind.

    Each hit raises the confidence that nothing else was meant, by its weight.
    """

    stage: int = 0
    rank: int = FIRST_RANK
    confidence: int = 0
    kind: int = 0
    """The index of the kind among those that the search asks for."""


@dataclass(frozen=True)
class Search:
    """A search: the text as typed, its words, the kinds of hits, and which titles, channels and programmes count."""

    text: str
    words: list[str]
    kinds: tuple[HitKind, ...]
    audience: Audience
    shape: FilterShape
    parameters: dict[str, Any]
    scope: str
    """What its cursors are valid for."""
    filters: TitleFiltersInput
    now: datetime
    snapshot: CatalogSnapshot

    @property
    def is_plain(self) -> bool:
        """Whether nearly every title that matches is a hit, so that titles are read without a bound."""
        limited = self.shape.visibility == "restricted" or self.audience.facts.max_age is not None
        return self.shape == FilterShape(self.shape.visibility) and not limited

    @property
    def sql_parameters(self) -> dict[str, Any]:
        return self.audience.sql_parameters() | self.parameters

    @cached_property
    def corrections(self) -> dict[str, list[str]]:
        """What each distinctive word may be a misspelling of."""
        return suggest_corrections(distinctive_words(self.words), self.snapshot)


class HitsPage(NamedTuple):
    """Hits, the position after each, and the position to continue from if the scan stopped before the page was full."""

    hits: list[SearchHit]
    positions: list[SearchPosition]
    stopped_at: SearchPosition | None


FIRST_POSITION = SearchPosition()


def build_search(query: SearchInput, audience: Audience, snapshot: CatalogSnapshot) -> Search:
    """Return the search that a query describes. Raises Invalid."""
    words = query_words(query["q"])
    kinds = tuple(kind for kind in KINDS if kind in (query["kinds"] or DEFAULT_KINDS))
    shape, parameters = build_filters(query, audience.visibility, snapshot)
    scope = "search:" + " ".join(words)
    if kinds != DEFAULT_KINDS or shape != FilterShape(shape.visibility):
        scope += f":{kinds}:{shape[1:]}:{sorted(parameters.items())}"
    return Search(query["q"], words, kinds, audience, shape, parameters, scope, query, clock.now(), snapshot)


def search_page(search: Search, limit: int, cursor: str | None) -> tuple[list[SearchHit], str | None]:
    """Return a page's hits, best first, and the next cursor. Raises Invalid for a bad cursor."""
    position = SearchPosition(*(pagination.decode_cursor(search.scope, cursor) or FIRST_POSITION))
    found = list_hits(search, limit + 1, position)
    page = found.hits[:limit]
    after = found.positions[len(page) - 1] if len(found.hits) > len(page) else found.stopped_at
    return page, pagination.encode_cursor(search.scope, list(after)) if after else None


def list_hits(search: Search, limit: int, position: SearchPosition = FIRST_POSITION) -> HitsPage:
    """Return up to `limit` hits from `position` on."""
    hits: list[SearchHit] = []
    positions: list[SearchPosition] = []
    parameters, budget, is_plain = search.sql_parameters, scanning.MAX_RANKS, search.is_plain
    ranks: set[int] = set()
    is_first_page = position == FIRST_POSITION

    def confidence() -> int:
        return positions[-1].confidence if positions else position.confidence

    for number, stage in _iter_stages(search, position, confidence):
        weight = match_weight(stage.match)
        for kind in range(position.kind if number == position.stage else 0, len(search.kinds)):
            here = number == position.stage and kind == position.kind
            after = position.rank if here else FIRST_RANK
            if is_plain and search.kinds[kind] == "title":
                expression = stage.expression if is_first_page else stage.distinct
                rows = _plain_rows(expression, search.audience, parameters, after, limit)
                new = (SearchHit(row.pk, row.body, row.rank, stage.match) for row in rows if row.rank not in ranks)
                found = list(itertools.islice(new, limit - len(hits)))
                ranks.update(hit.rank for hit in found)
            else:
                found, after, tested = _scan_hits(search, kind, stage, after, limit - len(hits), budget)
                budget -= tested
            for hit in found:
                hits.append(hit)
                positions.append(SearchPosition(number, hit.rank, confidence() + weight, kind))
            if len(hits) == limit:
                return HitsPage(hits, positions, None)
            if budget <= 0:
                return HitsPage(hits, positions, SearchPosition(number, after, confidence(), kind))
    return HitsPage(hits, positions, None)


def _plain_rows(expression: Expression, audience: Audience, parameters: dict, after: int, limit: int) -> list[Any]:
    statement, text = _hits_query(expression, limit, audience.visibility)
    return statement.all(**parameters, expression=text, after=after, limit=limit)


def _scan_hits(
    search: Search, kind: int, stage: SearchStage, after: int, limit: int, budget: int
) -> tuple[list[SearchHit], int, int]:
    """Return hits of one kind, the last rank tested, and how many were."""
    name = search.kinds[kind]
    model, (lowest, above) = _ranks_of_kind(name, search.now)
    hits: list[SearchHit] = []
    tested = 0
    for ranks in scanning.iter_rank_chunks(model, stage.distinct, (lowest, min(after, above)), budget, limit):
        rows = _load_rows(search, name, ranks) if ranks else {}
        hits += [_hit_of_row(name, rank, rows[rank], stage.match) for rank in ranks if rank in rows]
        tested += len(ranks)
        after = ranks[-1] if ranks else after
        if len(hits) >= limit:
            break
    return hits[:limit], after, tested


def _hit_of_row(kind: str, rank: int, row: Any, match: str) -> SearchHit:
    if kind == "title":
        return SearchHit(row.pk, row.body, rank, match)
    return SearchHit(row.pk, row.body if kind == "episode" else "", rank, match, kind, row)


def _load_rows(search: Search, kind: HitKind, ranks: list[int]) -> dict[int, Any]:
    """Return those of a kind that the caller may see and that pass the filters, by rank."""
    if load := LIVE_KINDS.get(kind):
        return load(ranks, search.filters, search.audience, search.now)
    return scanning.load_rows(kind, ranks, search.shape, search.sql_parameters)


def _ranks_of_kind(kind: HitKind, now: datetime) -> tuple[Any, tuple[int, int]]:
    """Return the table that has a kind's tokens, and the range of its ranks."""
    if kind == "programme":
        return ProgrammeEntry, live_hits.programme_ranks(now)
    return (SearchDoc, (0, FIRST_RANK)) if kind == "title" else (SearchEntry, entry_ranks(kind))


def count_hits(search: Search) -> dict[str, Any]:
    """Return the total of all pages, exact if it is at most MAX_TOTAL and at most MAX_COUNTED ranks need testing."""
    counts: list[tuple[str, int]] = []
    budget = MAX_COUNTED

    def confidence() -> int:
        return sum(count * match_weight(match) for match, count in counts)

    for _, stage in _iter_stages(search, FIRST_POSITION, confidence):
        for kind in search.kinds:
            count, tested = _count_stage(search, kind, stage.distinct, budget)
            counts.append((stage.match, count))
            budget -= tested
            if budget <= 0:
                return pagination.total_members(sum(count for _, count in counts), is_cut=True)
    return pagination.total_members(sum(count for _, count in counts))


def _count_stage(search: Search, kind: HitKind, expression: Expression, budget: int) -> tuple[int, int]:
    """Return the number of hits, and how many ranks were tested to find them, at most `budget`."""
    if search.is_plain and kind == "title":
        statement, text = _hit_count_query(expression, search.shape.visibility)
        count = statement.all(**search.sql_parameters, expression=text, after=FIRST_RANK, limit=budget)[0]
        return count.hits, count.tested
    model, bounds = _ranks_of_kind(kind, search.now)
    return scanning.count_rows(model, expression, bounds, lambda ranks: _load_rows(search, kind, ranks), budget)


def match_weight(match: str) -> int:
    """Return how much a hit raises the confidence that nothing else was meant."""
    return {"exact": 3 * CERTAIN_WEIGHT, "fuzzy": 1}.get(match, CERTAIN_WEIGHT)


def _iter_stages(
    search: Search, position: SearchPosition, confidence: Callable[[], int]
) -> Iterator[tuple[int, SearchStage]]:
    """Yield (number, stage) from a position on.

    Guesses follow only if the certain stages gave few hits, and the last resort only if nothing was found, or for
    several words, of which one may be wrong, nothing but guesses.
    """
    words = search.words
    if not words:
        return
    certain = ordered_certain_stages(tuple(words))
    yield from list(enumerate(certain))[position.stage :]
    if position.stage < len(certain) and confidence() >= MIN_CERTAIN_HITS * CERTAIN_WEIGHT:
        return
    all_stages = search_stages(search.text, words, search.corrections)
    yield from list(enumerate(all_stages))[max(position.stage, len(certain)) :]
    if position.stage >= len(all_stages) or confidence() < (CERTAIN_WEIGHT if len(distinctive_words(words)) > 2 else 1):
        last = enumerate(last_resort_stages(search.text, words, search.corrections), len(all_stages))
        yield from (numbered for numbered in last if numbered[0] >= position.stage)


def _hits_query(expression: tuple, limit: int, visibility: Visibility) -> tuple[CompiledStatement, str]:
    """Return the fastest statement for an expression's titles, and the expression in the database's syntax."""
    if db.engine.dialect.name == "sqlite":
        return HITS_ON_SQLITE[visibility], format_fts5(expression)
    is_common = lexemes.load_lexeme_statistics().is_common(expression, limit)
    statements = COMMON_HITS_ON_POSTGRESQL if is_common else HITS_ON_POSTGRESQL
    return statements[visibility], format_tsquery(expression)


def _hit_count_query(expression: tuple, visibility: Visibility) -> tuple[CompiledStatement, str]:
    """Return the statement that counts an expression's titles, and the expression in the database's syntax."""
    if db.engine.dialect.name == "sqlite":
        return COUNT_ON_SQLITE[visibility], format_fts5(expression)
    return COUNT_ON_POSTGRESQL[visibility], format_tsquery(expression)


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
    ranks = sa.select(rank.label("rank")).where(*conditions).limit(sa.bindparam("limit")).subquery("ranks")
    hits = sa.case((visible, 1))
    titles = sa.select(sa.func.count(hits).label("hits"), sa.func.count().label("tested"))
    return CompiledStatement(titles.select_from(sa.join(ranks, Title, Title.rank == ranks.c.rank)))


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
