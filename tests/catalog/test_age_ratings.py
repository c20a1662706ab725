"""Titles that countries rate differently: the rating of the viewer's country decides, else the main one."""

import dataclasses
import secrets

import pytest

from tests.worlds.playback_steps import Watcher, World
from tests.worlds.scenes import set_scene

pytestmark = pytest.mark.every_database

MAX_AGE = 12
RATED = {
    "alike": {"age_rating": "US:PG"},
    "strict in Germany": {"age_rating": "US:PG", "age_ratings": ["DE:16"]},
    "mild in Germany": {"age_rating": "US:R", "age_ratings": ["de:12", "GB:15"]},
    "rated only in Germany": {"age_ratings": ["DE:6"]},
    "not rated in Britain": {"age_rating": "US:G", "age_ratings": ["GB:E"]},
    "series, mild in Germany": {"age_rating": "US:TV-MA", "age_ratings": ["DE:12"], "kind": "series"},
}
VISIBLE = {
    "DE": {"alike", "mild in Germany", "rated only in Germany", "not rated in Britain", "series, mild in Germany"},
    "US": {"alike", "strict in Germany", "not rated in Britain"},
    "GB": {"alike", "strict in Germany"},
    "FR": {"alike", "strict in Germany", "not rated in Britain"},
    "": {"alike"},
}
"""What a profile with this limit may see, by country; "" is an unknown one."""
SHOWN = {"mild in Germany": {"DE": "12", "GB": "15", "US": "R"}, "strict in Germany": {"DE": "16", "GB": "PG"}}


def record_of(name, **rating):
    seasons = [{"number": 1, "episodes": [{"number": n, "runtime_s": 3000} for n in (1, 2)]}]
    film = {"kind": "movie", "runtime_s": 3000}
    common = {"external_id": name, "title": f"The {name}", "genres": ["drama"]}
    common |= {"credits": [{"name": "Ann", "role": "actor"}], "localizations": {"de": {"title": f"Das {name}"}}}
    return common | ({"seasons": seasons} if rating.get("kind") == "series" else film) | rating


@pytest.fixture
def world(app, request, monkeypatch):
    settings = dataclasses.replace(app.extensions["settings"], country_header="X-Country")
    monkeypatch.setitem(app.extensions, "settings", settings)
    return set_scene(app, build_world, "kid" in request.fixturenames)


@pytest.fixture
def kid(world):
    """A profile with an age limit that has watched everything before it was limited."""
    return world.kid


def build_world(app, with_kid):
    world = World(app)
    world.put_titles(*(record_of(name, **rating) for name, rating in RATED.items()))
    items = {"title": "All", "items": list(RATED)}
    assert world.operator.put("/v1/admin/collections/all", items).status_code == 200
    world.kid = create_kid(world) if with_kid else None
    return world


def create_kid(world):
    kid = Watcher(world)
    at(kid, "US")
    for name in RATED:
        item = f"{name}/1/1" if f"{name}/1/1" in world.ids else name
        assert kid.report(item, 1000, 3000, play_id=secrets.token_hex(8)).status_code == 200
        assert kid.viewer.put(kid.path("watchlist", world.ids[name])).status_code == 204
    kid.watch("series, mild in Germany/1/1")
    assert kid.viewer.patch(f"/v1/profiles/{kid.profile_id}", {"max_age": MAX_AGE}).status_code == 200
    return kid


def at(kid, country):
    kid.viewer.client.environ_base["HTTP_X_COUNTRY"] = country


def lists_of(kid):
    """Return the titles of every list that a profile gets, by the list's name."""
    ids = {world_id: name for name, world_id in kid.world.ids.items()}

    def names(path, find=lambda body: body["items"]):
        response = kid.viewer.get(path)
        assert response.status_code == 200, (path, response.json)
        return {ids[item["id"]] for item in find(response.json)}

    person = kid.viewer.get(f"/v1/catalog/titles/{kid.world.ids['alike']}").json["credits"][0]["person_id"]
    alike = kid.world.ids["alike"]
    return {
        "all": names("/v1/catalog/titles?limit=100"),
        "genre": names("/v1/catalog/titles?genre=drama&sort=-popularity&limit=100"),
        "ids": names(f"/v1/catalog/titles?ids={','.join(kid.world.ids[name] for name in RATED)}"),
        "person": names(f"/v1/catalog/titles?person={person}"),
        "search": names("/v1/catalog/search?q=the"),
        "suggestions": names("/v1/catalog/suggestions?q=the"),
        "collection": names("/v1/catalog/collections/all"),
        "filmography": names(f"/v1/catalog/people/{person}", lambda body: [c["title"] for c in body["credits"]]),
        "similar": names(f"/v1/catalog/titles/{alike}?expand=similar", lambda body: body["similar"]) | {"alike"},
        "home": names("/v1/catalog/home", lambda body: [i for row in body["items"] for i in row["items"]]),
        "history": {name.split("/")[0] for name in kid.row("history")},
        "plays": {ids[play["title_id"]] for play in kid.viewer.get(kid.path("plays")).json["items"]},
        "continue, next": {name.split("/")[0] for name in [*kid.row("continue-watching"), *kid.row("next-up")]},
        "watchlist": set(kid.row("watchlist")),
    }


