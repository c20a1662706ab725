"""Restricted titles are absent from every endpoint, by one decision."""

import random
from datetime import timedelta

import pytest

from streamsvc.rules.catalog.record import convert_record
from streamsvc.rules.playback.access import ViewerFacts, decide_access, is_listed
from tests.worlds.catalog_world import Catalog

COUNTRIES = ("DE", "US", "JP")
PLANS = (None, None, None, ["basic"], ["premium"], ["basic", "premium"], ["sports"], ["basic  sports"], [])
RATINGS = (None, "US:G", "DE:6", "US:PG-13", "DE:16", "US:NC-17")
OTHER_RATINGS = ([], [], ["FR:U"], ["JP:G", "GB:15"], ["JP:PG12", "FR:16"])
HOUR = timedelta(hours=1)


@pytest.fixture
def catalog(app):
    return Catalog(app)


def any_record(rng, number, noon):
    """Return a title with random restrictions, or none."""

    def any_window():
        start, length = rng.randint(-5, 5), rng.randint(1, 5)
        window = {"countries": rng.choice([None, ["DE"], ["US", "JP"], ["FR"]])}
        window |= {"starts_at": (noon + start * HOUR).isoformat()} if rng.random() < 0.7 else {}
        return window | ({"ends_at": (noon + (start + length) * HOUR).isoformat()} if rng.random() < 0.7 else {})

    return {
        "external_id": f"x:{number}",
        "kind": "movie",
        "title": f"Title {number}",
        "age_rating": rng.choice(RATINGS),
        "age_ratings": rng.choice(OTHER_RATINGS),
        "windows": rng.choice([None, None, [], [any_window()], [any_window() for _ in range(3)]]),
        "plans": rng.choice(PLANS),
        "credits": [{"name": "Somebody", "role": "actor"}],
        "genres": ["drama"],
    }


@pytest.fixture
def people(catalog):
    """Return viewers of every kind, with the facts that decide their access."""
    viewers = []
    for country, plans, max_age in [
        ("DE", (), None),
        ("DE", ("basic", "sports"), None),
        ("US", ("premium",), 13),
        ("JP", ("basic",), 6),
    ]:
        viewer = catalog.viewer(country=country, max_age=max_age)
        if plans:
            catalog.subscribe(viewer, *plans)
        viewers.append((viewer, ViewerFacts(max_age=max_age, country=country, subscribed=bool(plans), plans=plans)))
    return viewers


@pytest.mark.parametrize("seed", [1, 2])
def test_every_endpoint_makes_the_same_decision(app, catalog, people, seed):
    rng, clock = random.Random(seed), app.extensions["clock"]
    records = [any_record(rng, number, clock.at) for number in range(40)]
    ids = {record["external_id"]: catalog.put(**record) for record in records}
    facts = {ids[record["external_id"]]: convert_record(record).facts for record in records}
    names = {ids[record["external_id"]]: record["title"] for record in records}
    person = catalog.get(f"/v1/catalog/titles/{next(iter(facts))}").json["credits"][0]["person_id"]
    collection = {"title": "All", "items": list(ids.values())}
    assert catalog.client.put("/v1/admin/collections/all", json=collection).status_code == 200
    for _ in range(3):
        for viewer, viewer_facts in people:
            listed = sorted(
                names[title] for title, title_facts in facts.items() if is_listed(title_facts, viewer_facts, clock.at)
            )
            compare_lists(viewer, listed, person)
            for title, title_facts in facts.items():
                compare_one(viewer, title, decide_access(title_facts, viewer_facts, clock.at))
        clock.advance(hours=2)


def compare_lists(viewer, listed, person):
    assert sorted(viewer.titles(limit=100)) == listed
    assert sorted(viewer.titles(limit=100, genre="drama", sort="-popularity")) == listed
    assert sorted(viewer.titles(limit=100, person=person)) == listed
    assert sorted(viewer.search("title", limit=100)) == listed
    filmography = viewer.get(f"/v1/catalog/people/{person}")
    assert sorted(c["title"]["title"] for c in filmography.json.get("credits", [])) == listed
    assert (filmography.status_code == 404) == (not listed)
    shown = viewer.get("/v1/catalog/collections/all", limit=100).json["items"]
    assert sorted(item["title"] for item in shown) == listed
    for row in viewer.get("/v1/catalog/home").json["items"]:
        assert {item["title"] for item in row["items"]} <= set(listed)


def compare_one(viewer, title, expected):
    shown = viewer.get(f"/v1/catalog/titles/{title}")
    played = viewer.client.post("/v1/playback", json={"item_id": title})
    if expected.hidden:
        assert shown.status_code == played.status_code == 404
        return
    availability = shown.json["availability"]
    assert (availability["playable"], availability["reason"]) == (expected.playable, expected.reason)
    if expected.playable:
        assert played.status_code == 201, played.json
        assert viewer.client.delete(f"/v1/playback/{played.json['stream_id']}").status_code == 204
    else:
        assert (played.status_code, played.json["code"]) == (403, expected.reason)


