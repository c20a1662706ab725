"""Lists of titles and one title, as viewers see them."""

import pytest

from streamsvc.operations.catalog.reading import lists
from tests.worlds.catalog_world import Catalog
from tests.worlds.plans import query_plan


@pytest.fixture
def catalog(app):
    return Catalog(app)


@pytest.fixture
def films(catalog):
    catalog.put(
        "Alpha",
        year=1994,
        genres=["Drama", "crime"],
        runtime_s=8520,
        age_rating="US:R",
        countries=["US"],
        languages=["en-US"],
        popularity=5,
    )
    catalog.put(
        "Bravo",
        year=2001,
        genres=["drama"],
        runtime_s=5400,
        age_rating="US:PG",
        countries=["FR"],
        languages=["fr"],
        popularity=50,
    )
    catalog.put("Charlie", year=2001, genres=["comedy"], runtime_s=6000, countries=["US", "GB"], languages=["en"])
    catalog.put("Delta", kind="series", genres=["drama"], age_rating="DE:6", popularity=7)
    return catalog


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ({}, "DCBA"),
        ({"sort": "added"}, "ABCD"),
        ({"sort": "title"}, "ABCD"),
        ({"sort": "-title"}, "DCBA"),
        ({"sort": "year"}, "DABC"),
        ({"sort": "-year"}, "CBAD"),
        ({"sort": "-popularity"}, "BDAC"),
        ({"kind": "series"}, "D"),
        ({"genre": "drama"}, "DBA"),
        ({"genre": "drama", "sort": "-popularity"}, "BDA"),
        ({"genre": "drama", "kind": "movie", "sort": "title"}, "AB"),
        ({"year__gte": 1995}, "CB"),
        ({"year__lte": 1994}, "A"),
        ({"runtime__lte": 6000}, "CB"),
        ({"age__lte": 10}, "DB"),
        ({"language": "en"}, "CA"),
        ({"language": "en-us"}, "A"),
        ({"country": "US"}, "CA"),
        ({"country": "US", "genre": "comedy", "sort": "year"}, "C"),
    ],
)
def test_a_list_is_narrowed_and_sorted(films, query, titles):
    assert [title[0] for title in films.titles(**query)] == list(titles)


@pytest.mark.parametrize(
    "query",
    [
        {"sort": "rating"}, {"genre": "polka"}, {"kind": "film"}, {"country": "QQ"}, {"language": "english"},
        {"limit": 0}, {"limit": 101}, {"limit": "ten"}, {"year__gte": "x"}, {"cursor": "made-up"}, {"colour": "red"},
        {"offset": 5}, {"person": "per_nobody"}, {"collection": "none"},
    ],
)  # fmt: skip
def test_what_a_list_does_not_know_is_refused_by_name(films, query):
    answer = films.get("/v1/catalog/titles", **query)
    assert answer.status_code == 422
    assert set(answer.json["errors"]) == {name.replace("__", ".") for name in query}


def test_a_list_by_ids_gives_those_it_has(films):
    ids = [item["id"] for item in films.get("/v1/catalog/titles", sort="title").json["items"]]
    assert films.titles(ids=f"{ids[2]},{ids[0]},ttl_nothing", sort="title") == ["Alpha", "Charlie"]


@pytest.mark.parametrize("sort", lists.SORTS)
@pytest.mark.parametrize("more", [{}, {"genre": "drama"}])
def test_pages_lose_and_repeat_nothing_while_titles_come_and_go(catalog, sort, more):
    for number in range(20):
        catalog.put(
            f"Film {number % 7}",
            external_id=f"x:{number}",
            year=1990 + number % 3,
            genres=["drama"],
            popularity=number % 4,
        )
    before = [item["id"] for page in catalog.walk("/v1/catalog/titles", sort=sort, limit=100, **more) for item in page]
    seen = []
    for number, page in enumerate(catalog.walk("/v1/catalog/titles", sort=sort, limit=3, **more)):
        seen += [item["id"] for item in page]
        catalog.put(f"Late {number}", external_id=f"late:{number}", year=1991, genres=["drama"], popularity=2)
    assert [title for title in seen if title in before] == before
    assert len(set(seen)) == len(seen)


