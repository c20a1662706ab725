"""The keys by which titles are sorted."""

import pytest

from streamsvc.rules.catalog.record import convert_record
from streamsvc.rules.catalog.sorting import sort_key


@pytest.mark.parametrize(
    ("title", "language", "key"),
    [
        ("The Birds", "en", "birds"),
        ("A Bug's Life", "en-GB", "bugs life"),
        ("“The Wire”", "en", "wire"),
        ("Die Hard", "en", "die hard"),
        ("Die Vögel", "de", "vogel"),
        ("Les Misérables", "fr", "miserables"),
        ("L’Avventura", "it", "avventura"),
        ("L'été meurtrier", "fr", "ete meurtrier"),
        ("Los olvidados", "es", "olvidados"),
        ("O Pagador de Promessas", "pt-BR", "pagador de promessas"),
        ("De lift", "nl", "lift"),
        ("Den brysomme mannen", "no", "brysomme mannen"),
        ("À bout de souffle", "en", "a bout de souffle"),  # a preposition, not an article
        ("A todo gas", "es", "a todo gas"),
        ("The Lives of Others", "de", "lives of others"),
        ("The The", "en", "the"),
        ("Die", "de", "die"),
        ("A-Team", "en", "a team"),
        ("The Host", None, "host"),
        ("A Host", None, "a host"),
    ],
)
def test_a_leading_article_of_the_titles_language_does_not_count(title, language, key):
    assert sort_key(title, language) == key


def test_numbers_sort_by_value_before_letters():
    numbers = ["2", "３", "010", "11", "100", "12345678", "123456789", "1234567890", "X"]
    assert sorted(numbers[::-1], key=lambda number: sort_key(f"Alien {number}")) == numbers
    assert sort_key("Alien 02") == sort_key("ALIÉN 2")


@pytest.mark.parametrize(
    ("members", "key"),
    [
        ({"languages": ["de"]}, "vogel"),
        ({"languages": ["en"]}, "die vogel"),
        ({"languages": ["en"], "localizations": {"de": {"title": "Die Vögel"}}}, "vogel"),
        ({"languages": ["de"], "original_title": "The Birds"}, "die vogel"),  # a translation, of unknown language
        ({"sort_title": "The Vögel 2"}, "the vogel 12"),
    ],
)
def test_the_language_of_a_title_is_that_of_the_original_or_of_the_same_localization(members, key):
    assert convert_record({"external_id": "x", "kind": "movie", "title": "Die Vögel", **members}).sort_key == key
