"""Titles into the catalogue: the record is kept, everything else is made from it anew."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from operator import itemgetter

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.models import (
    CatalogState,
    Facet,
    Person,
    SearchDoc,
    SearchWord,
    Title,
    TitleCard,
    TitleCredit,
    TitleDetail,
    TitleFacet,
    TitlePlan,
    TitleRecord,
    TitleWindow,
)
from streamsvc.models.catalog.visibility import EVERYWHERE
from streamsvc.operations.catalog.titles import bulk, cards, series
from streamsvc.operations.catalog.titles.json_fragments import dumped
from streamsvc.rules import maturity
from streamsvc.rules.catalog import search
from streamsvc.rules.catalog.ranks import rank
from streamsvc.rules.catalog.record import MOST_POPULAR, encoded
from streamsvc.rules.catalog.record import Title as Record
from streamsvc.rules.catalog.text import fold
from streamsvc.rules.catalog.typos import sound
from streamsvc.storage.database import db, insert, lock, new_id

MOST_REMEMBERED = 200_000
BY_RECORD = sa.select(
    Title.pk, Title.id, Title.external_id, Title.rank, Title.played, Title.removed_at, TitleRecord.body
).join(TitleRecord, TitleRecord.title_pk == Title.pk)
OF_TITLE = (TitleCard, TitleDetail, TitleRecord, TitleWindow, TitlePlan, TitleCredit)
RANK = itemgetter(0)
SORT_KEYS = ("sort_title", "year_key", "rank")


@dataclass(frozen=True)
class Row:
    """A title on its way into the tables."""

    record: Record
    body: str
    pk: int
    id: str
    known: sa.Row | None = None
    """The row that is there already."""

    @cached_property
    def rank(self) -> int:
        played = self.known.played if self.known else 0
        return rank(min((self.record.popularity or 0) + played, MOST_POPULAR), self.pk)

    @cached_property
    def sort_keys(self) -> tuple:
        return fold(self.record.title), self.record.year or 0, self.rank


@dataclass
class Memory:
    """What one run of writing knows of the tables, so as not to ask again for each title."""

    facets: dict[tuple[str, str], int] = field(default_factory=dict)
    people: dict[str, tuple[int, str]] = field(default_factory=dict)
    words: set[str] = field(default_factory=set)

    def forget(self) -> None:
        """What was remembered was taken back."""
        for known in (self.facets, self.people, self.words):
            known.clear()

    def forget_much(self) -> None:
        for known in (self.people, self.words):
            if len(known) > MOST_REMEMBERED:
                known.clear()


def begin() -> None:
    """Be alone in changing the catalogue until the unit of work ends."""
    new = {"id": 1, "version": clock.wall_ms(), "search_version": search.VERSION}
    db.session.execute(insert(CatalogState).values(new).on_conflict_do_nothing())
    lock(CatalogState, 1)


def touch() -> None:
    """The catalogue changed: every ETag made of its version is over."""
    db.session.execute(sa.update(CatalogState).values(version=CatalogState.version + 1))


def write(records: Iterable[Record], now: datetime, memory: Memory | None = None) -> tuple[Counter, dict[str, int]]:
    """Put records into the catalogue, within the caller's unit of work: counts by outcome, external id → pk.

    A record that says what is known already changes nothing; of two with one external id the later counts.
    """
    memory = memory or Memory()
    memory.forget_much()
    begin()
    wanted = {record.external_id: (record, encoded(record)) for record in records}
    known = {row.external_id: row for row in bulk.rows_by(BY_RECORD, Title.external_id, wanted)}
    pks = {external_id: row.pk for external_id, row in known.items()}
    fresh = [external_id for external_id in wanted if external_id not in known]
    pks.update(zip(fresh, bulk.new_pks(Title, len(fresh)), strict=True))
    same = {e for e, row in known.items() if row.body == wanted[e][1] and row.removed_at is None}
    rows = [
        Row(record, body, pks[e], known[e].id if e in known else new_id("ttl"), known.get(e))
        for e, (record, body) in wanted.items()
        if e not in same
    ]
    if rows:
        _store(rows, now, memory)
        touch()
    return Counter(added=len(fresh), changed=len(rows) - len(fresh), unchanged=len(same)), pks


def _store(rows: list[Row], now: datetime, memory: Memory) -> None:
    changed = [row for row in rows if row.known]
    if changed:
        _clear(changed)
        _update(changed, now)
    _add_titles([row for row in rows if not row.known], now)
    bulk.add(TitleRecord, ("title_pk", "body"), [(row.pk, row.body) for row in rows])
    people = _people(rows, memory)
    bulk.add(
        TitleCard,
        ("title_pk", "locale", "body"),
        [(row.pk, locale, body) for row in rows for locale, body in cards.cards(row.record, row.id).items()],
    )
    bulk.add(
        TitleDetail,
        ("title_pk", "body", "media"),
        [(row.pk, cards.detail(row.record, people), _json(row.record.media)) for row in rows],
    )
    _add_rights(rows)
    _add_facets(rows, memory)
    _add_credits(rows, people)
    _add_search(rows, memory)
    series.write([(row.pk, row.record) for row in rows], now)


def _clear(rows):
    pks = [row.pk for row in rows]
    for model in OF_TITLE:
        bulk.remove(model, "title_pk", pks)
    bulk.remove(SearchDoc, "rank", [row.known.rank for row in rows])
    collections = sa.select(Facet.pk).where(Facet.kind == "collection")
    db.session.execute(
        sa.delete(TitleFacet).where(TitleFacet.title_pk.in_(pks), TitleFacet.facet_pk.not_in(collections))
    )


def _update(rows, now):
    """Change what stays: the title's own row and the places that collections gave it."""
    for row in rows:
        values = dict(zip(COLUMNS, _columns(row), strict=True))
        stays = {"updated_at": now, "removed_at": None, **values}
        db.session.execute(sa.update(Title).where(Title.pk == row.pk).values(stays))
        keys = dict(zip(SORT_KEYS, row.sort_keys, strict=True))
        db.session.execute(sa.update(TitleFacet).where(TitleFacet.title_pk == row.pk).values(keys))


