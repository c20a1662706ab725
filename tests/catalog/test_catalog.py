"""Title lists and title pages."""

import pytest

from streamsvc.operations.catalog.reading import list_statements
from tests.worlds.catalog_world import Catalog
from tests.worlds.scenes import set_scene


def build_catalog(app, with_films):
    catalog = Catalog(app)
    if with_films:
        put_films(catalog)
    return catalog


@pytest.fixture
def catalog(app, request):
    return set_scene(app, build_catalog, "films" in request.fixturenames)


@pytest.fixture
def films(catalog):
    return catalog


def put_films(catalog):
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
def test_a_list_is_filtered_and_sorted(films, query, titles):
    assert [title[0] for title in films.titles(**query)] == list(titles)


@pytest.mark.parametrize(
    "query",
    [
        {"sort": "rating"}, {"genre": "polka"}, {"kind": "film"}, {"country": "QQ"}, {"language": "english"},
        {"limit": 0}, {"limit": 101}, {"limit": "ten"}, {"year__gte": "x"}, {"cursor": "made-up"}, {"colour": "red"},
        {"offset": 5}, {"person": "per_nobody"}, {"collection": "none"},
    ],
)  # fmt: skip
def test_invalid_list_parameters_are_rejected_by_name(films, query):
    response = films.get("/v1/catalog/titles", **query)
    assert response.status_code == 422
    assert set(response.json["errors"]) == {name.replace("__", ".") for name in query}


def test_a_list_by_ids_returns_the_existing_titles(films):
    ids = [item["id"] for item in films.get("/v1/catalog/titles", sort="title").json["items"]]
    assert films.titles(ids=f"{ids[2]},{ids[0]},ttl_nothing", sort="title") == ["Alpha", "Charlie"]


def build_twenty_films(app):
    catalog = Catalog(app)
    for number in range(20):
        catalog.put(
            f"Film {number % 7}",
            external_id=f"x:{number}",
            year=1990 + number % 3,
            genres=["drama"],
            popularity=number % 4,
        )
    return catalog


@pytest.mark.parametrize("sort", list_statements.SORTS)
@pytest.mark.parametrize("more", [{}, {"genre": "drama"}])
def test_paging_skips_and_repeats_nothing_while_titles_change(app, sort, more):
    catalog = set_scene(app, build_twenty_films)
    before = [item["id"] for page in catalog.walk("/v1/catalog/titles", sort=sort, limit=100, **more) for item in page]
    seen = []
    for number, page in enumerate(catalog.walk("/v1/catalog/titles", sort=sort, limit=3, **more)):
        seen += [item["id"] for item in page]
        catalog.put(f"Late {number}", external_id=f"late:{number}", year=1991, genres=["drama"], popularity=2)
    assert [title for title in seen if title in before] == before
    assert len(set(seen)) == len(seen)


def test_the_total_is_included_on_request(films):
    assert films.get("/v1/catalog/titles", genre="drama", limit=1, include_total="true").json["total"] == 3
    assert "total" not in films.get("/v1/catalog/titles").json


def test_a_cursor_is_valid_only_for_its_list(films):
    def status(cursor, **query):
        return films.get("/v1/catalog/titles", cursor=cursor, **query).status_code

    here = {"sort": "title", "genre": "drama"}
    cursor = films.get("/v1/catalog/titles", **here, limit=1).json["next_cursor"]
    assert status(cursor, **here, limit=2, locale="de", include_total="true") == 200
    for other in ({"sort": "year"}, {"genre": "crime"}, {"kind": "movie"}, {"year__gte": 1}, {"ids": "ttl_x"}):
        assert status(cursor, **here | other) == 422
    assert status(cursor, sort="title") == 422
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spelt = [cursor + "=", cursor + "!", *(cursor[:-1] + letter for letter in alphabet if letter != cursor[-1])]
    assert {status(other, **here) for other in spelt} == {422}


def test_a_title_has_every_documented_field(catalog):
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


def test_an_episode_has_every_documented_field(catalog):
    art = {"role": "still", "url": "https://img.example/pilot.jpg"}
    episode = {
        "number": 1, "title": "Pilot", "synopsis": "It begins.", "runtime_s": 3480, "released_on": "2008-01-20",
        "artwork": [art], "markers": {"credits_s": 3300}, "media": {"hls": "https://cdn.example/pilot.m3u8"},
    }  # fmt: skip
    title = catalog.put("Serial", kind="series", seasons=[{"number": 1, "episodes": [episode]}])
    [listed] = catalog.get(f"/v1/catalog/titles/{title}/episodes").json["items"]
    shown = catalog.get(f"/v1/catalog/episodes/{listed['id']}").json
    for name in ("number", "title", "synopsis", "runtime_s", "released_on", "markers"):
        assert shown[name] == episode[name], name
    assert shown["artwork"][0].items() >= art.items()
    assert "media" not in shown


