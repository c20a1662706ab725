"""The public catalogue: what visitors without a token see, and what caches may keep of it."""

import random
from ipaddress import ip_network

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from streamsvc.app import create_app
from streamsvc.rules.catalog.record import convert_record
from streamsvc.rules.playback.access import ViewerFacts, decide_access, is_listed
from streamsvc.rules.rate_limits import RateLimit
from streamsvc.rules.refusals.accounts import TooManyAttempts
from streamsvc.security.authentication import COOKIE
from streamsvc.security.local_rate_limits import LocalRateLimits
from tests.catalog.test_catalog_access import any_record, compare_lists
from tests.conftest import close_app
from tests.service.test_metrics import parse_samples
from tests.worlds.catalog_world import Catalog, Visitor, base_vary
from tests.worlds.sessions_steps import new_person

PUBLIC = "public, max-age=60, s-maxage=60"
PROXY, STRANGER = "10.0.0.1", "198.51.100.66"
SERIES = {"kind": "series", "seasons": [{"number": 1, "episodes": [{"number": 1, "title": "Pilot"}]}]}


@pytest.fixture
def use_settings(app):
    """Change settings of the service until the end of the test."""
    former = app.extensions["settings"]
    yield lambda **changes: app.extensions.update(settings=app.extensions["settings"].replace(**changes))
    app.extensions["settings"] = former


@pytest.fixture
def catalog(app, use_settings):
    use_settings(catalog="public")
    return Catalog(app)


def titles_of(response):
    assert response.status_code == 200, response.json
    return [item["title"] for item in response.json["items"]]


def test_a_private_catalogue_needs_a_token(app, catalog, use_settings):
    assert Visitor(app).titles() == []
    use_settings(catalog="private")
    response = Visitor(app).get("/v1/catalog/titles")
    assert (response.status_code, response.headers["Cache-Control"]) == (401, "no-store")


@pytest.mark.every_database
@pytest.mark.parametrize("limit", [None, 13])
def test_visitors_see_what_viewers_without_subscription_see_but_for_adult_titles(app, catalog, use_settings, limit):
    use_settings(guest_max_age=limit)
    rng, clock = random.Random(7), app.extensions["clock"]
    records = [any_record(rng, number, clock.at) for number in range(60)]
    ids = {record["external_id"]: catalog.put(**record) for record in records}
    person = catalog.get(f"/v1/catalog/titles/{next(iter(ids.values()))}").json["credits"][0]["person_id"]
    body = {"title": "All", "items": list(ids.values())}
    assert catalog.client.put("/v1/admin/collections/all", json=body).status_code == 200
    reasons = set()
    for country in ("DE", "US", None):
        visitor, facts = Visitor(app, country), ViewerFacts(country=country, max_age=limit, is_visitor=True)
        decisions = {r["external_id"]: (r["title"], convert_record(r).facts) for r in records}
        listed = sorted(name for name, title in decisions.values() if is_listed(title, facts, clock.at))
        assert len(listed) > 5
        compare_lists(visitor, listed, person)
        for external_id, (_, title) in decisions.items():
            shown, decision = (
                visitor.get(f"/v1/catalog/titles/{ids[external_id]}"),
                decide_access(title, facts, clock.at),
            )
            assert (shown.status_code == 404) == decision.hidden
            if not decision.hidden:
                assert shown.json["availability"]["reason"] == decision.reason
                reasons.add(decision.reason)
            assert not (title.min_age is not None and title.min_age >= 18) or decision.hidden
    assert reasons >= {"subscription_required", "not_available_in_country", "country_unknown", "not_yet_available"}
    assert None not in reasons


def test_an_unknown_country_opens_no_window(app, catalog):
    title = catalog.put("Film", windows=[{"countries": ["DE"]}])
    path = f"/v1/catalog/titles/{title}"
    seen = {
        country: (Visitor(app, country).titles(), Visitor(app, country).get(path).json["availability"]["reason"])
        for country in ("DE", "US", None)
    }
    assert seen == {
        "DE": (["Film"], "subscription_required"),
        "US": ([], "not_available_in_country"),
        None: ([], "country_unknown"),
    }
    assert Visitor(app, "QQ").get(path).status_code == 422


