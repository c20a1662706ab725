"""Writes titles: stores the record and rebuilds every other row from it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.models import (
    CatalogState,
    EpisodePlan,
    Facet,
    MediaFile,
    PartWindow,
    SearchDoc,
    Title,
    TitleAgeRating,
    TitleCard,
    TitleCredit,
    TitleDetail,
    TitleFacet,
    TitlePlan,
    TitleRecord,
    TitleWindow,
)
from streamsvc.models.catalog.facets import LINK_KEYS
from streamsvc.models.catalog.visibility import EVERYWHERE
from streamsvc.operations.catalog.titles import bulk, cards, extras, media_files, search_index, series
from streamsvc.operations.catalog.titles.json_fragments import encode_json
from streamsvc.operations.catalog.titles.people import CreditedPerson, PeopleByKey, credit_key, get_or_create_people
from streamsvc.rules import maturity
from streamsvc.rules.catalog import tokens
from streamsvc.rules.catalog.inputs import PICTURE_HEIGHTS
from streamsvc.rules.catalog.ranks import encode_rank
from streamsvc.rules.catalog.record import MAX_POPULARITY, CatalogRecord, encode_record
from streamsvc.rules.catalog.text import slugify
from streamsvc.storage.database import db, insert, lock_row, new_id

MAX_CACHED = 200_000
STORED_TITLES = sa.select(
    Title.pk, Title.id, Title.external_id, Title.rank, Title.played, Title.removed_at, TitleRecord.body
).join(TitleRecord, TitleRecord.title_pk == Title.pk)
TITLE_CHILD_MODELS = (
    MediaFile, TitleCard, TitleDetail, TitleRecord, TitleAgeRating, TitleWindow, TitlePlan, TitleCredit, PartWindow,
    EpisodePlan,
)  # fmt: skip
TRACK_KINDS = {"audio": ("audio", "audio_description"), "subtitle": ("subtitle", "caption")}
"""The kinds of track of each facet."""


@dataclass(frozen=True)
class TitleRow:
    """A title to be written."""

    record: CatalogRecord
    body: str
    pk: int
    id: str
    existing: sa.Row | None = None
    """The title's stored row, if there is one."""

    @cached_property
    def rank(self) -> int:
        played = self.existing.played if self.existing else 0
        return encode_rank(min((self.record.popularity or 0) + played, MAX_POPULARITY), self.pk)

    @cached_property
    def link_keys(self) -> tuple:
        return self.record.sort_key, self.record.year or 0, self.rank, self.record.runtime_s


@dataclass
class WriteCache:
    """Facets, people and words already in the tables, so that a run of writes queries each only once."""

    facets: dict[tuple[str, str], int] = field(default_factory=dict)
    people: PeopleByKey = field(default_factory=dict)
    words: set[str] = field(default_factory=set)

    def clear(self) -> None:
        """Empty the cache after a rollback, since cached rows may be gone."""
        for cache in (self.facets, self.people, self.words):
            cache.clear()

    def trim(self) -> None:
        """Empty the caches that exceed MAX_CACHED entries."""
        for cache in (self.facets, self.people, self.words):
            if len(cache) > MAX_CACHED:
                cache.clear()


def lock_catalog() -> None:
    """Lock the catalogue against other writers until the transaction ends."""
    new = {"id": 1, "version": clock.wall_time_ms(), "search_version": tokens.INDEX_VERSION}
    db.session.execute(insert(CatalogState).values(new).on_conflict_do_nothing())
    lock_row(CatalogState, 1)


def increment_catalog_version() -> None:
    """Mark the catalogue as changed, which invalidates every ETag computed from its version."""
    db.session.execute(sa.update(CatalogState).values(version=CatalogState.version + 1))


def write_titles(
    records: Iterable[CatalogRecord], now: datetime, cache: WriteCache | None = None
) -> tuple[Counter, dict[str, int]]:
    """Create or update titles in the caller's transaction; return counts by outcome, and keys by external id.

    A record equal to the stored one changes nothing. Of two records with one external id the later counts.
    """
    cache = cache or WriteCache()
    cache.trim()
    lock_catalog()
    encoded = {record.external_id: (record, encode_record(record)) for record in records}
    existing = {row.external_id: row for row in bulk.select_rows_in(STORED_TITLES, Title.external_id, encoded)}
    pks = {external_id: row.pk for external_id, row in existing.items()}
    added = [external_id for external_id in encoded if external_id not in existing]
    pks.update(zip(added, bulk.allocate_pks(Title, len(added)), strict=True))
    unchanged = {name for name, row in existing.items() if row.body == encoded[name][1] and row.removed_at is None}
    rows = [
        TitleRow(record, body, pks[name], existing[name].id if name in existing else new_id("ttl"), existing.get(name))
        for name, (record, body) in encoded.items()
        if name not in unchanged
    ]
    if rows:
        _store_titles(rows, now, cache)
        increment_catalog_version()
    return Counter(added=len(added), changed=len(rows) - len(added), unchanged=len(unchanged)), pks