def test_a_window_opens_and_closes_to_the_second(app, catalog):
    clock = app.extensions["clock"]
    window = {"starts_at": (clock.at + HOUR).isoformat(), "ends_at": (clock.at + 2 * HOUR).isoformat()}
    title = catalog.put("Film", windows=[{"countries": ["DE"], **window}])
    ann = catalog.viewer()
    availability = ann.get(f"/v1/catalog/titles/{title}").json["availability"]
    assert (availability["starts_at"], availability["ends_at"]) == ("2026-01-15T13:00:00Z", "2026-01-15T14:00:00Z")
    visible = []
    for wait in (0, 3599, 1, 3599, 1):
        clock.advance(seconds=wait)
        visible.append((ann.titles(), ann.search("film")))
    assert visible == [([], []), ([], []), (["Film"], ["Film"]), (["Film"], ["Film"]), ([], [])]


def test_an_addon_opens_the_titles_of_its_plan_while_it_lasts(app, catalog):
    sports, goals = catalog.put_plan("sports", addon=True), catalog.put("Goals", plans=["sports"])
    ann, bob = catalog.viewer(), catalog.viewer()
    subscription_id = catalog.subscribe(ann, "basic")
    catalog.put_plan("all", includes=["sports"])
    catalog.subscribe(bob, "basic")

    def access(viewer):
        """Return whether lists and search have the title, its badge, and what playback and the explanation say."""
        account_id = viewer.get("/v1/sessions/current").json["account"]["id"]
        explained = catalog.client.post("/v1/admin/explain", json={"account_id": account_id, "item_id": goals}).json
        played = viewer.client.post("/v1/playback", json={"item_id": goals})
        if played.status_code == 201:
            assert viewer.client.delete(f"/v1/playback/{played.json['stream_id']}").status_code == 204
        return (
            [viewer.titles(), viewer.search("goals")],
            viewer.get(f"/v1/catalog/titles/{goals}").json["availability"]["reason"],
            played.json.get("code"),
            explained["code"],
            explained["facts"]["plans"],
        )

    def write(method, path, body):
        headers = {"Idempotency-Key": f"{method} {path}"}
        response = getattr(ann.client, method)(
            f"/v1/subscriptions/{subscription_id}/{path}", json=body, headers=headers
        )
        assert response.status_code in (200, 201), response.json

    closed = ([[], []], "not_in_plan", "not_in_plan", "not_in_plan", ["basic"])
    assert access(ann) == access(bob) == closed
    write("post", "addons", {"price_id": sports})
    assert access(ann) == ([["Goals"], ["Goals"]], None, None, None, ["basic", "sports"])
    assert ann.get("/v1/sessions/current").json["entitlements"]["plans"] == ["basic", "sports"]
    write("delete", "addons/sports?when=now", None)
    assert access(ann)[1:4] == (None, None, None)  # today is paid
    app.extensions["clock"].advance(days=1)
    assert access(ann) == access(bob) == closed
    write("post", "plan-change", {"price_id": catalog.put_plan("all", includes=["sports"]), "when": "now"})
    app.extensions["clock"].advance(days=1)
    assert access(ann) == ([["Goals"], ["Goals"]], None, None, None, ["all", "sports"])
    assert access(bob) == closed


def test_an_etag_changes_when_a_window_opens(app, catalog):
    clock = app.extensions["clock"]
    catalog.put("Film", windows=[{"starts_at": (clock.at + HOUR).isoformat()}])
    ann = catalog.viewer()
    before = ann.get("/v1/catalog/titles").headers["ETag"]
    clock.advance(minutes=59)
    assert ann.client.get("/v1/catalog/titles", headers={"If-None-Match": before}).status_code == 304
    clock.advance(minutes=1)
    after = ann.client.get("/v1/catalog/titles", headers={"If-None-Match": before})
    assert (after.status_code, len(after.json["items"])) == (200, 1)


def test_an_operator_can_query_a_country(catalog):
    title = catalog.put("Film", windows=[{"countries": ["DE"]}])

    def reason(**query):
        return catalog.get(f"/v1/catalog/titles/{title}", **query).json["availability"]["reason"]

    assert (reason(country="DE"), reason(country="US"), reason()) == (
        None,
        "not_available_in_country",
        "country_unknown",
    )
    assert catalog.get(f"/v1/catalog/titles/{title}", country="QQ").status_code == 422


def test_a_viewer_cannot_query_another_country(catalog):
    title = catalog.put("Film", windows=[{"countries": ["US"]}])
    ann = catalog.viewer(country="DE")
    assert ann.get(f"/v1/catalog/titles/{title}", country="US").json["availability"]["playable"] is False
