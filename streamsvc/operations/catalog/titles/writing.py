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
from streamsvc.operations.catalog.titles.json_fragments import encode_json
from streamsvc.rules import maturity
from streamsvc.rules.catalog import search
from streamsvc.rules.catalog.ranks import encode_rank
from streamsvc.rules.catalog.record import MAX_POPULARITY, encode_record
from streamsvc.rules.catalog.record import CatalogRecord as Record
from streamsvc.rules.catalog.text import fold_text
from streamsvc.rules.catalog.typos import sound_key
from streamsvc.storage.database import db, insert, lock_row, new_id

MAX_CACHED = 200_000
STORED_TITLES = sa.select(
    Title.pk, Title.id, Title.external_id, Title.rank, Title.played, Title.removed_at, TitleRecord.body
).join(TitleRecord, TitleRecord.title_pk == Title.pk)
TITLE_CHILD_MODELS = (TitleCard, TitleDetail, TitleRecord, TitleWindow, TitlePlan, TitleCredit)
BY_RANK = itemgetter(0)
SORT_KEYS = ("sort_title", "year_key", "rank")


@dataclass(frozen=True)
class TitleRow:
    """A title on its way into the tables."""

    record: Record
    body: str
    pk: int
    id: str
    existing: sa.Row | None = None
    """The row that is there already."""

    @cached_property
    def rank(self) -> int:
        played = self.existing.played if self.existing else 0
        return encode_rank(min((self.record.popularity or 0) + played, MAX_POPULARITY), self.pk)

    @cached_property
    def sort_keys(self) -> tuple:
        return fold_text(self.record.title), self.record.year or 0, self.rank


@dataclass
class WriteCache:
    """What one run of writing knows of the tables, so as not to ask again for each title."""

    facets: dict[tuple[str, str], int] = field(default_factory=dict)
    people: dict[str, tuple[int, str]] = field(default_factory=dict)
    words: set[str] = field(default_factory=set)

    def clear(self) -> None:
        """What was remembered was taken back."""
        for known in (self.facets, self.people, self.words):
            known.clear()

    def trim(self) -> None:
        for known in (self.people, self.words):
            if len(known) > MAX_CACHED:
                known.clear()


def lock_catalog() -> None:
    """Be alone in changing the catalogue until the unit of work ends."""
    new = {"id": 1, "version": clock.wall_time_ms(), "search_version": search.INDEX_VERSION}
    db.session.execute(insert(CatalogState).values(new).on_conflict_do_nothing())
    lock_row(CatalogState, 1)


def increment_catalog_version() -> None:
    """The catalogue changed: every ETag made of its version is over."""
    db.session.execute(sa.update(CatalogState).values(version=CatalogState.version + 1))


def write_titles(
    records: Iterable[Record], now: datetime, cache: WriteCache | None = None
) -> tuple[Counter, dict[str, int]]:
    """Put records into the catalogue, within the caller's unit of work: counts by outcome, external id → pk.

    A record that says what is known already changes nothing; of two with one external id the later counts.
    """
    cache = cache or WriteCache()
    cache.trim()
    lock_catalog()
    wanted = {record.external_id: (record, encode_record(record)) for record in records}
    known = {row.external_id: row for row in bulk.select_rows_in(STORED_TITLES, Title.external_id, wanted)}
    pks = {external_id: row.pk for external_id, row in known.items()}
    fresh = [external_id for external_id in wanted if external_id not in known]
    pks.update(zip(fresh, bulk.allocate_pks(Title, len(fresh)), strict=True))
    same = {e for e, row in known.items() if row.body == wanted[e][1] and row.removed_at is None}
    rows = [
        TitleRow(record, body, pks[e], known[e].id if e in known else new_id("ttl"), known.get(e))
        for e, (record, body) in wanted.items()
        if e not in same
    ]
    if rows:
        _store_titles(rows, now, cache)
        increment_catalog_version()
    return Counter(added=len(fresh), changed=len(rows) - len(fresh), unchanged=len(same)), pks


def _store_titles(rows: list[TitleRow], now: datetime, cache: WriteCache) -> None:
    changed = [row for row in rows if row.existing]
    if changed:
        _delete_child_rows(changed)
        _update_titles(changed, now)
    _insert_titles([row for row in rows if not row.existing], now)
    bulk.insert_rows(TitleRecord, ("title_pk", "body"), [(row.pk, row.body) for row in rows])
    people = _get_or_create_people(rows, cache)
    bulk.insert_rows(
        TitleCard,
        ("title_pk", "locale", "body"),
        [
            (row.pk, locale, body)
            for row in rows
            for locale, body in cards.card_json_by_locale(row.record, row.id).items()
        ],
    )
    bulk.insert_rows(
        TitleDetail,
        ("title_pk", "body", "media"),
        [(row.pk, cards.detail_json(row.record, people), _encode_if_set(row.record.media)) for row in rows],
    )
    _insert_windows_and_plans(rows)
    _insert_facets(rows, cache)
    _insert_credits(rows, people)
    _insert_search_docs(rows, cache)
    series.write_series([(row.pk, row.record) for row in rows], now)


def _delete_child_rows(rows):
    pks = [row.pk for row in rows]
    for model in TITLE_CHILD_MODELS:
        bulk.delete_rows(model, "title_pk", pks)
    bulk.delete_rows(SearchDoc, "rank", [row.existing.rank for row in rows])
    collections = sa.select(Facet.pk).where(Facet.kind == "collection")
    db.session.execute(
        sa.delete(TitleFacet).where(TitleFacet.title_pk.in_(pks), TitleFacet.facet_pk.not_in(collections))
    )


