"""Writes the search index: the tokens of titles, episodes, collections and people, and the words for corrections."""

from collections.abc import Iterable
from operator import itemgetter

import sqlalchemy as sa

from streamsvc.models import (
    Collection,
    CollectionItem,
    Episode,
    Person,
    SearchDoc,
    SearchEntry,
    SearchWord,
    Title,
    TitleCredit,
)
from streamsvc.operations.catalog.titles import bulk
from streamsvc.rules.catalog.ranks import EntryKind, decode_popularity, encode_entry_rank
from streamsvc.rules.catalog.record import CatalogRecord
from streamsvc.rules.catalog.tokens import (
    Name,
    clip_tokens,
    correctable_words,
    episode_names,
    episode_tokens,
    name_tokens,
    record_names,
    record_tokens,
)
from streamsvc.rules.catalog.typos import sound_key
from streamsvc.storage.database import db

BY_RANK = itemgetter(0)


def insert_docs(titles: list[tuple[int, CatalogRecord]], known_words: set[str]) -> None:
    """Insert titles (rank, record) into the search index; adds their words to `known_words`, which it has.

    Titles are inserted in order of rank, since SQLite's index flushes its buffer at every step back.
    """
    docs = sorted(((rank, record_tokens(record)) for rank, record in titles), key=BY_RANK)
    bulk.insert_rows(SearchDoc, ("rank", "words"), [(rank, format_tokens(tokens)) for rank, tokens in docs])
    insert_words({word for _, tokens in docs for word in correctable_words(tokens)}, known_words)


def insert_words(words: set[str], known_words: set[str]) -> None:
    """Insert the words that the index lacks; adds them to `known_words`."""
    new = bulk.list_missing_values(SearchWord.word, words - known_words)
    bulk.insert_rows(SearchWord, ("word", "sound"), [(word, sound_key(word)) for word in new])
    known_words |= words


def write_entries(titles: list[tuple[int, int, CatalogRecord]], indexed_people: set[int]) -> None:
    """Write the entries of titles' (pk, rank, record) episodes and people; adds the people to `indexed_people`."""
    _replace_episodes([title for title in titles if title[2].kind == "series"])
    _insert_people([pk for pk, *_ in titles], indexed_people)


def _replace_episodes(series: list[tuple[int, int, CatalogRecord]]) -> None:
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


def _insert_people(title_pks: list[int], indexed: set[int]) -> None:
    """Insert those credited in titles who are new to the index, by the popularity of their best-known title."""
    best_rank = sa.func.max(Title.rank)
    select = sa.select(TitleCredit.person_pk, best_rank.label("rank")).join(Title, Title.pk == TitleCredit.title_pk)
    ranks: dict[int, int] = {}
    for row in bulk.select_rows_in(select.group_by(TitleCredit.person_pk), TitleCredit.title_pk, title_pks):
        if row.person_pk not in indexed:
            ranks[row.person_pk] = max(row.rank, ranks.get(row.person_pk, 0))
    stored = sa.select(SearchEntry.ref).where(SearchEntry.kind == "person")
    new = ranks.keys() - {row.ref for row in bulk.select_rows_in(stored, SearchEntry.ref, sorted(ranks))}
    names = bulk.select_rows_in(sa.select(Person.pk, Person.name), Person.pk, sorted(new))
    entries = {row.pk: (decode_popularity(ranks[row.pk]), clip_tokens(name_tokens(Name(row.name)))) for row in names}
    _insert_entries("person", entries)
    indexed |= ranks.keys()


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


def _replace_entries(kind: EntryKind, refs: Iterable[int], entries: dict[int, tuple[int, set[str]]]) -> None:
    for chunk in bulk.in_chunks(sorted(refs)):
        db.session.execute(sa.delete(SearchEntry).where(SearchEntry.kind == kind, SearchEntry.ref.in_(chunk)))
    _insert_entries(kind, entries)


def _insert_entries(kind: EntryKind, entries: dict[int, tuple[int, set[str]]]) -> None:
    """Insert entries by key: (popularity, tokens). Their words are in the titles' tokens too, for corrections."""
    rows = [
        (encode_entry_rank(kind, popularity, ref), kind, ref, format_tokens(tokens))
        for ref, (popularity, tokens) in entries.items()
    ]
    bulk.insert_rows(SearchEntry, ("rank", "kind", "ref", "words"), sorted(rows, key=BY_RANK))


def format_tokens(tokens: set[str]) -> str:
    """Return tokens as the database in use stores them: words, or the literal of a tsvector."""
    if db.engine.dialect.name == "postgresql":
        return " ".join(f"'{token}'" for token in sorted(tokens))
    return " ".join(sorted(tokens))
