"""What players get for CDNs, media servers' cookies and licence servers; the signatures are in tests/rules."""

import json
import secrets
from base64 import b64encode
from datetime import datetime

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from streamsvc.rules.playback.drm import parse_drm_provider
from streamsvc.rules.playback.signers import parse_signers
from tests.conftest import NOON, Clock
from tests.rules.test_media_signers import PEM, cloudfront_policy, fastly_status
from tests.worlds.playback_steps import FILM, World, error_of

KEY = "iqFPeN2u+Z0Lm5IrsKaOFKRqEU5Gw8ePtaEkHZWuD24="
SIGNERS = parse_signers(
    [
        {"signer": "cloudfront", "host": "cdn.service.example", "key_id": "K1", "private_key": PEM},
        {"signer": "cloudfront", "host": "cdn.example", "key_id": "K1", "private_key": PEM},
        {"signer": "fastly", "host": "fastly.example", "key": KEY, "ttl_s": 7200},
        {"signer": "akamai", "host": "akamai.example", "key": "52a152a152a152a152a152a152a1"},
    ]
)
COM_KEY = b64encode(b"k" * 32).decode()
SD, UHD = "211ac1dc-c8a2-4575-baf7-fa4ba56c38ac", "6e5a1d26-2757-47d7-8046-eaa5d1d34b5a"
POLICY = {"name": "uhd", "widevine": {"device_security_level": "HW_SECURE_ALL"}}
DRM = parse_drm_provider(
    {
        "com_key_id": "69e54088-e9e0-4530-8c1a-1eb6dcd0d14e",
        "com_key": COM_KEY,
        "license_urls": {name: f"https://{name}.example/license" for name in ("widevine", "fairplay")},
        "usage_policies": [POLICY],
    }
)
SETTINGS = {
    "public_url": "https://api.service.example",
    "grant_cookie_domain": "service.example",
    "media_signers": SIGNERS,
    "drm": DRM,
}


def film(name, host, **more):
    media = {"hls": f"https://{host}/films/{name}/master.m3u8"}
    return {**FILM, "external_id": name, "title": name.title(), "media": media, **more}


@pytest.fixture(scope="module")
def signing_app(new_app, database):
    return new_app(database, "signing", clock=Clock(), **SETTINGS)


@pytest.fixture
def world(signing_app):
    signing_app.extensions["clock"].at = NOON
    world = World(signing_app)
    world.put_titles(
        film("own", "cdn.service.example"), film("far", "cdn.example"), film("url", "fastly.example"), FILM
    )
    return world


@pytest.fixture
def ann(world):
    return world.household(plan=world.put_plan(max_streams=9, downloads=True))


def cookies_of(response):
    """{name: attributes} of the cookies that a response sets, but for `Expires`, which is of the machine's clock."""
    cookies = [header.split("; ") for header in response.headers.getlist("Set-Cookie")]
    return {parts[0].partition("=")[0]: [part for part in parts if part[:8] != "Expires="] for parts in cookies}


def test_the_start_and_each_heartbeat_return_the_cookies_of_the_cdn(world, ann):
    started = ann.play("far")
    world.clock.advance(seconds=30)
    renewed = ann.send_heartbeat(started.json["stream_id"])
    for response, expires in ((started, 1768478490), (renewed, 1768478520)):
        cookies = response.json["grant"]["cookies"]
        assert {(c["domain"], c["path"]) for c in cookies} == {("cdn.example", "/films/far/")}
        policy = cloudfront_policy({c["name"].removeprefix("CloudFront-"): c["value"] for c in cookies})
        statement = {"Resource": "https://cdn.example/films/far/*"}
        condition = {"DateLessThan": {"AWS:EpochTime": expires}}
        assert policy == {"Statement": [statement | {"Condition": condition}]}
        assert {datetime.fromisoformat(c["expires_at"]).timestamp() for c in cookies} == {expires}
        assert set(cookies_of(response)) == {"playback_grant"}, "the CDN's host is not below the cookie domain"
    assert started.json["manifests"][0]["url"] == "https://cdn.example/films/far/master.m3u8"
    assert "manifests" not in renewed.json


