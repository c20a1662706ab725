"""Tags, studios, other titles, sort titles and adult titles."""

import pytest

from tests.worlds.catalog_world import Catalog


@pytest.fixture
def catalog(app):
    return Catalog(app)


def test_titles_are_listed_by_tag_and_studio(catalog):
    catalog.put("One", tags=["Based on Novel"], studios=["Warner Bros.", "A24"], age_rating="US:G")
    catalog.put("Two", tags=["based-on-novel", "noir"], studios=["WARNER BROS"], age_rating="US:R")
    catalog.put("Three", genres=["noir"], age_rating="US:G")
    assert sorted(catalog.titles(tag="based-on-novel")) == ["One", "Two"]
    assert catalog.titles(tag="based-on-novel", studio="a24") == ["One"]
    assert catalog.titles(tag="noir", sort="title") == ["Two"]
    child = catalog.viewer(max_age=6)
    assert child.titles(studio="warner-bros") == ["One"]
    filters = child.get("/v1/catalog/filters").json
    assert [tag["code"] for tag in filters["tags"]] == ["based-on-novel"]
    assert filters["studios"] == [{"code": "a24", "name": "A24"}, {"code": "warner-bros", "name": "Warner Bros."}]
    for unknown in ({"tag": "nore"}, {"studio": "Warner Bros."}):
        refused = catalog.get("/v1/catalog/titles", **unknown)
        assert (refused.status_code, list(refused.json["errors"])) == (422, list(unknown))


def test_a_title_page_has_its_labels_and_other_titles(catalog):
    other = {"title": "Kreuzgang", "language": "de", "kind": "working"}
    film = catalog.put("Cloister", tags=["Noir"], studios=["A24"], alternative_titles=[other], languages=["en"])
    page = catalog.get(f"/v1/catalog/titles/{film}").json
    assert (page["tags"], page["studios"], page["adult"]) == (["noir"], [{"code": "a24", "name": "A24"}], False)
    assert page["alternative_titles"] == [other | {"country": None}]
    assert catalog.hits("kreuzgang") == [("exact", "Cloister")]
    bad = {"kind": "movie", "title": "C", "alternative_titles": [{"title": "X", "language": "!!", "country": "XX"}]}
    assert catalog.client.put("/v1/admin/titles/x", json=bad).json["errors"].keys() == {
        "alternative_titles[0].language",
        "alternative_titles[0].country",
    }


@pytest.mark.every_database
def test_both_databases_sort_titles_alike(catalog):
    titles = ["“Aguirre”", "Alien 2", "Alien 10", "alién 11", "The Birds", "Zorn", "Щит", "東京物語"]
    for title in (*reversed(titles[1:]), titles[0]):
        catalog.put(title, genres=["any"])
    catalog.put("Zyx", sort_title="Alien 3", genres=["any"])
    titles.insert(2, "Zyx")
    for query in ({}, {"genre": "any"}):
        assert catalog.titles(sort="title", **query) == titles
        assert catalog.titles(sort="-title", **query) == titles[::-1]


def test_an_adult_title_is_hidden_from_every_limit_and_from_kids(catalog):
    adult = catalog.put("Adult", adult=True)
    rated = catalog.put("Rated", adult=True, age_rating="DE:16")
    unrated = catalog.put("Unrated")
    page = catalog.get(f"/v1/catalog/titles/{adult}").json
    assert (page["age_rating"], page["adult"]) == ({"system": "ADULT", "label": "18", "min_age": 18}, True)
    grown = catalog.viewer()
    assert sorted(grown.titles()) == ["Adult", "Rated", "Unrated"]
    assert grown.titles(age__lte=21) == []
    limited = catalog.viewer(max_age=21)
    assert limited.titles() == []
    kids = catalog.viewer()
    profile = kids.client.post("/v1/profiles", json={"name": "Kids", "kids": True}).json["id"]
    assert kids.client.patch("/v1/sessions/current", json={"profile_id": profile}).status_code == 200
    assert kids.titles() == ["Unrated"]
    for viewer in (limited, kids):
        for title in (adult, rated):
            assert viewer.get(f"/v1/catalog/titles/{title}").status_code == 404
    watchlist = f"/v1/profiles/{profile}/watchlist"
    assert kids.client.put(f"{watchlist}/{adult}").status_code == 404
    assert kids.client.put(f"{watchlist}/{unrated}").status_code == 204


def test_seasons_have_a_synopsis_and_artwork(catalog):
    poster = {"role": "poster", "url": "/s1.jpg"}
    seasons = [{"number": 1, "synopsis": "It begins.", "artwork": [poster], "episodes": [{"number": 1}]}, {"number": 2}]
    show = catalog.put("Show", kind="series", seasons=seasons)
    first, second = catalog.get(f"/v1/catalog/titles/{show}/seasons").json["items"]
    assert first["artwork"] == [poster | {"width": None, "height": None, "language": None}]
    assert (first["synopsis"], second["synopsis"], second["artwork"]) == ("It begins.", None, [])
    expanded = catalog.get(f"/v1/catalog/titles/{show}", expand="seasons").json["seasons"]
    assert [season["artwork"] for season in expanded] == [first["artwork"], []]
    catalog.put("Show", kind="series", seasons=[{"number": 1}])
    assert catalog.get(f"/v1/catalog/titles/{show}/seasons").json["items"][0]["artwork"] == []