def _store_titles(rows: list[TitleRow], now: datetime, cache: WriteCache) -> None:
    changed = [row for row in rows if row.existing]
    credited = _list_credited_people(rows, cache)
    if changed:
        _delete_child_rows(changed)
        _update_titles(changed, now)
    _insert_titles([row for row in rows if not row.existing], now)
    bulk.insert_rows(TitleRecord, ("title_pk", "body"), [(row.pk, row.body) for row in rows])
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
        ("title_pk", "body", "media", "variants", "drm_keys"),
        [
            (
                row.pk,
                cards.detail_json(row.record, credited[row.pk]),
                _encode_if_set(row.record.media),
                _encode_if_set(row.record.variants),
                _encode_if_set(row.record.drm_keys),
            )
            for row in rows
        ],
    )
    extra_ids = extras.write_extras([(row.pk, row.record) for row in rows], now)
    media_files.insert_media_files([(row.pk, row.record) for row in rows], extra_ids)
    _insert_age_ratings(rows)
    _insert_windows_and_plans(rows)
    _insert_facets(rows, cache)
    _insert_credits(rows, credited)
    search_index.insert_docs([(row.rank, row.record) for row in rows], cache.words)
    series.write_series([(row.pk, row.record) for row in rows], now)
    search_index.replace_episodes([(row.pk, row.rank, row.record) for row in rows])
    search_index.insert_new_people(
        (person.pk, credit.name, row.rank)
        for row in rows
        for credit, person in zip(row.record.credits, credited[row.pk], strict=True)
    )


def _delete_child_rows(rows: list[Any]) -> None:
    pks = [row.pk for row in rows]
    for model in TITLE_CHILD_MODELS:
        bulk.delete_rows(model, "title_pk", pks)
    bulk.delete_rows(SearchDoc, "rank", [row.existing.rank for row in rows])
    collections = sa.select(Facet.pk).where(Facet.kind == "collection")
    db.session.execute(
        sa.delete(TitleFacet).where(TitleFacet.title_pk.in_(pks), TitleFacet.facet_pk.not_in(collections))
    )


def _update_titles(rows: list[Any], now: datetime) -> None:
    """Update the rows that are kept: the title's own and its links to collections."""
    for row in rows:
        values = dict(zip(TITLE_COLUMNS, _title_values(row), strict=True))
        values = {"updated_at": now, "removed_at": None, **values}
        db.session.execute(sa.update(Title).where(Title.pk == row.pk).values(values))
        keys = dict(zip(LINK_KEYS, row.link_keys, strict=True))
        db.session.execute(sa.update(TitleFacet).where(TitleFacet.title_pk == row.pk).values(keys))


TITLE_COLUMNS = (
    "external_id", "kind", "title", *LINK_KEYS, "year", "min_age", "age_gate", "rated_per_country", "has_artwork",
    "windowed", "plan_limited",
)  # fmt: skip


def _title_values(row: Any) -> tuple:
    record = row.record
    facts = record.facts
    strictest = maturity.age_gate(facts.min_age_in(None))
    return (
        record.external_id, record.kind, record.title, *row.link_keys, record.year, facts.min_age, strictest,
        bool(record.age_ratings), bool(record.artwork), record.windows is not None, record.plans is not None,
    )  # fmt: skip


def _insert_titles(rows: list[Any], now: datetime) -> None:
    bulk.insert_rows(
        Title,
        ("pk", "id", "added_at", "updated_at", "played", *TITLE_COLUMNS),
        [(row.pk, row.id, now, now, 0, *_title_values(row)) for row in rows],
    )


def _insert_age_ratings(rows: list[Any]) -> None:
    bulk.insert_rows(
        TitleAgeRating,
        ("title_pk", "country", "label", "min_age", "age_gate"),
        [
            (row.pk, country, rating.label, rating.min_age, maturity.age_gate(rating.min_age))
            for row in rows
            for country, rating in row.record.ratings_by_country.items()
        ],
    )


def _insert_windows_and_plans(rows: list[Any]) -> None:
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


