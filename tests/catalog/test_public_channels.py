"""Live channels without a token: what visitors see of them, and how long caches may keep it."""

from datetime import timedelta

import pytest

from streamsvc.rules.playback.access import ProgrammeFacts, ViewerFacts, is_programme_allowed
from tests.worlds.catalog_world import Visitor, base_vary
from tests.worlds.channel_steps import LiveWorld, rating
from tests.worlds.playback_steps import error_of

CHANNELS, GUIDE = "/v1/catalog/channels", "/v1/catalog/programmes"


@pytest.fixture
def use_settings(app):
    """Change settings of the service until the end of the test."""
    former = app.extensions["settings"]
    yield lambda **changes: app.extensions.update(settings=app.extensions["settings"].replace(**changes))
    app.extensions["settings"] = former


@pytest.fixture
def world(app, use_settings):
    use_settings(catalog="public")
    world = LiveWorld(app)
    world.put_channel()
    world.put_channel("german", name="German", number="2", age_rating=None, windows=[{"countries": ["DE"]}])
    world.put_channel("night", name="Night", number="3", age_rating="DE:18")
    world.put_channel("closed", name="Closed", number="4", plans=[])
    world.put_guide(("Morning", -60, 0.5), ("Noon", 1, 30), ("Thriller", 30, 60, rating("18")))
    world.put_guide(
        ("Erotica", -10, 10, rating("18")), ("Odd", 10, 20, rating("?")), ("Cartoon", 20, 30), channel="german"
    )
    return world


def seen(visitor):
    """Return {channel: [now, next]} of the list."""
    response = visitor.get(CHANNELS)
    assert response.status_code == 200, response.json
    return {
        item["name"]: [item[name] and item[name]["title"] for name in ("now", "next")]
        for item in response.json["items"]
    }


def guide_of(visitor):
    response = visitor.get(GUIDE)
    assert response.status_code == 200, response.json
    return {row["channel"]["name"]: [item["title"] for item in row["programmes"]] for row in response.json["items"]}


@pytest.mark.every_database
def test_visitors_see_the_channels_of_their_country_and_nothing_for_adults(app, world, use_settings):
    german, american = Visitor(app, "DE"), Visitor(app, "US")
    world.clock.advance(seconds=90)
    assert seen(american) == {"News One": ["Noon", None]}, "what comes next is for adults"
    assert seen(german) == {"News One": ["Noon", None], "German": [None, None]}
    assert seen(Visitor(app)) == seen(american)
    assert guide_of(german) == {"News One": ["Morning", "Noon"], "German": ["Cartoon"]}
    path = f"{CHANNELS}/{world.ids['german']}"
    assert [item["title"] for item in german.get(f"{path}/programmes").json["items"]] == ["Cartoon"]
    assert german.get(path).json["availability"]["reason"] == "programme_restricted"
    world.clock.advance(minutes=20)
    assert seen(german) == {"News One": ["Noon", None], "German": ["Cartoon", None]}
    assert american.get(path).json["availability"]["reason"] == "not_available_in_country"
    assert Visitor(app).get(path).json["availability"]["reason"] == "country_unknown"
    assert german.get(path).json["availability"]["reason"] == "subscription_required"
    news = german.get(f"{CHANNELS}/{world.ids['news']}").json
    assert news["availability"] == {
        "playable": False, "reason": "subscription_required", "starts_at": None, "ends_at": None
    }  # fmt: skip
    for hidden in (f"{CHANNELS}/{world.ids['night']}", f"{CHANNELS}/{world.ids['night']}/programmes"):
        assert error_of(german.get(hidden)) == (404, "not_found")
    use_settings(guest_max_age=5)
    assert (seen(german), guide_of(german)) == ({}, {})
    use_settings(guest_max_age=6)
    assert seen(german) == {"News One": ["Noon", None]}, "an unrated channel is above every limit"


