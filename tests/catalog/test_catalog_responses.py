"""The cache of catalogue responses."""

import pytest

from streamsvc.http.kept_responses import ResponseCache
from streamsvc.operations.catalog.reading import lists, shown_cards
from tests.worlds.catalog_world import Catalog


def test_the_least_recently_used_response_is_evicted_first():
    cache = ResponseCache(max_bytes=25)
    for etag in "abc":
        cache.store(etag, b"x" * 8)
    assert cache.get("a")
    cache.store("d", b"x" * 8)
    assert [etag for etag in "abcd" if cache.get(etag)] == ["a", "c", "d"]


def test_a_response_stored_twice_counts_once():
    cache = ResponseCache(max_bytes=25)
    for _ in range(9):
        cache.store("a", b"x" * 8)
    cache.store("b", b"x" * 8)
    assert cache.get("a")


def test_a_response_larger_than_the_cache_is_not_cached():
    cache = ResponseCache(max_bytes=4)
    cache.store("a", b"x" * 8)
    assert cache.get("a") is None
    assert cache.size_bytes == 0


def test_a_list_is_read_once_until_the_catalogue_changes(app, monkeypatch):
    catalog, read = Catalog(app), []
    catalog.put("Alpha")
    page = lists.list_title_cards
    monkeypatch.setattr(lists, "list_title_cards", lambda *arguments: read.append(arguments) or page(*arguments))
    for _ in range(3):
        assert catalog.titles() == ["Alpha"]
    assert len(read) == 1
    catalog.put("Bravo")
    assert catalog.titles() == ["Bravo", "Alpha"]
    assert len(read) == 2


@pytest.fixture
def cards_read(monkeypatch):
    """How many cards each statement has read."""
    counts, encode = [], shown_cards.encode_keys
    monkeypatch.setattr(
        shown_cards, "encode_keys", lambda pks, dialect: counts.append(len(pks)) or encode(pks, dialect)
    )
    return counts


def test_a_card_is_read_once_for_all_lists_until_the_catalogue_changes(app, cards_read):
    catalog = Catalog(app)
    for title in ("Alpha", "Bravo", "Charlie"):
        catalog.put(title)
    assert catalog.titles(limit=2) == ["Charlie", "Bravo"]
    assert catalog.titles(sort="title") == ["Alpha", "Bravo", "Charlie"]
    assert catalog.titles(sort="-title") == ["Charlie", "Bravo", "Alpha"]
    assert cards_read == [2, 1]
    catalog.put("Brave", external_id="test:Bravo")
    assert catalog.titles(sort="title") == ["Alpha", "Brave", "Charlie"]
    assert cards_read == [2, 1, 3]


def test_a_process_keeps_no_more_cards_than_it_may(app, cards_read, monkeypatch):
    monkeypatch.setattr(shown_cards, "MAX_KEPT", 2)
    catalog = Catalog(app)
    for title in ("Alpha", "Bravo", "Charlie"):
        catalog.put(title)
    assert catalog.titles(limit=2) == ["Charlie", "Bravo"]
    assert catalog.titles(limit=1, sort="title") == ["Alpha"]
    assert catalog.titles(limit=2, sort="title") == ["Alpha", "Bravo"]
    assert cards_read == [2, 1, 1]