def test_the_country_filter_of_a_visitor_is_that_of_production(app, catalog):
    catalog.put("German", countries=["DE"], windows=[{"countries": ["US"]}])
    catalog.put("American", countries=["US"])
    ann = catalog.viewer(country="US")
    assert Visitor(app, "US").titles() == ["American", "German"]
    assert Visitor(app, "US").titles(origin_country="DE") == ann.titles(country="DE") == ["German"]
    assert ann.titles(origin_country="US", country="DE") == ["American"]


@pytest.fixture
def behind(app, shared_app):
    """The same service behind proxies in 10.0.0.0/8 that send the country."""
    trusted = {"trusted_proxies": (ip_network("10.0.0.0/8"),), "country_header": "X-Country", "catalog": "public"}
    settings = shared_app.extensions["settings"].replace(**trusted)
    behind = create_app(settings, now=shared_app.extensions["clock"])
    yield behind
    close_app(behind)


def test_only_a_trusted_proxy_names_the_country(behind, catalog):
    catalog.put("Film", windows=[{"countries": ["DE"]}])

    def seen(peer, country=None, asked=None):
        client = behind.test_client()
        client.environ_base = {"REMOTE_ADDR": peer} | ({"HTTP_X_COUNTRY": country} if country else {})
        response = client.get("/v1/catalog/titles", query_string={"country": asked} if asked else {})
        assert base_vary(response) == "Authorization, Cookie, X-Country"
        return titles_of(response)

    assert seen(PROXY, "DE") == seen(PROXY, "de") == ["Film"]
    assert seen(PROXY, "US") == seen(PROXY, "US", asked="DE") == []
    assert seen(PROXY, "XX", asked="DE") == [], "a proxy that says it does not know is believed"
    assert seen(PROXY, asked="DE") == ["Film"]
    assert seen(STRANGER, "DE") == seen(STRANGER, "DE", asked="US") == []
    catalog.put("Graded", age_rating="US:R", age_ratings=["DE:18"])
    assert [seen(PROXY, code) for code in ("US", "XX", "T1")] == [["Graded"], [], []], "no country has the strictest"


def test_a_country_that_follows_from_the_address_is_not_publicly_cacheable(app, catalog, use_settings, tmp_path):
    catalog.put("Film", windows=[{"countries": ["DE"]}])
    writer = MMDBWriter(ip_version=6, ipv4_compatible=True, database_type="GeoLite2-Country")
    writer.insert_network(IPSet(["203.0.113.0/24"]), {"country": {"iso_code": "DE"}})
    writer.to_db_file(str(tmp_path / "places.mmdb"))
    use_settings(geo_database=str(tmp_path / "places.mmdb"))
    visitor = Visitor(app)
    visitor.client.environ_base["REMOTE_ADDR"] = "203.0.113.9"
    response = visitor.get("/v1/catalog/titles")
    assert (titles_of(response), response.headers["Cache-Control"]) == (["Film"], "private, max-age=60")


def test_a_visitors_responses_are_public_and_revalidated(app, catalog):
    film, show = catalog.put("Film", genres=["drama"]), catalog.put("Show", **SERIES)
    collection = catalog.client.put("/v1/admin/collections/all", json={"title": "All", "items": [film]}).json["id"]
    detail = Visitor(app).get(f"/v1/catalog/titles/{show}", expand="seasons,credits,similar").json
    episode = detail["seasons"][0]["episodes"][0]["id"]
    paths = [
        *("titles", f"titles/{film}", f"titles/{show}/seasons", f"titles/{show}/episodes", f"episodes/{episode}"),
        *("search?q=film", "suggestions?q=fi", "genres", "filters", "home", "collections", f"collections/{collection}"),
    ]
    for path in (f"/v1/catalog/{path}" for path in paths):
        visitor = Visitor(app).client
        headers = {"X-Request-Id": "the-id-of-this-request"}
        response = visitor.get(path, headers=headers)
        assert (response.status_code, response.headers["Cache-Control"]) == (200, PUBLIC), path
        assert base_vary(response) == "Authorization, Cookie"
        assert "Set-Cookie" not in response.headers and headers["X-Request-Id"] not in response.text
        again = visitor.get(path, headers={"If-None-Match": response.headers["ETag"]})
        assert (again.status_code, again.headers["Cache-Control"]) == (304, PUBLIC)
        assert base_vary(again) == "Authorization, Cookie"
        assert catalog.viewer().get(path).headers["Cache-Control"] == "private, no-cache"
    assert not {row["kind"] for row in visitor.get("/v1/catalog/home").json["items"]} & {"continue", "next_up"}
    missing = visitor.get("/v1/catalog/titles/ttl_none")
    assert (missing.status_code, missing.headers["Cache-Control"]) == (404, "no-store")


