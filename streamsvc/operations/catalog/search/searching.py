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
from streamsvc.operations.catalog.reading.lists import told
from streamsvc.operations.catalog.reading.version import Known
from streamsvc.operations.catalog.search import lexemes
from streamsvc.operations.catalog.search.spelling import corrections
from streamsvc.operations.catalog.titles.json_fragments import dumped, joined, json_page
from streamsvc.rules.catalog import search
from streamsvc.storage.compiled_statements import Prepared
from streamsvc.storage.database import db

FTS = sa.table("search_fts", sa.column("rowid", sa.BigInteger()), sa.column("search_fts", sa.Text()))


class Hit(NamedTuple):
    pk: int
    body: str
    rank: int
    match: str


class Place(NamedTuple):
    """Where a page starts: the stage, the rank after which it goes on, and how sure the hits before make it.

    Each hit makes it surer that nothing else was meant, an exact one as sure as three, and as sure as can be where the
    name has as many words.
    """

    stage: int = 0
    rank: int = 2**63 - 1
    sure: int = 0


FIRST = Place()
SURE_WORDS = 3


def page(asked: dict, audience: Audience, known: Known) -> tuple[list[tuple[str, str]], str | None]:
    """(match, card) of a page's hits, best first, and the next page's cursor."""
    words = search.words_of(asked["q"])
    scope = "search:" + " ".join(words)
    place = Place(*(pagination.decode(scope, asked["cursor"]) or FIRST))
    hits, ends = find(words, audience, asked["limit"] + 1, place)
    shown = hits[: asked["limit"]]
    bodies = told(shown, asked["locale"] or audience.language, known)
    cursor = pagination.encode(scope, list(ends[len(shown) - 1])) if len(hits) > len(shown) else None
    return [(hit.match, body) for hit, body in zip(shown, bodies, strict=True)], cursor


def answer(asked: dict, audience: Audience, known: Known) -> str:
    """A page of hits as JSON."""
    hits, cursor = page(asked, audience, known)
    total = count(search.words_of(asked["q"]), audience) if asked["include_total"] else None
    return json_page([joined(card, dumped({"match": match})) for match, card in hits], cursor, total)


def suggestions(asked: dict, audience: Audience, known: Known) -> str:
    """What the typed letters may become, as JSON: id, kind, title, year, match."""
    hits, _ = page({"cursor": None, **asked}, audience, known)
    items = []
    for match, card in hits:
        whole = msgspec.json.decode(card)
        items.append({name: whole[name] for name in ("id", "kind", "title", "year")} | {"match": match})
    return dumped({"items": items, "next_cursor": None})


def find(words: list[str], audience: Audience, most: int, place: Place = FIRST) -> tuple[list[Hit], list[Place]]:
    """Up to `most` hits from `place` on, and the place after each."""
    hits: list[Hit] = []
    ends: list[Place] = []
    who = audience.parameters()

    def sure():
        return place.sure + sum(weight(hit.match) for hit in hits)

    for at, stage in _stages(words, place, sure):
        after = place.rank if at == place.stage else FIRST.rank
        run, wanted = _asked(stage.expression, most, audience.sees_all)
        for row in run.all(**who, wanted=wanted, after=after, limit=most - len(hits)):
            hits.append(Hit(*row, stage.match))
            ends.append(Place(at, row.rank, sure()))
        if len(hits) == most:
            break
    return hits, ends


def count(words: list[str], audience: Audience) -> int:
    """How many hits there are on all pages together: reads them all, so only where it is asked for."""
    counts: list[tuple[str, int]] = []

    def sure():
        return sum(count * weight(match) for match, count in counts)

    for _, stage in _stages(words, FIRST, sure):
        run, wanted = _counted(stage.expression, audience.sees_all)
        counts.append((stage.match, run.one(**audience.parameters(), wanted=wanted, after=FIRST.rank).found))
    return sum(count for _, count in counts)