def test_the_total_is_told_where_it_is_asked_for(films):
    assert films.get("/v1/catalog/titles", genre="drama", limit=1, include_total="true").json["total"] == 3
    assert "total" not in films.get("/v1/catalog/titles").json


def test_a_cursor_belongs_to_its_list(films):
    def status(cursor, **asked):
        return films.get("/v1/catalog/titles", cursor=cursor, **asked).status_code

    here = {"sort": "title", "genre": "drama"}
    cursor = films.get("/v1/catalog/titles", **here, limit=1).json["next_cursor"]
    assert status(cursor, **here, limit=2, locale="de", include_total="true") == 200
    for other in ({"sort": "year"}, {"genre": "crime"}, {"kind": "movie"}, {"year__gte": 1}, {"ids": "ttl_x"}):
        assert status(cursor, **here | other) == 422
    assert status(cursor, sort="title") == 422
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spelt = [cursor + "=", cursor + "!", *(cursor[:-1] + letter for letter in alphabet if letter != cursor[-1])]
    assert {status(other, **here) for other in spelt} == {422}


def test_one_title_has_all_that_the_contract_names(catalog):
    title = catalog.put(
        "Léon", original_title="Léon", year=1994, runtime_s=6600, age_rating="US:R", genres=["crime"], languages=["fr"],
        countries=["FR"], synopsis="A cleaner.", external_ids={"imdb": "tt0110413"},
        credits=[{"name": "Luc B.", "role": "director"}, {"name": "Jean Reno", "role": "actor", "character": "Léon"}],
        artwork=[{"role": "poster", "url": "https://img.example/leon.jpg", "width": 600, "height": 900}],
        media={"hls": "https://cdn.example/leon.m3u8"}, markers={"credits_s": 6300},
    )  # fmt: skip
    shown = catalog.get(f"/v1/catalog/titles/{title}").json
    assert shown["age_rating"] == {"system": "US", "label": "R", "min_age": 17}
    assert shown["credits"][1]["name"] == "Jean Reno"
    assert shown["credits"][1]["character"] == "Léon"
    assert shown["artwork"][0] | {"language": None} == shown["artwork"][0]
    assert shown["availability"] == {"playable": True, "reason": None, "starts_at": None, "ends_at": None}
    assert (shown["runtime_s"], shown["external_ids"]) == (6600, {"imdb": "tt0110413"})
    assert shown["markers"] == {"credits_s": 6300}
    assert "media" not in shown


def test_the_card_in_a_list_is_the_card_of_the_title(films):
    for card in films.get("/v1/catalog/titles").json["items"]:
        assert card.items() <= films.get(f"/v1/catalog/titles/{card['id']}").json.items()


def test_an_unknown_title_is_not_found(catalog):
    assert catalog.get("/v1/catalog/titles/ttl_nothing").status_code == 404


def test_a_stranger_sees_nothing(app, films):
    for path in ("/v1/catalog/titles", "/v1/catalog/search?q=a", "/v1/catalog/genres"):
        assert app.test_client().get(path).status_code == 401


def test_genres_are_those_with_something_to_see(films):
    films.put("Only for adults", genres=["horror"], age_rating="US:NC-17")
    assert [genre["code"] for genre in films.get("/v1/catalog/genres").json["items"]] == [
        "comedy",
        "crime",
        "drama",
        "horror",
    ]
    kid = films.viewer(max_age=10)
    assert [genre["code"] for genre in kid.get("/v1/catalog/genres").json["items"]] == ["drama"]