def test_a_title_includes_its_card_from_lists(films):
    for card in films.get("/v1/catalog/titles").json["items"]:
        assert card.items() <= films.get(f"/v1/catalog/titles/{card['id']}").json.items()


def test_an_unknown_title_is_not_found(catalog):
    assert catalog.get("/v1/catalog/titles/ttl_nothing").status_code == 404


def test_anonymous_requests_are_refused(app, films):
    for path in ("/v1/catalog/titles", "/v1/catalog/search?q=a", "/v1/catalog/genres"):
        assert app.test_client().get(path).status_code == 401


def test_genres_have_at_least_one_visible_title(films):
    films.put("Only for adults", genres=["horror"], age_rating="US:NC-17")
    assert [genre["code"] for genre in films.get("/v1/catalog/genres").json["items"]] == [
        "comedy",
        "crime",
        "drama",
        "horror",
    ]
    kid = films.viewer(max_age=10)
    assert [genre["code"] for genre in kid.get("/v1/catalog/genres").json["items"]] == ["drama"]


def test_a_profiles_lists_are_in_its_language_and_without_what_was_removed(catalog):
    """A series has one entry, in the profile's language, else the account's; a removed episode has none."""
    episodes = [{"number": number, "title": f"Part {number}", "runtime_s": 3000} for number in (1, 2, 3)]
    record = {"kind": "series", "localizations": {"de": {"title": "Serie"}, "fr": {"title": "Feuilleton"}}}
    title = catalog.put("Serial", **record, seasons=[{"number": 1, "episodes": episodes}])
    listed = catalog.get(f"/v1/catalog/titles/{title}/episodes").json["items"]
    for language, name in (("de", "Serie"), (None, "Serial")):
        viewer = catalog.viewer(language=language)
        [profile] = viewer.get("/v1/profiles").json["items"]
        path = f"/v1/profiles/{profile['id']}"
        assert viewer.client.put(f"{path}/watchlist/{title}").status_code == 204
        assert [item["title"]["title"] for item in viewer.get(f"{path}/watchlist").json["items"]] == [name]
        for episode, position_s, row in ((listed[0], 2990, "next-up"), (listed[1], 600, "continue-watching")):
            report = {"position_s": position_s, "duration_s": 3000, "at": "2026-01-15T12:00:00Z"}
            saved = viewer.client.put(f"{path}/progress/{episode['id']}", json=report)
            assert saved.status_code == 200, saved.json
            assert [item["title"]["title"] for item in viewer.get(f"{path}/{row}").json["items"]] == [name]
    catalog.put("Serial", **record, seasons=[{"number": 1, "episodes": episodes[:1] + episodes[2:]}])
    assert viewer.get(f"{path}/continue-watching").json["items"] == []


def test_an_age_limit_hides_higher_rated_and_unrated_titles(films):
    kid = films.viewer(max_age=10)
    assert kid.titles() == ["Delta", "Bravo"]
    hidden = films.get("/v1/catalog/titles", genre="crime").json["items"][0]["id"]
    assert kid.get(f"/v1/catalog/titles/{hidden}").status_code == 404
    assert kid.titles(ids=hidden) == []
    assert kid.search("alpha") == kid.search("charlie") == []


def test_titles_are_shown_in_the_closest_language(catalog):
    title = catalog.put(
        "Spirited Away",
        localizations={"de": {"title": "Chihiros Reise"}, "pt-BR": {"synopsis": "…"}},
        synopsis="A girl.",
    )
    assert catalog.titles(locale="de-AT") == ["Chihiros Reise"]
    assert catalog.titles(locale="fr") == ["Spirited Away"]
    assert catalog.get(f"/v1/catalog/titles/{title}", locale="de").json["synopsis"] == "A girl."
    assert catalog.viewer(language="de").titles() == ["Chihiros Reise"]
    assert catalog.search("chihiros reise") == ["Spirited Away"]


def test_each_text_falls_back_independently(catalog):
    localizations = {
        "pt": {"title": "A Viagem"},
        "pt-BR": {"synopsis": "Uma menina."},
        "de-1996": {"title": "Die Reise"},
    }
    title = catalog.put("Spirited Away", synopsis="A girl.", localizations=localizations)

    def texts(locale):
        shown = catalog.get(f"/v1/catalog/titles/{title}", locale=locale).json
        return shown["title"], shown["synopsis"]

    assert texts("pt-BR") == ("A Viagem", "Uma menina.")
    assert texts("pt-PT") == ("A Viagem", "A girl.")
    assert texts("de-1996") == ("Die Reise", "A girl.")
    assert texts("de-AT") == ("Spirited Away", "A girl.")


def test_responses_have_a_strong_etag_and_are_not_sent_twice(films):
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
    responses = [caller.get("/v1/catalog/titles") for caller in (ann, ben, kid)]
    assert responses[0].data == responses[1].data != responses[2].data
    assert responses[0].headers["ETag"] == responses[1].headers["ETag"] != responses[2].headers["ETag"]