def _insert_facets(rows: list[Any], cache: WriteCache) -> None:
    facets_by_row = [(row, list(_record_facets(row.record))) for row in rows]
    locales = {("locale", locale) for row in rows for locale in row.record.localizations}
    ratings = {("rating", country) for row in rows for country in row.record.ratings_by_country}
    studios = {("studio", slugify(name)): name for row in rows for name in row.record.studios}
    facets = {facet for _, facets in facets_by_row for facet in facets}
    pks = get_or_create_facets(facets | locales | ratings, cache, studios)
    bulk.insert_rows(
        TitleFacet,
        ("facet_pk", "title_pk", *LINK_KEYS),
        sorted((pks[facet], row.pk, *row.link_keys) for row, facets in facets_by_row for facet in facets),
    )


def _record_facets(record: CatalogRecord) -> Iterator[tuple[str, str]]:
    """Yield the (kind, code) facets by which lists find the title; `en-US` is also found by `en`."""
    yield "kind", record.kind
    yield from (("genre", genre) for genre in record.genres)
    yield from (("tag", tag) for tag in record.tags)
    yield from (("studio", slugify(name)) for name in record.studios)
    yield from (("country", country) for country in record.countries)
    tags = {tag for language in record.languages for tag in (language, language.split("-")[0])}
    yield from (("language", tag) for tag in sorted(tags))
    yield from media_facets(record)


def media_facets(record: CatalogRecord) -> Iterator[tuple[str, str]]:
    """Yield the facets of a title's tracks and files; one for each of PICTURE_HEIGHTS up to its best."""
    for kind, track_kinds in TRACK_KINDS.items():
        languages = {track.language for track in record.tracks if track.kind in track_kinds}
        tags = {tag for language in languages for tag in (language, language.split("-")[0])}
        yield from ((kind, tag) for tag in sorted(tags))
    variants = [*record.variants]
    for season in record.seasons:
        for episode in season.episodes:
            variants += episode.variants
    best = max((variant.height or 0 for variant in variants), default=0)
    yield from (("height", str(height)) for height in PICTURE_HEIGHTS if height <= best)


def replace_media_facets(titles: list[tuple[int, int, CatalogRecord]]) -> None:
    """Write the facets of the tracks and files of titles (pk, rank, record) whose other rows are as they should be."""
    facets = {pk: set(media_facets(record)) for pk, _, record in titles}
    pks = get_or_create_facets(set().union(*facets.values()), WriteCache())
    kinds = sa.select(Facet.pk).where(Facet.kind.in_([*TRACK_KINDS, "height"]))
    for chunk in bulk.in_chunks(list(facets)):
        db.session.execute(sa.delete(TitleFacet).where(TitleFacet.title_pk.in_(chunk), TitleFacet.facet_pk.in_(kinds)))
    keys = bulk.select_rows_in(sa.select(Title.pk, *(getattr(Title, key) for key in LINK_KEYS)), Title.pk, facets)
    bulk.insert_rows(
        TitleFacet,
        ("facet_pk", "title_pk", *LINK_KEYS),
        sorted((pks[facet], row.pk, *row[1:]) for row in keys for facet in facets[row.pk]),
    )


def get_or_create_facets(
    facets: set[tuple[str, str]], cache: WriteCache, names: Mapping[tuple[str, str], str] | None = None
) -> dict[tuple[str, str], int]:
    """Return the keys of facets by (kind, code), creating those that are new, with their names if they have any."""
    missing = sorted(facets - cache.facets.keys())
    if missing:
        rows = [{"kind": kind, "code": code, "name": (names or {}).get((kind, code))} for kind, code in missing]
        for chunk in bulk.in_chunks(rows):
            db.session.execute(insert(Facet).values(chunk).on_conflict_do_nothing())
        select = sa.select(Facet.pk, Facet.kind, Facet.code)
        for row in bulk.select_rows_in(select, Facet.code, sorted({code for _, code in missing})):
            cache.facets[row.kind, row.code] = row.pk
    return cache.facets


def _list_credited_people(rows: list[Any], cache: WriteCache) -> dict[int, list[CreditedPerson]]:
    """Return the people of titles by title, in the order of the credits; create those that are new."""
    found = get_or_create_people([(row.pk, row.record) for row in rows], cache.people)
    return {row.pk: [found[credit_key(credit)] for credit in row.record.credits] for row in rows}


def _insert_credits(rows: list[Any], credited: dict[int, list[CreditedPerson]]) -> None:
    bulk.insert_rows(
        TitleCredit,
        ("title_pk", "position", "person_pk", "role", "character"),
        [
            (row.pk, position, person.pk, credit.role, credit.character)
            for row in rows
            for position, (credit, person) in enumerate(zip(row.record.credits, credited[row.pk], strict=True))
        ],
    )


def _encode_if_set(value: Any) -> str | None:
    return encode_json(value) if value else None
