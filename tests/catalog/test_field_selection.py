"""`fields` on title lists, search and one title."""

import pytest

from tests.worlds import hot_reads as comparison
from tests.worlds.catalog_world import Catalog
from tests.worlds.scenes import set_scene
from tests.worlds.sessions_steps import new_person

TITLES = "/v1/catalog/titles"
SEARCH = "/v1/catalog/search"


def put_films(app):
    catalog = Catalog(app)
    catalog.put("Alien", year=1979, genres=["horror"], age_rating="US:R", age_ratings=["DE:16"], languages=["en"])
    catalog.put(
        "Tides",
        kind="series",
        seasons=[{"number": 1, "episodes": [{"number": 1, "title": "Alien Ebb"}]}],
        extras=[{"kind": "trailer", "title": "Trailer", "media": {"hls": "https://cdn.example/t/m.m3u8"}}],
        localizations={"de": {"title": "Gezeiten"}},
        genres=["horror"],
    )
    return catalog


@pytest.fixture
def films(app):
    return set_scene(app, put_films)


def test_a_list_has_the_selected_fields_and_the_id(films):
    [tides, alien] = films.get(TITLES).json["items"]
    page = films.get(TITLES, fields="year,title", include_total="true").json
    assert page["items"] == [{name: item[name] for name in ("id", "title", "year")} for item in (tides, alien)]
    assert (page["total"], page["next_cursor"]) == (2, None)
    assert films.get(TITLES, fields="id").json["items"] == [{"id": tides["id"]}, {"id": alien["id"]}]
    every = ",".join(alien)
    assert films.get(TITLES, fields=every).json["items"] == [tides, alien]


def test_selected_fields_are_in_the_language_and_with_the_rating_of_the_viewer(films, client):
    viewer = new_person(client)
    path = f"{TITLES}?fields=title,age_rating&sort=title&locale=de"
    [alien, tides] = viewer.get(path).json["items"]
    assert (alien["age_rating"]["label"], tides["title"]) == ("16", "Gezeiten")
    assert films.get(path).json["items"][0]["age_rating"]["label"] == "R"


def test_a_cursor_goes_on_with_other_fields(films):
    cursor = films.get(TITLES, limit=1, fields="title").json["next_cursor"]
    [alien] = films.get(TITLES, limit=1, fields="year", cursor=cursor).json["items"]
    assert alien.keys() == {"id", "year"} and alien["year"] == 1979


def test_a_hit_has_the_selected_fields_that_its_kind_has(films):
    page = films.get(SEARCH, q="alien", kinds="title,episode", fields="kind,series,match,year").json
    assert {item["kind"]: set(item) for item in page["items"]} == {
        "movie": {"id", "kind", "match", "year"},
        "series": {"id", "kind", "match", "year"},
        "episode": {"id", "kind", "match", "series"},
    }
    assert films.get(SEARCH, q="alien", fields="title").json["items"][0].keys() == {"id", "title"}


def test_a_title_has_the_selected_fields_and_what_is_expanded(films):
    [title] = [item["id"] for item in films.get(TITLES, kind="series").json["items"]]
    whole = films.get(f"{TITLES}/{title}", expand="seasons,similar").json
    for selected, expand in (
        ({"title", "availability"}, ()),
        ({"extras", "credits"}, ()),
        ({"title"}, ("seasons",)),
        ({"year"}, ("similar", "credits")),
    ):
        shown = films.get(f"{TITLES}/{title}", fields=",".join(selected), expand=",".join(expand)).json
        assert shown == {name: whole[name] for name in {"id", *selected, *expand}}


@pytest.mark.parametrize(
    ("path", "query"),
    [
        (TITLES, {"fields": "title,plot"}),
        (TITLES, {"fields": "match"}),
        (TITLES, {"fields": ""}),
        (SEARCH, {"q": "alien", "fields": "credits"}),
        (f"{TITLES}/ttl_x", {"fields": "seasons"}),
        (f"{TITLES}/ttl_x", {"fields": "media"}),
    ],
)
def test_an_unknown_field_is_refused_with_the_known_ones(films, path, query):
    response = films.get(path, **query)
    assert response.status_code == 422
    [reason] = response.json["errors"]["fields"]
    assert reason.startswith("Must be one or more of id, kind, title, ")


def test_each_selection_has_its_own_etag_and_is_kept_apart(films, client):
    ann = new_person(client)
    comparison.checked.clear()
    [title] = [item["id"] for item in films.get(TITLES, kind="series").json["items"]]
    for path in (f"{TITLES}?sort=title", f"{SEARCH}?q=alien", f"{TITLES}/{title}?locale=en"):
        bodies, etags = {}, set()
        for selection in ("", "&fields=title", "&fields=title,kind"):
            for _ in range(2):
                response = ann.get(path + selection)
                assert bodies.setdefault(selection, response.data) == response.data
            etag = response.headers["ETag"]
            etags.add(etag)
            assert ann.get(path + selection, headers={"If-None-Match": etag}).status_code == 304
            assert ann.get(path + "&fields=year", headers={"If-None-Match": etag}).status_code == 200
        assert len(etags) == len(set(bodies.values())) == 3
    hot = {"/v1/catalog/titles": 12, "/v1/catalog/search": 12, "/v1/catalog/titles/<title_id>": 12}
    assert comparison.checked == hot, "each was compared with Flask's response"
