"""What a process keeps of its answers, and for how long."""

from streamsvc.blueprints.catalog.answers import ResponseCache

from streamsvc.operations.catalog.reading import lists
from tests.worlds.catalog_world import Catalog


def test_what_was_asked_for_longest_ago_goes_first():
    answers = ResponseCache(max_bytes=25)
    for etag in "abc":
        answers.store(etag, b"x" * 8)
    assert answers.get("a")
    answers.store("d", b"x" * 8)
    assert [etag for etag in "abcd" if answers.get(etag)] == ["a", "c", "d"]


def test_the_same_answer_twice_weighs_once():
    answers = ResponseCache(max_bytes=25)
    for _ in range(9):
        answers.store("a", b"x" * 8)
    answers.store("b", b"x" * 8)
    assert answers.get("a")


def test_an_answer_larger_than_all_room_is_given_and_not_kept():
    answers = ResponseCache(max_bytes=4)
    answers.store("a", b"x" * 8)
    assert answers.get("a") is None
    assert answers.size_bytes == 0


def test_a_list_is_read_once_until_something_changes(app, monkeypatch):
    catalog, read = Catalog(app), []
    catalog.put("Alpha")
    page = lists.list_title_cards
    monkeypatch.setattr(lists, "list_title_cards", lambda *asked: read.append(asked) or page(*asked))
    for _ in range(3):
        assert catalog.titles() == ["Alpha"]
    assert len(read) == 1
    catalog.put("Bravo")
    assert catalog.titles() == ["Bravo", "Alpha"]
    assert len(read) == 2
