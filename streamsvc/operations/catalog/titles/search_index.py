"""Writes the search index: the tokens of titles and all other hits, and the words for corrections."""

import hashlib
from collections.abc import Iterable
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from streamsvc.models import (
    Channel,
    Collection,
    CollectionItem,
    Episode,
    Person,
    ProgrammeEntry,
    SearchDoc,
    SearchEntry,
    SearchWord,
    Title,
    TitleCredit,
)
from streamsvc.operations.catalog.titles import bulk
from streamsvc.rules.catalog.channels import ChannelRecord, decode_stored_channel
from streamsvc.rules.catalog.programmes import ProgrammeRecord
from streamsvc.rules.catalog.ranks import (
    EntryKind,
    channel_popularity,
    decode_popularity,
    encode_entry_rank,
    programme_rank,
)
from streamsvc.rules.catalog.record import CatalogRecord
from streamsvc.rules.catalog.tokens import (
    Name,
    channel_tokens,
    clip_tokens,
    correctable_words,
    episode_names,
    episode_tokens,
    name_tokens,
    person_tokens,
    programme_tokens,
    record_names,
    record_tokens,
    withheld_episode_tokens,
)
from streamsvc.rules.catalog.typos import sound_key
from streamsvc.storage.database import UtcTime, db

BY_RANK = itemgetter(0)


def insert_docs(titles: list[tuple[int, CatalogRecord]], known_words: set[str]) -> None:
    """Insert titles (rank, record) into the search index; adds their words to `known_words`, which it has.

    Titles are inserted in order of rank, since SQLite's index flushes its buffer at every step back.
    """
    docs = sorted(((rank, record_tokens(record)) for rank, record in titles), key=BY_RANK)
    words = format_tokens([tokens for _, tokens in docs])
    bulk.insert_rows(SearchDoc, ("rank", "words"), list(zip((rank for rank, _ in docs), words, strict=True)))
    all_tokens: set[str] = set().union(
        *(tokens for _, tokens in docs), *(withheld_episode_tokens(record) for _, record in titles)
    )
    insert_words(correctable_words(all_tokens), known_words)


def insert_words(words: set[str], known_words: set[str]) -> None:
    """Insert the words that the index lacks; adds them to `known_words`."""
    new = bulk.list_missing_values(SearchWord.word, words - known_words)
    bulk.insert_rows(SearchWord, ("word", "sound"), [(word, sound_key(word)) for word in new])
    known_words |= words


def replace_episodes(titles: list[tuple[int, int, CatalogRecord]]) -> None:
    """Replace the entries of the episodes of titles (pk, rank, record)."""
    series = [title for title in titles if title[2].kind == "series"]
    select = sa.select(Episode.pk, Episode.title_pk, Episode.season, Episode.number)
    rows = list(bulk.select_rows_in(select, Episode.title_pk, [pk for pk, *_ in series]))
    pks = {(row.title_pk, row.season, row.number): row.pk for row in rows}
    entries = {}
    for title_pk, rank, record in series:
        names_of_series = record_names(record)
        for season in record.seasons:
            for episode in season.episodes:
                pk = pks[title_pk, season.number, episode.number]
                if names := episode_names(episode):
                    tokens = episode_tokens(names, season.number, episode.number, names_of_series)
                    entries[pk] = (decode_popularity(rank), tokens)
    _replace_entries("episode", pks.values(), entries)


def insert_new_people(credits: Iterable[tuple[int, str, int]]) -> None:
    """Insert the people of credits (person's pk, name, title's rank) whose keys are above the last one indexed.

    People's keys ascend. They are sorted by the best-known title that they arrive with; a rebuild considers all. The
    caller has locked the catalogue: another import may have indexed people since the last batch.
    """
    last = sa.select(sa.func.max(SearchEntry.ref)).where(SearchEntry.kind == "person")
    last_indexed = db.session.scalar(last) or 0
    new: dict[int, tuple[str, int]] = {}
    for pk, name, rank in credits:
        if pk > last_indexed:
            new[pk] = (name, max(rank, new[pk][1] if pk in new else 0))
    _insert_entries("person", {pk: (decode_popularity(rank), person_tokens(name)) for pk, (name, rank) in new.items()})


PEOPLE_PAGE = (
    sa.select(
        Person.pk,
        Person.name,
        sa.select(sa.func.max(Title.rank))
        .join(TitleCredit, TitleCredit.title_pk == Title.pk)
        .where(TitleCredit.person_pk == Person.pk)
        .scalar_subquery()
        .label("rank"),
    )
    .where(Person.pk > sa.bindparam("after"))
    .order_by(Person.pk)
)


def replace_people(after: int, limit: int) -> int | None:
    """Replace the entries of people with keys after `after`; return the last one's key, None at the end."""
    rows = db.session.execute(PEOPLE_PAGE.limit(limit), {"after": after}).all()
    entries = {row.pk: (decode_popularity(row.rank), person_tokens(row.name)) for row in rows if row.rank}
    _replace_entries("person", [row.pk for row in rows], entries)
    return rows[-1].pk if rows else None