def weight(match: str) -> int:
    """How much surer a hit makes it that nothing else was meant."""
    return 3 if match == "exact" else 1


def _stages(words: list[str], place: Place, sure: Callable[[], int]) -> Iterator[tuple[int, search.Stage]]:
    """The stages from a place on; guesses only where what is certain gave few hits, the last resort where none."""
    if not words:
        return
    certain = search.stages(words)
    yield from list(enumerate(certain))[place.stage :]
    if place.stage < len(certain) and sure() >= search.FEW:
        return
    corrected = corrections(search.telling(words))
    whole = search.stages(words, corrected)
    yield from list(enumerate(whole))[max(place.stage, len(certain)) :]
    if place.stage >= len(whole) or sure() == 0:
        yield from enumerate(search.last_resort(words, corrected), len(whole))


def _asked(expression: tuple, limit: int, sees_all: bool) -> tuple[Prepared, str]:
    """The statement that finds an expression's titles soonest, and the expression in the database's language."""
    if db.engine.dialect.name == "sqlite":
        return ON_SQLITE[sees_all], search.fts5(expression)
    common = lexemes.known().is_common(expression, limit)
    return (ON_POSTGRESQL_COMMON if common else ON_POSTGRESQL)[sees_all], search.tsquery(expression)


def _counted(expression: tuple, sees_all: bool) -> tuple[Prepared, str]:
    """The statement that counts an expression's titles, and the expression in the database's language."""
    if db.engine.dialect.name == "sqlite":
        return COUNT_ON_SQLITE[sees_all], search.fts5(expression)
    return COUNT_ON_POSTGRESQL[sees_all], search.tsquery(expression)


_after = sa.bindparam("after", type_=sa.BigInteger())
_wanted = sa.bindparam("wanted", type_=sa.Text())
_query = sa.cast(_wanted, TSQUERY())
_found = (
    sa.select(SearchDoc.rank)
    .where(SearchDoc.words.op("@@")(_query), SearchDoc.rank < _after)
    .cte("found")
    .prefix_with("MATERIALIZED", dialect="postgresql")
)
_walked = (
    sa.select(SearchDoc.rank, SearchDoc.words)
    .where(SearchDoc.rank < _after)
    .order_by(SearchDoc.rank.desc())
    .offset(sa.literal_column("0"))  # keeps the condition on the words out of the walk
    .subquery("walked")
)


def _statement(rank, *matches, shown):
    return Prepared(
        sa.select(Title.pk, TitleCard.body, rank.label("rank"))
        .select_from(rank.table)
        .join(Title, Title.rank == rank)
        .join(TitleCard, sa.and_(TitleCard.title_pk == Title.pk, TitleCard.locale == ""))
        .where(*matches, shown)
        .order_by(rank.desc())
        .limit(sa.bindparam("limit"))
    )


def _count(rank, *matches, shown):
    titles = sa.select(sa.func.count().label("found")).select_from(rank.table).join(Title, Title.rank == rank)
    return Prepared(titles.where(*matches, shown))


def _for_all(*parts, make=_statement):
    return {True: make(*parts, shown=IN_CATALOG), False: make(*parts, shown=VISIBLE)}


_indexed = (FTS.c.rowid, FTS.c.search_fts.op("MATCH")(_wanted), FTS.c.rowid < _after)
COUNT_ON_SQLITE = _for_all(*_indexed, make=_count)
COUNT_ON_POSTGRESQL = _for_all(_found.c.rank, make=_count)
ON_SQLITE = _for_all(*_indexed)
"""The index gives the titles of an expression in the order of their rank, as far as they are asked for."""
ON_POSTGRESQL = _for_all(_found.c.rank)
"""The index gives all titles of an expression, which are then sorted: right where they are few."""
ON_POSTGRESQL_COMMON = _for_all(_walked.c.rank, _walked.c.words.op("@@")(_query))
"""The ranks are walked from the most popular title down, and each is tried: right where many titles match."""