def test_the_start_and_each_heartbeat_return_signed_urls(world, ann):
    started = ann.play("url").json
    world.clock.advance(seconds=30)
    renewed = ann.send_heartbeat(started["stream_id"]).json
    first, second = (document["manifests"][0]["url"] for document in (started, renewed))
    assert first != second and "cookies" not in started["grant"]
    for url, start in ((first, 1768478400), (second, 1768478430)):
        assert [fastly_status(url, KEY, start + s) for s in (7200, 7201)] == [200, 410]


def test_what_is_signed_for_a_host_opens_the_paths_of_that_host_only(world, ann):
    media = {"hls": "https://akamai.example/films/two/master.m3u8", "dash": "https://cdn.example/dash/two/manifest.mpd"}
    world.put_titles({**FILM, "external_id": "two", "title": "Two", "media": media})
    started = ann.play("two").json
    assert "~acl=/films/two/*~" in started["manifests"][0]["url"]
    assert {cookie["path"] for cookie in started["grant"]["cookies"]} == {"/dash/two/"}


def test_media_without_a_signer_are_as_before(ann):
    started = ann.play("film").json
    assert started["manifests"][0]["url"].startswith("https://api.service.example/media/ttl_")
    assert "cookies" not in started["grant"] and "drm" not in started
    assert "manifests" not in ann.send_heartbeat(started["stream_id"]).json


def test_browsers_get_the_cookies_on_the_parent_domain(world, ann):
    started = ann.play("own")
    cookies = cookies_of(started)
    assert set(cookies) == {
        "playback_grant", "CloudFront-Policy", "CloudFront-Signature", "CloudFront-Key-Pair-Id",
    }  # fmt: skip
    attributes = {"Domain=service.example", "Max-Age=90", "Secure", "HttpOnly", "SameSite=Lax"}
    assert all(attributes <= set(cookie) for cookie in cookies.values())
    assert "Path=/" in cookies["playback_grant"] and "Path=/films/own/" in cookies["CloudFront-Policy"]
    token = cookies["playback_grant"][0].partition("=")[2]
    assert token == started.json["grant"]["token"]
    world.clock.advance(seconds=30)
    renewed = cookies_of(ann.send_heartbeat(started.json["stream_id"]))["playback_grant"]
    assert "Max-Age=90" in renewed and token not in renewed[0]


def test_a_repeated_start_sets_the_cookies_again(ann, world):
    body, key = {"item_id": world.ids["own"]}, secrets.token_hex(8)
    first, second = (ann.post("/v1/playback", body, Idempotency_Key=key) for _ in range(2))
    assert second.headers["Idempotency-Replayed"] and cookies_of(first) == cookies_of(second) != {}


@pytest.mark.parametrize("way", ["stop", "heartbeat"])
def test_the_end_of_the_stream_clears_its_own_cookie_only(ann, way):
    mine, other = ann.play("own").json, ann.play("far").json

    def end(stream, presented):
        ann.client.set_cookie("playback_grant", presented["grant"]["token"])
        path = f"/v1/playback/{stream['stream_id']}"
        return ann.delete(path) if way == "stop" else ann.send_heartbeat(stream["stream_id"], state="stopped")

    assert cookies_of(end(other, presented=mine)) == {}
    cleared = cookies_of(end(mine, presented=mine))["playback_grant"]
    assert {"playback_grant=", "Max-Age=0", "Domain=service.example", "Path=/"} <= set(cleared)


def test_pages_of_other_sites_need_cookies_without_same_site(new_app, database):
    app = new_app(
        database, "cross_site", **SETTINGS, cors_origins=("https://tv.service.example", "https://app.other.example")
    )
    world = World(app)
    world.put_titles(film("own", "cdn.service.example"))
    cookies = cookies_of(world.household(plan=world.put_plan()).play("own"))
    assert all("SameSite=None" in cookie for cookie in cookies.values()) and cookies


