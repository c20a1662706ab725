"""The cache of catalogue responses."""

from streamsvc.http.kept_responses import ResponseCache
from streamsvc.operations.catalog.reading import lists
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