def _update_titles(rows, now):
    """Change what stays: the title's own row and the places that collections gave it."""
    for row in rows:
        values = dict(zip(TITLE_COLUMNS, _title_values(row), strict=True))
        stays = {"updated_at": now, "removed_at": None, **values}
        db.session.execute(sa.update(Title).where(Title.pk == row.pk).values(stays))
        keys = dict(zip(SORT_KEYS, row.sort_keys, strict=True))
        db.session.execute(sa.update(TitleFacet).where(TitleFacet.title_pk == row.pk).values(keys))


TITLE_COLUMNS = (
    "external_id", "kind", "title", *SORT_KEYS, "year", "runtime_s", "min_age", "age_gate", "has_artwork", "windowed",
    "plan_limited",
)  # fmt: skip


def _title_values(row):
    record = row.record
    min_age = record.rating.min_age if record.rating else None
    return (
        record.external_id, record.kind, record.title, *row.sort_keys, record.year, record.runtime_s, min_age,
        maturity.age_gate(min_age), bool(record.artwork), record.windows is not None, record.plans is not None,
    )  # fmt: skip


def _insert_titles(rows, now):
    bulk.insert_rows(
        Title,
        ("pk", "id", "added_at", "updated_at", "played", *TITLE_COLUMNS),
        [(row.pk, row.id, now, now, 0, *_title_values(row)) for row in rows],
    )


def _insert_windows_and_plans(rows):
    bulk.insert_rows(
        TitleWindow,
        ("title_pk", "country", "position", "starts_at", "ends_at"),
        [
            (row.pk, country, position, window.starts_at, window.ends_at)
            for row in rows
            for position, window in enumerate(row.record.windows or ())
            for country in window.countries or (EVERYWHERE,)
        ],
    )
    bulk.insert_rows(
        TitlePlan,
        ("title_pk", "plan_code"),
        [(row.pk, plan) for row in rows for plan in sorted(row.record.plans or ())],
    )


def _insert_facets(rows, cache):
    wanted = [(row, list(_record_facets(row.record))) for row in rows]
    locales = {("locale", locale) for row in rows for locale in row.record.localizations}
    pks = get_or_create_facets({facet for _, facets in wanted for facet in facets} | locales, cache)
    bulk.insert_rows(
        TitleFacet,
        ("facet_pk", "title_pk", *SORT_KEYS),
        sorted((pks[facet], row.pk, *row.sort_keys) for row, facets in wanted for facet in facets),
    )


def _record_facets(record):
    """What lists can be narrowed to and find the title: `en-US` is found under `en` too."""
    yield "kind", record.kind
    yield from (("genre", genre) for genre in record.genres)
    yield from (("country", country) for country in record.countries)
    tags = {tag for language in record.languages for tag in (language, language.split("-")[0])}
    yield from (("language", tag) for tag in sorted(tags))


def get_or_create_facets(wanted: set[tuple[str, str]], cache: WriteCache) -> dict[tuple[str, str], int]:
    """The keys of facets, which are made where they are new."""
    unknown = sorted(wanted - cache.facets.keys())
    if unknown:
        rows = [{"kind": kind, "code": code} for kind, code in unknown]
        db.session.execute(insert(Facet).values(rows).on_conflict_do_nothing())
        for row in db.session.execute(sa.select(Facet.pk, Facet.kind, Facet.code)):
            cache.facets[row.kind, row.code] = row.pk
    return cache.facets


def _get_or_create_people(rows, cache):
    names = {credit.name for row in rows for credit in row.record.credits}
    unknown = names - cache.people.keys()
    select = sa.select(Person.pk, Person.id, Person.name)
    cache.people.update(
        {row.name: (row.pk, row.id) for row in bulk.select_rows_in(select, Person.name, sorted(unknown))}
    )
    fresh = sorted(unknown - cache.people.keys())
    added = [(pk, new_id("per"), name) for pk, name in zip(bulk.allocate_pks(Person, len(fresh)), fresh, strict=True)]
    bulk.insert_rows(Person, ("pk", "id", "name"), added)
    cache.people.update({name: (pk, person_id) for pk, person_id, name in added})
    return cache.people


def _insert_credits(rows, people):
    bulk.insert_rows(
        TitleCredit,
        ("title_pk", "position", "person_pk", "role", "character"),
        [
            (row.pk, position, people[credit.name][0], credit.role, credit.character)
            for row in rows
            for position, credit in enumerate(row.record.credits)
        ],
    )


def _insert_search_docs(rows, cache):
    tokens = [(row.rank, search.record_tokens(row.record)) for row in rows]
    words = set().union(*(search.correctable_words(found) for _, found in tokens)) - cache.words
    insert_search_tokens(tokens, bulk.list_missing_values(SearchWord.word, words))
    cache.words |= words


def insert_search_tokens(tokens: list[tuple[int, set[str]]], words: Iterable[str]) -> None:
    """Put titles (rank, tokens) into the search index, and words that it does not have.

    In the order of their ranks: after each step back SQLite's index would write what it has gathered.
    """
    bulk.insert_rows(
        SearchDoc,
        ("rank", "words"),
        [(rank, format_search_tokens(found)) for rank, found in sorted(tokens, key=BY_RANK)],
    )
    bulk.insert_rows(SearchWord, ("word", "sound"), [(word, sound_key(word)) for word in words])


def format_search_tokens(tokens: set[str]) -> str:
    """Tokens as the database in use keeps them: words, or the literal of a tsvector."""
    if db.engine.dialect.name == "postgresql":
        return " ".join(f"'{token}'" for token in sorted(tokens))
    return " ".join(sorted(tokens))


def _encode_if_set(value):
    return encode_json(value) if value else None
