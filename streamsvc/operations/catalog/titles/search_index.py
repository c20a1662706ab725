"""Writes the search index: the tokens of titles, and the words that serve as spelling corrections."""

from operator import itemgetter

from streamsvc.models import SearchDoc, SearchWord
from streamsvc.operations.catalog.titles import bulk
from streamsvc.rules.catalog.record import CatalogRecord
from streamsvc.rules.catalog.tokens import correctable_words, record_tokens
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


def format_tokens(tokens: set[str]) -> str:
    """Return tokens as the database in use stores them: words, or the literal of a tsvector."""
    if db.engine.dialect.name == "postgresql":
        return " ".join(f"'{token}'" for token in sorted(tokens))
    return " ".join(sorted(tokens))