@pytest.mark.parametrize("country", VISIBLE)
def test_the_rating_of_the_viewers_country_decides_everywhere(world, kid, country):
    at(kid, country)
    visible = VISIBLE[country]
    lists = lists_of(kid)
    assert lists == dict.fromkeys(lists, visible)
    kinds = kid.viewer.get("/v1/catalog/filters").json["kinds"]
    assert kinds == (["movie", "series"] if country == "DE" else ["movie"])
    total = kid.viewer.get("/v1/catalog/titles?include_total=true&limit=1").json["total"]
    assert total == len(visible)
    for name in RATED:
        item = f"{name}/1/2" if f"{name}/1/2" in world.ids else name
        title_id, status = world.ids[name], 200 if name in visible else 404
        page = kid.viewer.get(f"/v1/catalog/titles/{title_id}")
        assert page.status_code == kid.viewer.get(f"/v1/catalog/titles/{title_id}/seasons").status_code == status, name
        played = kid.viewer.play(item)
        assert played.status_code == (201 if status == 200 else 404), (name, played.json)
        assert kid.report(item, 1200, 3000).status_code == status
        writes = {kid.viewer.put(kid.path(row, title_id)).status_code for row in ("watchlist", "watched")}
        writes.add(kid.viewer.put(kid.path("ratings", title_id), {"rating": "up"}).status_code)
        assert writes == {204 if status == 200 else 404}, name
        if played.status_code == 201:
            assert kid.viewer.send_heartbeat(played.json["stream_id"]).status_code == 200
            kid.viewer.delete(f"/v1/playback/{played.json['stream_id']}")
        if country:
            body = {"account_id": kid.viewer.account_id, "profile_id": kid.profile_id, "country": country}
            explained = world.operator.post("/v1/admin/explain", body | {"item_id": world.ids[item]}).json
            assert explained["allowed"] == (status == 200), explained


def test_the_filter_by_age_is_that_of_the_country(world, kid):
    adult = world.household()
    for country in VISIBLE:
        adult.client.environ_base["HTTP_X_COUNTRY"] = country
        found = adult.get(f"/v1/catalog/titles?age.lte={MAX_AGE}").json["items"]
        assert {title["title"].removeprefix("The ") for title in found} == VISIBLE[country], country
    at_most_99 = adult.get("/v1/catalog/titles?age.lte=99").json["items"]
    assert {title["title"].removeprefix("The ") for title in at_most_99} == RATED.keys() - {
        "rated only in Germany", "not rated in Britain",
    }  # fmt: skip


def test_cards_and_pages_show_the_rating_of_the_country(world):
    adult = world.household(locale="de")
    ids = {name: world.ids[name] for name in SHOWN}
    for name, labels in SHOWN.items():
        for country, label in labels.items():
            adult.client.environ_base["HTTP_X_COUNTRY"] = country
            listed = {title["id"]: title for title in adult.get("/v1/catalog/titles").json["items"]}
            page = adult.get(f"/v1/catalog/titles/{ids[name]}").json
            assert page["age_rating"]["label"] == label == listed[ids[name]]["age_rating"]["label"], (name, country)
            assert page["title"] == listed[ids[name]]["title"] == f"Das {name}"
            seen = world.operator.get(f"/v1/catalog/titles/{ids[name]}?country={country}").json["age_rating"]
            assert seen == page["age_rating"]


def test_a_changed_rating_counts_from_the_next_request(world, kid):
    at(kid, "DE")
    path = f"/v1/catalog/titles/{world.ids['alike']}"
    page = kid.viewer.get(path)
    assert page.json["age_rating"] == {"system": "US", "label": "PG", "min_age": 10}
    stream = kid.viewer.play("alike").json["stream_id"]
    before = kid.viewer.get("/v1/catalog/titles")
    world.put_titles(record_of("alike", age_rating="US:PG", age_ratings=["DE:16"]))
    assert kid.viewer.call("GET", "/v1/catalog/titles", If_None_Match=before.headers["ETag"]).status_code == 200
    assert kid.viewer.call("GET", path, If_None_Match=page.headers["ETag"]).status_code == 404
    assert kid.viewer.play("alike").status_code == 404
    ended = kid.viewer.send_heartbeat(stream)
    assert (ended.status_code, ended.json["reason"]) == (410, "not_found")
    world.put_titles(record_of("alike", age_rating="US:PG", age_ratings=["DE:12"]))
    assert kid.viewer.get(path).json["age_rating"]["system"] == "DE"
    world.put_titles(record_of("alike", age_rating="US:PG"))
    assert kid.viewer.get(path).json == page.json
    assert kid.viewer.play("alike").status_code == 201


def test_viewers_of_two_countries_never_share_a_cached_list(world, kid):
    """The title page too: a browser that moves from one country to the other revalidates what it has stored."""
    for path in ("/v1/catalog/titles", "/v1/catalog/home", f"/v1/catalog/titles/{world.ids['alike']}"):
        at(kid, "DE")
        german = kid.viewer.get(path)
        assert kid.viewer.call("GET", path, If_None_Match=german.headers["ETag"]).status_code == 304
        at(kid, "US")
        assert kid.viewer.call("GET", path, If_None_Match=german.headers["ETag"]).status_code == 200