COLUMNS = (
    "external_id", "kind", "title", *SORT_KEYS, "year", "runtime_s", "min_age", "age_gate", "has_artwork", "windowed",
    "plan_limited",
)  # fmt: skip


def _columns(row):
    record = row.record
    min_age = record.rating.min_age if record.rating else None
    return (
        record.external_id, record.kind, record.title, *row.sort_keys, record.year, record.runtime_s, min_age,
        maturity.gate(min_age), bool(record.artwork), record.windows is not None, record.plans is not None,
    )  # fmt: skip


def _add_titles(rows, now):
    bulk.add(
        Title,
        ("pk", "id", "added_at", "updated_at", "played", *COLUMNS),
        [(row.pk, row.id, now, now, 0, *_columns(row)) for row in rows],
    )


def _add_rights(rows):
    bulk.add(
        TitleWindow,
        ("title_pk", "country", "position", "starts_at", "ends_at"),
        [
            (row.pk, country, position, window.starts_at, window.ends_at)
            for row in rows
            for position, window in enumerate(row.record.windows or ())
            for country in window.countries or (EVERYWHERE,)
        ],
    )
    bulk.add(
        TitlePlan,
        ("title_pk", "plan_code"),
        [(row.pk, plan) for row in rows for plan in sorted(row.record.plans or ())],
    )


def _add_facets(rows, memory):
    wanted = [(row, list(_facets_of(row.record))) for row in rows]
    locales = {("locale", locale) for row in rows for locale in row.record.localizations}
    pks = facet_pks({facet for _, facets in wanted for facet in facets} | locales, memory)
    bulk.add(
        TitleFacet,
        ("facet_pk", "title_pk", *SORT_KEYS),
        sorted((pks[facet], row.pk, *row.sort_keys) for row, facets in wanted for facet in facets),
    )


def _facets_of(record):
    """What lists can be narrowed to and find the title: `en-US` is found under `en` too."""
    yield "kind", record.kind
    yield from (("genre", genre) for genre in record.genres)
    yield from (("country", country) for country in record.countries)
    tags = {tag for language in record.languages for tag in (language, language.split("-")[0])}
    yield from (("language", tag) for tag in sorted(tags))


def facet_pks(wanted: set[tuple[str, str]], memory: Memory) -> dict[tuple[str, str], int]:
    """The keys of facets, which are made where they are new."""
    unknown = sorted(wanted - memory.facets.keys())
    if unknown:
        rows = [{"kind": kind, "code": code} for kind, code in unknown]
        db.session.execute(insert(Facet).values(rows).on_conflict_do_nothing())
        for row in db.session.execute(sa.select(Facet.pk, Facet.kind, Facet.code)):
            memory.facets[row.kind, row.code] = row.pk
    return memory.facets


def _people(rows, memory):
    names = {credit.name for row in rows for credit in row.record.credits}
    unknown = names - memory.people.keys()
    select = sa.select(Person.pk, Person.id, Person.name)
    memory.people.update({row.name: (row.pk, row.id) for row in bulk.rows_by(select, Person.name, sorted(unknown))})
    fresh = sorted(unknown - memory.people.keys())
    added = [(pk, new_id("per"), name) for pk, name in zip(bulk.new_pks(Person, len(fresh)), fresh, strict=True)]
    bulk.add(Person, ("pk", "id", "name"), added)
    memory.people.update({name: (pk, person_id) for pk, person_id, name in added})
    return memory.people


def _add_credits(rows, people):
    bulk.add(
        TitleCredit,
        ("title_pk", "position", "person_pk", "role", "character"),
        [
            (row.pk, position, people[credit.name][0], credit.role, credit.character)
            for row in rows
            for position, credit in enumerate(row.record.credits)
        ],
    )


def _add_search(rows, memory):
    tokens = [(row.rank, search.tokens(row.record)) for row in rows]
    words = set().union(*(search.vocabulary(found) for _, found in tokens)) - memory.words
    add_tokens(tokens, bulk.missing(SearchWord.word, words))
    memory.words |= words


def add_tokens(tokens: list[tuple[int, set[str]]], words: Iterable[str]) -> None:
    """Put titles (rank, tokens) into the search index, and words that it does not have.

    In the order of their ranks: after each step back SQLite's index would write what it has gathered.
    """
    bulk.add(SearchDoc, ("rank", "words"), [(rank, search_text(found)) for rank, found in sorted(tokens, key=RANK)])
    bulk.add(SearchWord, ("word", "sound"), [(word, sound(word)) for word in words])


def search_text(tokens: set[str]) -> str:
    """Tokens as the database in use keeps them: words, or the literal of a tsvector."""
    if db.engine.dialect.name == "postgresql":
        return " ".join(f"'{token}'" for token in sorted(tokens))
    return " ".join(sorted(tokens))


def _json(value):
    return dumped(value) if value else None