def test_a_limited_profile_sees_what_suits_it_and_nothing_unrated(films):
    kid = films.viewer(max_age=10)
    assert kid.titles() == ["Delta", "Bravo"]
    hidden = films.get("/v1/catalog/titles", genre="crime").json["items"][0]["id"]
    assert kid.get(f"/v1/catalog/titles/{hidden}").status_code == 404
    assert kid.titles(ids=hidden) == []
    assert kid.found("alpha") == kid.found("charlie") == []


def test_titles_are_told_in_the_language_that_comes_closest(catalog):
    title = catalog.put(
        "Spirited Away",
        localizations={"de": {"title": "Chihiros Reise"}, "pt-BR": {"synopsis": "…"}},
        synopsis="A girl.",
    )
    assert catalog.titles(locale="de-AT") == ["Chihiros Reise"]
    assert catalog.titles(locale="fr") == ["Spirited Away"]
    assert catalog.get(f"/v1/catalog/titles/{title}", locale="de").json["synopsis"] == "A girl."
    assert catalog.viewer(language="de").titles() == ["Chihiros Reise"]
    assert catalog.found("chihiros reise") == ["Spirited Away"]


def test_each_text_falls_back_by_itself(catalog):
    told = {"pt": {"title": "A Viagem"}, "pt-BR": {"synopsis": "Uma menina."}, "de-1996": {"title": "Die Reise"}}
    title = catalog.put("Spirited Away", synopsis="A girl.", localizations=told)

    def texts(locale):
        shown = catalog.get(f"/v1/catalog/titles/{title}", locale=locale).json
        return shown["title"], shown["synopsis"]

    assert texts("pt-BR") == ("A Viagem", "Uma menina.")
    assert texts("pt-PT") == ("A Viagem", "A girl.")
    assert texts("de-1996") == ("Die Reise", "A girl.")
    assert texts("de-AT") == ("Spirited Away", "A girl.")


def test_answers_carry_a_strong_etag_and_are_not_sent_twice(films):
    first = films.get("/v1/catalog/titles")
    assert first.headers["ETag"].startswith('"')
    assert first.headers["Cache-Control"] == "private, no-cache"
    again = films.client.get("/v1/catalog/titles", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    films.put("Echo")
    changed = films.client.get("/v1/catalog/titles", headers={"If-None-Match": first.headers["ETag"]})
    assert changed.status_code == 200


def test_viewers_with_the_same_country_plan_maturity_and_language_get_the_same_bytes(films):
    ann, ben, kid = films.viewer(), films.viewer(), films.viewer(max_age=10)
    answers = [caller.get("/v1/catalog/titles") for caller in (ann, ben, kid)]
    assert answers[0].data == answers[1].data != answers[2].data
    assert answers[0].headers["ETag"] == answers[1].headers["ETag"] != answers[2].headers["ETag"]


def shapes():
    for sort in lists.SORTS:
        for after in (False, True):
            for facets in (0, 1, 2):
                for sees_all in (False, True):
                    yield lists.ListShape(sort, facets=facets, after=after, sees_all=sees_all, ranges=("year_gte",))


@pytest.mark.parametrize("shape", list(shapes()), ids=str)
def test_each_list_walks_one_index_and_sorts_nothing(shared_app, database, shape):
    after = {"added": [5], "title": ["m", 5], "year": [1990, 5], "popularity": [2**33]}[shape.sort.removeprefix("-")]
    values = {f"after_{at}": value for at, value in enumerate(after)} if shape.after else {}
    with shared_app.app_context():
        plan = query_plan(
            lists.list_statement(shape), **values, facet_0=1, facet_1=2, limit=25, year_gte=1990, max_age=18,
            country="DE", plan=None, now=shared_app.extensions["clock"](),
        )  # fmt: skip
    if database == "sqlite":
        assert "TEMP B-TREE" not in plan
        walked = "titles" if not shape.facets else "title_facets"
        first = plan.splitlines()[0]
        assert first.startswith((f"SCAN {walked}", f"SEARCH {walked}"))
        assert not any(line.startswith("SCAN") for line in plan.splitlines()[1:])
    else:
        assert "Limit" in plan