def license_of(response):
    """The License Service Message in a response, verified as Axinom's documentation says: HS256 by the com_key."""
    token = jwt.decode(response.json["drm"]["token"], OctKey.import_key(b"k" * 32), algorithms=["HS256"])
    assert (token.claims["version"], token.claims["com_key_id"]) == (1, str(DRM.com_key_id))
    return token.claims


@pytest.fixture
def encrypted(world):
    keys = [{"id": SD.upper(), "systems": ["widevine"]}, {"id": UHD, "height": 2160, "policy": "uhd"}]
    window = {"ends_at": "2026-01-18T12:00:00Z"}
    world.put_titles(
        film("dash", "own.example", drm_keys=keys, windows=[window]), film("open", "own.example", drm_keys=keys)
    )
    return world


def test_the_license_has_the_keys_within_the_height(encrypted):
    hd, uhd = (encrypted.household(plan=encrypted.put_plan(f"p{h}", max_height=h)).play("open") for h in (1080, 2160))
    assert uhd.json["drm"]["license_urls"] == DRM.license_urls
    assert hd.json["drm"]["license_urls"] == {"widevine": "https://widevine.example/license"}
    message = license_of(hd)
    assert datetime.fromisoformat(message["expiration_date"]).timestamp() == 1768478490
    assert message["message"] == {
        "type": "entitlement_message",
        "version": 2,
        "license": {"allow_persistence": False, "expiration_datetime": "2026-01-16T12:00:00+00:00"},
        "content_keys_source": {"inline": [{"id": SD}]},
        "content_key_usage_policies": [POLICY],
    }
    assert license_of(uhd)["message"]["content_keys_source"]["inline"] == [
        {"id": SD},
        {"id": UHD, "usage_policy": "uhd"},
    ]


def test_an_offline_license_is_stored_and_ends(encrypted, ann):
    def offline(item):
        return license_of(ann.play(item, offline=True))["message"]["license"]

    assert offline("open") == {"allow_persistence": True, "expiration_datetime": "2026-01-22T12:00:00+00:00"}
    assert offline("dash") == {"allow_persistence": True, "expiration_datetime": "2026-01-18T12:00:00+00:00"}, (
        "the window"
    )


def test_an_offline_license_needs_a_plan_with_downloads_and_keys(encrypted, ann):
    bob = encrypted.household(plan=encrypted.put_plan("online", downloads=False))
    assert error_of(bob.play("open", offline=True)) == (403, "downloads_not_in_plan")
    refused = ann.play("film", offline=True)
    assert refused.status_code == 422 and list(refused.json["errors"]) == ["offline"]
    assert bob.get("/v1/playback").json["items"] == ann.get("/v1/playback").json["items"] == []


def test_keys_are_shown_to_nobody(encrypted, ann):
    page = ann.get(f"/v1/catalog/titles/{encrypted.ids['open']}")
    assert page.status_code == 200 and SD not in json.dumps(page.json).lower()


def test_episodes_have_keys_of_their_own(encrypted, ann):
    media = {"hls": "https://own.example/show/e1/master.m3u8"}
    episodes = [{"number": 1, "runtime_s": 1500, "media": media, "drm_keys": [{"id": UHD}]}]
    show = {"external_id": "show", "kind": "series", "title": "Show", "age_rating": "US:G"}
    encrypted.put_titles(show | {"seasons": [{"number": 1, "episodes": episodes}]})
    keys = license_of(ann.play("show/1/1"))["message"]["content_keys_source"]["inline"]
    assert keys == [{"id": UHD}]


@pytest.mark.parametrize("key", [{"id": "x"}, {"id": SD, "systems": ["none"]}, {"id": SD, "iv": "AA=="}])
def test_a_malformed_key_is_refused(world, key):
    response = world.operator.put("/v1/admin/titles/a", film("a", "own.example", drm_keys=[key]))
    assert response.status_code == 422
