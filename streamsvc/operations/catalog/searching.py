"""Search: stage after stage, each walks the index from the most popular title down and stops at the page's end."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, TSQUERY

from streamsvc import pagination
from streamsvc.database import all_rows, db
from streamsvc.models import SearchDoc, SearchWord, Title, TitleCard
from streamsvc.models.catalog.visibility import IN_CATALOG, VISIBLE
from streamsvc.operations.catalog.audience import Audience
from streamsvc.operations.catalog.json import dumped, joined, json_page
from streamsvc.operations.catalog.lists import told
from streamsvc.operations.catalog.state import Known
from streamsvc.rules.catalog import search
from streamsvc.rules.catalog.typos import SHORTEST, one_slip_away

MOST_CORRECTIONS = 12
SHORTEST_RARE = 4  # letters
FTS = sa.table("search_fts", sa.column("rowid", sa.BigInteger()), sa.column("search_fts", sa.Text()))
_slips = sa.bindparam("words", type_=sa.Text())
KNOWN_WORDS = {
    "sqlite": sa.select(SearchWord.word).where(
        SearchWord.word.in_(sa.select(sa.func.json_each(_slips).table_valued("value").c.value))
    ),
    "postgresql": sa.select(SearchWord.word).where(
        SearchWord.word == sa.func.any(sa.func.string_to_array(_slips, ",", type_=ARRAY(sa.Text())))
    ),
}
"""Hundreds of words as one parameter: a statement that is the same for every word."""


class Hit(NamedTuple):
    pk: int
    body: str
    rank: int
    match: str


class Place(NamedTuple):
    """Where a page starts: the stage, the rank after which it goes on, and how many hits came before."""

    stage: int = 0
    rank: int = 2**63 - 1
    seen: int = 0


FIRST = Place()


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
    return json_page([joined(card, dumped({"match": match})) for match, card in hits], cursor)


def suggestions(asked: dict, audience: Audience, known: Known) -> str:
    """What the typed letters may become, as JSON: id, kind, title, year, match."""
    hits, _ = page({"cursor": None, **asked}, audience, known)
    items = []
    for match, card in hits:
        whole = msgspec.json.decode(card)
        items.append({name: whole[name] for name in ("id", "kind", "title", "year")} | {"match": match})
    return dumped({"items": items})


def find(words: list[str], audience: Audience, most: int, place: Place = FIRST) -> tuple[list[Hit], list[Place]]:
    """Up to `most` hits from `place` on, and the place after each."""
    hits: list[Hit] = []
    ends: list[Place] = []
    for at, stage in _stages(words, place, lambda: place.seen + len(hits)):
        after = place.rank if at == place.stage else FIRST.rank
        for row in _matching(stage.expression, words, audience, after, most - len(hits)):
            hits.append(Hit(*row, stage.match))
            ends.append(Place(at, row.rank, place.seen + len(hits)))
        if len(hits) == most:
            break
    return hits, ends


def _stages(words: list[str], place: Place, seen: Callable[[], int]) -> Iterator[tuple[int, search.Stage]]:
    """The stages from a place on; guesses only where what is certain gave few hits, the last resort where none."""
    if not words:
        return
    certain = search.stages(words)
    yield from list(enumerate(certain))[place.stage :]
    if place.stage < len(certain) and seen() >= search.FEW:
        return
    corrected = corrections(search.telling(words))
    whole = search.stages(words, corrected)
    yield from list(enumerate(whole))[max(place.stage, len(certain)) :]
    if place.stage >= len(whole) or seen() == 0:
        yield from enumerate(search.last_resort(words, corrected), len(whole))


def corrections(words: list[str]) -> dict[str, list[str]]:
    """For each word of a query the known words that are one slip away from it; short known words are meant as typed."""
    found = {}
    for word in set(words):
        slips = sorted(one_slip_away(word))
        if slips:
            known = _known([word, *slips])
            certain = len(word) <= SHORTEST and word in known
            found[word] = [] if certain else _likeliest(word, known)
    return found


def _likeliest(word: str, known: list[str]) -> list[str]:
    """The known words that were most likely meant: people seldom mistype the first letter, nor often the length."""
    others = (other for other in known if other != word)
    return sorted(others, key=lambda other: (other[0] != word[0], abs(len(other) - len(word)), other))[
        :MOST_CORRECTIONS
    ]


def _known(words: list[str]) -> list[str]:
    """Those of the words that some title or person has."""
    dialect = db.engine.dialect.name
    given = dumped(words) if dialect == "sqlite" else ",".join(words)
    return sorted(row.word for row in all_rows(KNOWN_WORDS[dialect], {"words": given}))


def _matching(expression: tuple, words: list[str], audience: Audience, after: int, limit: int) -> list[sa.Row]:
    """Titles that match, from the most popular one below `after` down."""
    parameters = {**audience.parameters(), "after": after, "limit": limit}
    if db.engine.dialect.name == "sqlite":
        statement, wanted = ON_SQLITE, search.fts5(expression)
    else:
        rare = any(len(word) >= SHORTEST_RARE for word in search.telling(words))
        statement, wanted = ON_POSTGRESQL_RARE if rare else ON_POSTGRESQL, search.tsquery(expression)
    return all_rows(statement[audience.sees_all], {**parameters, "wanted": wanted})


_wanted = sa.bindparam("wanted", type_=sa.Text())
_in_docs = SearchDoc.words.op("@@")(sa.cast(_wanted, TSQUERY()))
_found = sa.select(SearchDoc.rank).where(_in_docs).cte("found").prefix_with("MATERIALIZED", dialect="postgresql")


def _statement(source, rank, *matches, shown):
    return (
        sa.select(Title.pk, TitleCard.body, rank.label("rank"))
        .select_from(source)
        .join(Title, Title.rank == rank)
        .join(TitleCard, sa.and_(TitleCard.title_pk == Title.pk, TitleCard.locale == ""))
        .where(*matches, rank < sa.bindparam("after", type_=sa.BigInteger()), shown)
        .order_by(rank.desc())
        .limit(sa.bindparam("limit"))
    )


def _for_all(*parts):
    return {True: _statement(*parts, shown=IN_CATALOG), False: _statement(*parts, shown=VISIBLE)}


ON_SQLITE = _for_all(FTS, FTS.c.rowid, FTS.c.search_fts.op("MATCH")(_wanted))
ON_POSTGRESQL = _for_all(SearchDoc.__table__, SearchDoc.rank, _in_docs)
"""PostgreSQL may walk the ranks and test each title: right for short words, which many titles have."""
ON_POSTGRESQL_RARE = _for_all(_found, _found.c.rank)
"""The word index gives the few titles, which are then sorted: right as soon as one word is long."""