def test_the_country_of_a_visitor_does_not_filter_channels(app, world):
    world.put_channel(countries=["GB"])
    german, viewer = Visitor(app, "DE"), world.household()
    assert list(seen(german)) == ["News One", "German"]
    pages = [
        german.get(CHANNELS, origin_country="GB"),
        viewer.get(f"{CHANNELS}?origin_country=GB"),
        viewer.get(f"{CHANNELS}?country=GB"),
    ]
    for page in pages:
        assert [item["name"] for item in page.json["items"]] == ["News One"]
    assert error_of(german.client.get(f"{CHANNELS}?country=QQ")) == (422, "invalid")


def test_a_visitors_copy_is_public_until_the_next_change_and_at_most_a_minute(app, world, use_settings):
    german, viewer = Visitor(app, "DE"), world.household()
    world.clock.advance(seconds=20)  # ten seconds before "Morning" is over
    paths = [CHANNELS, f"{CHANNELS}/{world.ids['news']}", f"{CHANNELS}/{world.ids['news']}/programmes", GUIDE]
    for path, fresh_s in zip(paths, (10, 10, 60, 60), strict=True):
        response = german.get(path)
        assert response.headers["Cache-Control"] == f"public, max-age={fresh_s}, s-maxage={fresh_s}", path
        assert base_vary(response) == "Authorization, Cookie" and "Set-Cookie" not in response.headers
        again = german.client.get(path, query_string="country=DE", headers={"If-None-Match": response.headers["ETag"]})
        assert (again.status_code, again.headers["Cache-Control"]) == (304, response.headers["Cache-Control"])
        assert base_vary(again) == "Authorization, Cookie"
        assert viewer.get(path).headers["Cache-Control"] == "private, no-cache"
        assert viewer.get(path).headers.get("Vary") in (None, "Accept-Encoding")
    world.clock.advance(seconds=10)
    assert seen(german)["News One"] == [None, "Noon"]
    missing = german.get(f"{CHANNELS}/chn_none")
    assert (missing.status_code, missing.headers["Cache-Control"]) == (404, "no-store")
    use_settings(geo_database="/nowhere.mmdb")
    assert german.get(GUIDE).headers["Cache-Control"] == "private, max-age=60"
    use_settings(geo_database=None, catalog="private")
    assert all(german.get(path).status_code == 401 for path in paths)


def test_a_copy_is_kept_no_longer_than_a_window_or_the_catch_up_is_open(app, world):
    german, now = Visitor(app, "DE"), world.clock()
    world.put_channel(
        "brief", name="Brief", number="0", windows=[{"ends_at": (now + timedelta(seconds=15)).isoformat()}]
    )
    for path in (CHANNELS, f"{CHANNELS}/{world.ids['brief']}", GUIDE):
        assert german.get(path).headers["Cache-Control"] == "public, max-age=15, s-maxage=15", path
    world.put_channel(catchup_hours=1)
    world.clock.advance(minutes=60, seconds=10)  # twenty seconds before "Morning" can be played no more
    earlier = {"from": (now - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")}
    for path in (f"{CHANNELS}/{world.ids['news']}/programmes", GUIDE):
        response = german.get(path, **earlier)
        assert response.headers["Cache-Control"] == "public, max-age=20, s-maxage=20", path


def test_an_ended_token_makes_nobody_a_visitor_of_channels(app, world):
    client = app.test_client(use_cookies=False)
    for headers in ({"Authorization": "Bearer sst_ended"}, {"Cookie": "__Host-sst=sst_ended"}):
        assert client.get(CHANNELS, headers=headers).status_code == 401
    assert client.post("/v1/playback", json={"item_id": world.ids["news"]}).status_code == 401


@pytest.mark.one_database
def test_what_no_rating_system_knows_counts_as_for_adults():
    visitor = ViewerFacts(is_visitor=True)
    ages = {age: is_programme_allowed(ProgrammeFacts(age), visitor) for age in (None, 0, 17, 18, 99)}
    assert ages == {None: True, 0: True, 17: True, 18: False, 99: False}
    assert is_programme_allowed(ProgrammeFacts(18), ViewerFacts())