def replace_collection(collection: Collection) -> None:
    """Write a collection's entry, by the popularity of its best-known title."""
    names = [Name(collection.title), *(Name(title, tag) for tag, title in collection.localizations.items())]
    best_rank = sa.select(sa.func.max(Title.rank)).join(CollectionItem, CollectionItem.title_pk == Title.pk)
    rank = db.session.scalar(best_rank.where(CollectionItem.collection_pk == collection.pk)) or 0
    tokens = clip_tokens(set().union(*map(name_tokens, names)))
    _replace_entries("collection", [collection.pk], {collection.pk: (decode_popularity(rank), tokens)})


def delete_collection(collection: Collection) -> None:
    """Delete a collection's entry."""
    _replace_entries("collection", [collection.pk], {})


def replace_channels(channels: dict[int, ChannelRecord]) -> None:
    """Write the entries of channels by key, and insert their words."""
    entries: dict[int, tuple[int, set[str]]] = {}
    for pk, record in channels.items():
        name = Name(record.name, record.languages[0] if record.languages else None)
        tokens = channel_tokens(name, record.number, record.external_id)
        entries[pk] = (channel_popularity(record.position), tokens)
    _replace_entries("channel", entries, entries)
    insert_words({word for _, tokens in entries.values() for word in correctable_words(tokens)}, set())


def delete_channel(pk: int) -> None:
    """Delete a channel's entry."""
    _replace_entries("channel", [pk], {})


CHANNELS_PAGE = (
    sa.select(Channel.pk, Channel.body)
    .where(Channel.pk > sa.bindparam("after"), Channel.removed_at.is_(None))
    .order_by(Channel.pk)
)


def reindex_channels(after: int, limit: int) -> int | None:
    """Replace the entries of channels with keys after `after`; return the last one's key, None at the end."""
    rows = db.session.execute(CHANNELS_PAGE.limit(limit), {"after": after}).all()
    replace_channels({row.pk: decode_stored_channel(row.body) for row in rows})
    return rows[-1].pk if rows else None


INDEXED_STARTS = sa.select(ProgrammeEntry.starts_at).where(
    ProgrammeEntry.channel_pk == sa.bindparam("pk"),
    ProgrammeEntry.starts_at >= sa.bindparam("first", type_=UtcTime),
    ProgrammeEntry.starts_at < sa.bindparam("last", type_=UtcTime),
)


def replace_programmes(programmes: Iterable[tuple[dict[str, Any], ProgrammeRecord]]) -> None:
    """Write the entries of programmes (values of the row, record). Their words serve no corrections: guides have many.

    The entries of programmes that are deleted go with them.
    """
    entries = {
        programme_rank(row["channel_pk"], row["starts_at"]): _programme_entry(row, record) for row, record in programmes
    }
    bulk.delete_rows(ProgrammeEntry, "rank", sorted(entries))
    columns = ("rank", "channel_pk", "starts_at", "repeat_key", "words")
    bulk.insert_rows(ProgrammeEntry, columns, [(rank, *entries[rank]) for rank in sorted(entries)])


def _programme_entry(row: dict[str, Any], record: ProgrammeRecord) -> tuple:
    """Return the values of an entry. A repeat has the same words and all that decides who may watch it."""
    texts = record.localizations.items()
    titles = {Name(record.title), *(Name(text.title, tag) for tag, text in texts)}
    subtitles = {record.subtitle, *(text.subtitle for _, text in texts)} - {None}
    [words] = format_tokens([programme_tokens(titles, filter(None, subtitles))])
    identity = (row["channel_pk"], words, row["min_age"], row["title_id"], sorted(record.genres))
    repeat_key = int.from_bytes(hashlib.sha256(repr(identity).encode()).digest()[:8]) >> 1
    return row["channel_pk"], row["starts_at"], repeat_key, words


def _replace_entries(kind: EntryKind, refs: Iterable[int], entries: dict[int, tuple[int, set[str]]]) -> None:
    for chunk in bulk.in_chunks(sorted(refs)):
        db.session.execute(sa.delete(SearchEntry).where(SearchEntry.kind == kind, SearchEntry.ref.in_(chunk)))
    _insert_entries(kind, entries)


def _insert_entries(kind: EntryKind, entries: dict[int, tuple[int, set[str]]]) -> None:
    """Insert entries by key: (popularity, tokens). Their words are in the titles' tokens too, for corrections."""
    words = format_tokens([tokens for _, tokens in entries.values()])
    rows = [
        (encode_entry_rank(kind, popularity, ref), kind, ref, text)
        for (ref, (popularity, _)), text in zip(entries.items(), words, strict=True)
    ]
    bulk.insert_rows(SearchEntry, ("rank", "kind", "ref", "words"), sorted(rows, key=BY_RANK))


def format_tokens(entries: list[set[str]]) -> list[str]:
    """Return the tokens of each entry as the database in use stores them: words, or the literal of a tsvector."""
    if db.engine.dialect.name == "postgresql":
        return [" ".join(f"'{token}'" for token in sorted(tokens)) for tokens in entries]
    return [" ".join(sorted(tokens)) for tokens in entries]