def test_an_invalid_token_is_no_visitor(app, catalog):
    ended = new_person(app.test_client(use_cookies=False), "ann")
    assert ended.delete("/v1/sessions/current").status_code == 204
    client = app.test_client(use_cookies=False)
    for headers in (
        {"Authorization": f"Bearer {ended.token}"},
        {"Authorization": "Bearer sk_made_up"},
        {"Authorization": ""},
        {"Authorization": "Basic QTpC"},
        {"Cookie": f"{COOKIE}={ended.token}"},
        {"Cookie": f"{COOKIE}="},
    ):
        assert client.get("/v1/catalog/titles", headers=headers).status_code == 401, headers
    assert client.get("/v1/catalog/titles", headers={"Cookie": "theme=dark"}).status_code == 200


def test_titles_are_in_the_requested_language(app, catalog):
    catalog.put("Film", localizations={"de": {"title": "Der Film"}})
    for path in ("titles", "home", "search?q=film"):
        joint = "&" if "?" in path else "?"
        response = Visitor(app).client.get(f"/v1/catalog/{path}{joint}locale=de")
        assert "Der Film" in response.text and "Der Film" not in Visitor(app).client.get(f"/v1/catalog/{path}").text


def test_reads_of_one_address_are_limited_and_counted(database, new_app, shared_app):
    clock = shared_app.extensions["clock"]
    settings = {"catalog": "public", "catalog_reads_per_minute": 3, "metrics": True, "trusted_proxies": 1}
    app = new_app(database, "visitors", clock=clock, **settings)
    ann = new_person(app.test_client(use_cookies=False), "ann")

    def read(address, path="genres"):
        return app.test_client().get(f"/v1/catalog/{path}", headers={"X-Forwarded-For": address})

    assert [read("203.0.113.9").status_code for _ in range(5)] == [200] * 3 + [429] * 2
    assert [read(f"2001:db8::{n}").status_code for n in range(4)] == [200] * 3 + [429], "a household's network"
    limited = read("203.0.113.9", "titles?limit=x")
    assert (limited.status_code, limited.headers["Retry-After"], limited.headers["Cache-Control"]) == (
        429,
        "60",
        "no-store",
    )
    assert ann.get("/v1/catalog/genres").status_code == 200
    samples = parse_samples(app.test_client().get("/metrics").text)
    counts = [samples[f'streamsvc_catalog_visitor_reads_total{{status="{status}"}}'] for status in (200, 429)]
    assert counts == [6, 4]
    clock.advance(seconds=60)
    assert read("203.0.113.9").status_code == 200
    clock.advance(seconds=-3600)
    assert read("203.0.113.9").status_code == 200, "a clock that is set back locks nobody out"


def test_the_counters_of_addresses_are_bounded():
    limits, rule = LocalRateLimits(max_subjects=3), RateLimit("reads", 1, 60)
    for subject in "abc":
        limits.hit(rule, subject, 0)
    with pytest.raises(TooManyAttempts):
        limits.hit(rule, "a", 1)
    limits.hit(rule, "d", 1)  # b, which was counted longest ago, is forgotten
    limits.hit(rule, "b", 1)
    with pytest.raises(TooManyAttempts):
        limits.hit(rule, "a", 1)
