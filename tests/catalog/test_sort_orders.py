"""Title lists sorted by several keys."""

from itertools import chain, permutations, product

import pytest

from streamsvc.operations.catalog.reading import lists
from tests.conftest import EVERYTHING
from tests.worlds.catalog_world import Catalog
from tests.worlds.scenes import set_scene

pytestmark = pytest.mark.every_database
TITLES = "/v1/catalog/titles"
COUNT = 60
SORTS = [
    ",".join(sign + key for sign, key in zip(signs, keys, strict=True))
    for length in (2, 3)
    for keys in permutations(("title", "year", "popularity"), length)
    for signs in product(("", "-"), repeat=length)
]


def put_films(app):
    catalog = Catalog(app)
    catalog.films = {}
    for number in range(COUNT):
        film = {
            "title": "ABCDE"[number % 5],
            "year": (None, 1990, 2001, 2001)[number * 7 // 5 % 4],
            "popularity": (0, 0, 3, 9)[number * 5 // 3 % 4],
            "genres": ["drama"] if number % 3 else ["crime"],
            "runtime_s": 60 if number % 4 else 6000,
            "credits": [{"name": "Ada", "role": "director"}] if number % 2 else [],
        }
        catalog.films[catalog.put(external_id=f"x:{number}", **film)] = film | {"added": number}
    return catalog


@pytest.fixture
def films(app):
    return set_scene(app, put_films)


def expect(films, sort, has):
    """Return the ids of the films that have something, as Python sorts them."""
    ids = [id for id, film in films.films.items() if has(film)]
    keys = sort.split(",")
    for key in [*reversed(keys)] if "added" in sort else ["-added" if keys[-1][0] == "-" else "added", *reversed(keys)]:
        ids.sort(key=lambda id: films.films[id][key.strip("-")] or 0, reverse=key[0] == "-")
    return ids


def walk(films, **query):
    return [item["id"] for item in chain.from_iterable(films.walk(TITLES, **query))]


FILTERS = [
    ({}, lambda film: True),
    ({"genre": "drama"}, lambda film: film["genres"] == ["drama"]),
    ({"year__gte": 1995, "runtime__lte": 100}, lambda film: (film["year"] or 0) >= 1995 and film["runtime_s"] == 60),
    ({"genre": "drama", "year__lte": 1995}, lambda film: film["genres"] == ["drama"] and film["year"] == 1990),
]


SORTED_ROWS = [1, 4, 17, 1_000]


@pytest.mark.parametrize("sorted_rows", SORTED_ROWS)
def test_each_key_sorts_what_is_equal_in_those_before_it(films, monkeypatch, sorted_rows, database):
    """Each order with each filter and with each number of sorted rows, as pairs.

    The databases get different combinations; `make test-both` sends all to both.
    """
    monkeypatch.setattr(lists, "SORTED_ROWS", sorted_rows)
    first = SORTED_ROWS.index(sorted_rows) + 2 * (database == "postgresql")
    for number, sort in enumerate(SORTS):
        for more, has in FILTERS if EVERYTHING else [FILTERS[(first + number + number // 4) % 4]]:
            assert walk(films, sort=sort, limit=13, **more) == expect(films, sort, has), (sort, more)


@pytest.mark.parametrize("sort", ["-year,title", "-popularity,-year,title", "title,-added", "-year,-added,title"])
def test_a_list_that_stops_early_goes_on_at_its_cursor(films, monkeypatch, sort):
    monkeypatch.setattr(lists, "SORTED_ROWS", 2)
    monkeypatch.setattr(lists, "MAX_ROWS", 5)
    for more, has in FILTERS:
        pages = list(films.walk(TITLES, sort=sort, limit=4, **more))
        assert [item["id"] for item in chain.from_iterable(pages)] == expect(films, sort, has), more
        assert not more or any(len(page) < 4 for page in pages[:-1])


@pytest.mark.parametrize("sort", ["-year,title", "-popularity,-year,title", "year,-added"])
def test_the_titles_of_a_person_and_of_ids_are_sorted_in_the_same_way(films, sort):
    [person] = {
        credit["person_id"]
        for id, film in films.films.items()
        if film["credits"]
        for credit in films.get(f"{TITLES}/{id}").json["credits"]
    }
    assert walk(films, sort=sort, limit=7, person=person) == expect(films, sort, lambda film: film["credits"])
    some = [id for id, film in films.films.items() if film["added"] % 3 == 0]
    assert walk(films, sort=sort, limit=7, ids=",".join(some)) == expect(films, sort, lambda f: f["added"] % 3 == 0)


@pytest.mark.parametrize("sort", ["-year,title", "title,-year", "-popularity,title,year", "-title,popularity"])
@pytest.mark.parametrize("sorted_rows", [3, 1_000])
def test_paging_skips_and_repeats_nothing_while_titles_change(films, monkeypatch, sort, sorted_rows):
    monkeypatch.setattr(lists, "SORTED_ROWS", sorted_rows)
    before, seen = walk(films, sort=sort, limit=100), []
    for number, page in enumerate(films.walk(TITLES, sort=sort, limit=6)):
        seen += [item["id"] for item in page]
        films.put("C", external_id=f"late:{number}", year=2001, popularity=number % 4, genres=["drama"])
    assert [id for id in seen if id in before] == before
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize(
    ("sort", "reason"),
    [
        ("rating", "Must be one or more of added, title, year, popularity, separated by commas"),
        ("-year,rating", "Must be one or more of added, title, year, popularity, separated by commas"),
        ("year,", "Must be one or more of added, title, year, popularity, separated by commas"),
        ("year,--title", "Must be one or more of added, title, year, popularity, separated by commas"),
        ("year,-year", "Must name each of added, title, year, popularity at most once."),
        ("title,year,title", "Must name each of added, title, year, popularity at most once."),
    ],
)
def test_an_unknown_or_repeated_key_is_refused(films, sort, reason):
    response = films.get(TITLES, sort=sort)
    assert response.status_code == 422
    assert response.json["errors"]["sort"][0].startswith(reason)


def test_a_cursor_is_valid_only_for_its_sort_order(films):
    cursor = films.get(TITLES, sort="-year,title", limit=3).json["next_cursor"]
    assert films.get(TITLES, sort="-year,title", limit=3, cursor=cursor).status_code == 200
    for sort in ("-year", "-year,-title", "year,title", "title,-year"):
        assert films.get(TITLES, sort=sort, limit=3, cursor=cursor).status_code == 422


LONG_TITLES = [
    "\u7ac8\u9580" * 55,
    *(letters * (500 // len(letters)) for letters in ("\U00020000", "\U00010380", "\ufdfa", "\U0001f600", "1a")),
]


@pytest.mark.parametrize("sort", ["title", "title,-year", "-year,title"])
@pytest.mark.parametrize("title", LONG_TITLES)
def test_long_titles_of_any_script_are_paged(app, title, sort):
    catalog = Catalog(app)
    ids = {catalog.put(title[:-1] + last, external_id=f"x:{last}", year=2001) for last in "abc"}
    [whole] = catalog.walk(TITLES, sort=sort)
    assert walk(catalog, sort=sort, limit=1) == [item["id"] for item in whole]
    assert {item["id"] for item in whole} == ids
