"""DRM licences through the service: who gets one for which keys, and what becomes of the licence server's failures."""

import dataclasses
import json
import urllib.error
import urllib.request
from base64 import b64encode
from datetime import timedelta
from urllib.parse import urlsplit

import msgspec
import pytest

from streamsvc.gateways import license_server as gateway
from streamsvc.gateways import peers
from streamsvc.rules.playback.drm import parse_drm_provider
from streamsvc.rules.rate_limits import LICENSES_BY_ACCOUNT
from streamsvc.security import rate_limits
from tests.worlds.broken_peers import HTTP_FAULTS, broken_peer
from tests.worlds.license_server import CERTIFICATE, CERTIFICATE_REQUEST, challenge, license_server
from tests.worlds.local_server import LocalHandler, local_server
from tests.worlds.playback_steps import FILM, World, error_of

COM_KEY_ID, COM_KEY = "69e54088-e9e0-4530-8c1a-1eb6dcd0d14e", b64encode(b"k" * 32).decode()
SD, UHD, OTHER = (
    "211ac1dc-c8a2-4575-baf7-fa4ba56c38ac",
    "6e5a1d26-2757-47d7-8046-eaa5d1d34b5a",
    "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0",
)
SYSTEMS = ("widevine", "fairplay", "playready")
CERTIFICATE_URL = "https://drm.example/fairplay.cer"
DEADLINE_S = 0.4


@pytest.fixture
def server(app):
    with license_server(COM_KEY_ID, COM_KEY, [SD, UHD], app.extensions["clock"]) as server:
        yield server


@pytest.fixture
def use_provider(app, monkeypatch):
    """Use a provider whose licence servers are below a URL."""

    def use(url, **members):
        urls = {system: f"{url}/{system}" for system in SYSTEMS}
        provider = {"com_key_id": COM_KEY_ID, "com_key": COM_KEY, "license_urls": urls, "proxy": True}
        provider |= {"fairplay_certificate_url": CERTIFICATE_URL, **members}
        settings = dataclasses.replace(app.extensions["settings"], drm=parse_drm_provider(provider))
        monkeypatch.setitem(app.extensions, "settings", settings)

    peers.close_circuits()
    yield use
    peers.close_circuits()


@pytest.fixture
def world(app, server, use_provider):
    use_provider(server.url)
    world = World(app)
    keys = [{"id": SD}, {"id": UHD, "height": 2160, "systems": ["widevine", "playready"]}]
    world.put_titles(FILM | {"drm_keys": keys}, FILM | {"external_id": "open"})
    return world


@pytest.fixture
def ann(world):
    return world.household(plan=world.put_plan(max_height=2160, downloads=True, max_streams=5))


def acquire(viewer, url, body, **headers):
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    sent = {"Authorization": f"Bearer {viewer.token}", "Content-Type": "application/octet-stream", **headers}
    return viewer.client.post(path, data=body, headers=sent)


def start(viewer, item="film", **more):
    """Start a playback; return the licence URLs by system."""
    started = viewer.play(item, **more)
    assert started.status_code == 201, started.json
    return started.json["drm"]["license_urls"]


def test_a_player_gets_the_certificate_and_the_licence_byte_for_byte(world, ann, server):
    drm = ann.play("film").json["drm"]
    assert "token" not in drm and drm["fairplay_certificate_url"] == CERTIFICATE_URL
    url = drm["license_urls"]["widevine"]
    assert urlsplit(url).path.startswith("/v1/playback/str_") and url.endswith("/license/widevine")
    assert acquire(ann, url, CERTIFICATE_REQUEST).data == CERTIFICATE
    for _ in range(2):
        license_ = acquire(ann, url, challenge(SD, UHD))
        assert (license_.status_code, license_.json) == (200, None), license_.data
        assert json.loads(license_.data) == {"keys": sorted([SD, UHD]), "stored": False}
        assert license_.headers["Content-Type"] == "application/octet-stream"
        assert license_.headers["Cache-Control"] == "no-store"
    assert server.certificates == 1 and len({message_id for message_id, _ in server.issued}) == 2


def test_each_system_gets_its_own_keys(ann):
    urls = start(ann)
    keys = {system: json.loads(acquire(ann, urls[system], challenge(SD, UHD)).data)["keys"] for system in SYSTEMS}
    assert keys == {"widevine": [SD, UHD], "fairplay": [SD], "playready": [SD, UHD]}
    assert (
        acquire(ann, urls["playready"], challenge(SD), **{"Content-Type": "text/xml; charset=utf-8"}).status_code == 200
    )


def test_only_the_session_that_plays_gets_a_licence_and_only_while_it_does(world, ann, server):
    url, stranger = start(ann)["widevine"], world.household(plan=world.put_plan())
    assert error_of(acquire(stranger, url, challenge(SD))) == (404, "not_found")
    assert error_of(acquire(ann.on_another_device(), url, challenge(SD))) == (404, "not_found")
    assert server.tokens == []
    assert acquire(ann, url, challenge(SD)).status_code == 200
    ann.delete("/v1/playback/" + url.split("/")[-3])
    ended = acquire(ann, url, challenge(SD))
    assert (error_of(ended), ended.json["reason"]) == ((410, "stream_ended"), "stopped")
    late = start(ann)["widevine"]
    world.clock.advance(seconds=90)
    assert acquire(ann, late, challenge(SD)).json["reason"] == "expired"
    assert len(server.tokens) == 1


def test_access_is_decided_again(world, ann, server):
    url = start(ann)["widevine"]
    ann.patch(f"/v1/profiles/{ann.profile_id}", {"max_age": 6})
    assert error_of(acquire(ann, url, challenge(SD))) == (404, "not_found")
    ann.patch(f"/v1/profiles/{ann.profile_id}", {"max_age": None})
    world.put_titles(FILM | {"drm_keys": [{"id": SD}], "windows": [{"countries": ["US"]}]})
    assert error_of(acquire(ann, url, challenge(SD))) == (403, "not_available_in_country")
    assert world.operator.delete("/v1/admin/titles/film").status_code == 204
    assert acquire(ann, url, challenge(SD)).json["reason"] == "no_longer_available"
    assert server.tokens == []


def test_keys_above_the_picture_height_are_not_entitled(world, ann):
    low = start(ann, max_height=1080)["widevine"]
    assert json.loads(acquire(ann, low, challenge(SD, UHD)).data)["keys"] == [SD]
    assert error_of(acquire(ann, low, challenge(UHD))) == (403, "license_denied")
    full = start(ann)["widevine"]
    world.put_plan(max_height=1080, downloads=True, max_streams=5)
    assert json.loads(acquire(ann, full, challenge(SD, UHD)).data)["keys"] == [SD], "the plan has become smaller"


def test_an_offline_licence_needs_downloads_in_the_plan(world, ann):
    url = start(ann, offline=True)["widevine"]
    assert url.endswith("/license/widevine?offline=true")
    assert json.loads(acquire(ann, url, challenge(SD)).data)["stored"] is True
    bob = world.household(plan=world.put_plan("online", downloads=False))
    own = start(bob)["widevine"]
    assert json.loads(acquire(bob, own, challenge(SD)).data)["stored"] is False
    assert error_of(acquire(bob, own + "?offline=true", challenge(SD))) == (403, "downloads_not_in_plan")


WRONG_PROVIDERS = {
    "signature": {"com_key": b64encode(b"x" * 32).decode()},
    "key id": {"com_key_id": "cc36e85d-2fdf-462c-b395-030907447afc"},
    "header": {"message_header": "X-Other-Message"},
}


@pytest.mark.parametrize("name", WRONG_PROVIDERS)
def test_a_message_that_the_server_does_not_accept_is_denied(ann, server, use_provider, name):
    url = start(ann)
    use_provider(server.url, **WRONG_PROVIDERS[name])
    for system in SYSTEMS * 2:
        assert error_of(acquire(ann, url[system], challenge(SD))) == (403, "license_denied"), system
    assert server.issued == []
    use_provider(server.url)
    assert acquire(ann, url["playready"], challenge(SD)).status_code == 200, "denials have opened no circuit"


def test_a_message_is_valid_for_a_minute_and_for_known_keys(world, ann, server):
    url = start(ann)["widevine"]
    for late_s, status in ((61, 403), (59, 200)):
        server.clock = lambda late_s=late_s: world.clock() + timedelta(seconds=late_s)
        assert acquire(ann, url, challenge(SD)).status_code == status
    world.put_titles(FILM | {"drm_keys": [{"id": SD}, {"id": OTHER}]})
    assert error_of(acquire(ann, url, challenge(SD))) == (403, "license_denied")
    assert error_of(acquire(ann, url, b"not a challenge")) == (403, "license_denied")


def test_an_intercepted_message_is_of_no_use(world, ann, server):
    def post(token, body):
        """Post straight to the licence server, and return its status and why it refuses."""
        request = urllib.request.Request(f"{server.url}/widevine", body, {"X-AxDRM-Message": token} if token else {})
        try:
            with urllib.request.urlopen(request) as response:
                return response.status, ""
        except urllib.error.HTTPError as error:
            return error.code, error.headers["X-AxDRM-ErrorMessage"]

    assert acquire(ann, start(ann)["widevine"], challenge(SD)).status_code == 200
    [token] = server.tokens
    header, claims, signature = token.split(".")
    forged = claims[:40] + ("A" if claims[40] != "A" else "B") + claims[41:]
    assert post(token, challenge(SD)) == (403, "the message has been used")
    assert post(".".join((header, forged, signature)), challenge(UHD))[0] == 403
    assert post(None, challenge(UHD))[0] == 403
    world.clock.advance(seconds=61)
    assert post(token, challenge(UHD)) == (403, "the message has expired")


def test_a_challenge_is_binary_and_small(ann, server):
    url = start(ann)["widevine"]
    too_large = acquire(ann, url, bytes(64 * 1024 + 1))
    assert error_of(too_large) == (413, "request_entity_too_large")
    assert error_of(acquire(ann, url, b"")) == (422, "invalid")
    assert error_of(acquire(ann, url, b"{}", **{"Content-Type": "application/json"})) == (415, "unsupported_media_type")
    assert error_of(acquire(ann, url, bytes(64 * 1024))) == (403, "license_denied"), "it reached the server"
    assert acquire(ann, url, challenge(SD), **{"Content-Type": ""}).status_code == 200


def test_there_is_no_licence_without_keys_for_the_system(world, ann, server, use_provider):
    url = start(ann)["widevine"]
    open_stream = ann.play("open").json["stream_id"]
    for path in (url.replace("widevine", "clearkey"), f"/v1/playback/{open_stream}/license/widevine"):
        assert error_of(acquire(ann, path, challenge(SD))) == (404, "not_found")
    use_provider(server.url, proxy=False)
    assert error_of(acquire(ann, url, challenge(SD))) == (404, "not_found")
    assert "token" in ann.play("film").json["drm"]


def test_licences_are_limited_per_account(app, world, ann):
    url = start(ann)["widevine"]
    bob = world.household(plan=world.put_plan())
    other = start(bob)["widevine"]
    with app.app_context():
        for _ in range(LICENSES_BY_ACCOUNT.max_attempts - 1):
            rate_limits.hit(LICENSES_BY_ACCOUNT, ann.account_id)
    assert acquire(ann, url, challenge(SD)).status_code == 200
    assert error_of(acquire(ann, url, challenge(SD))) == (429, "too_many_attempts")
    assert acquire(bob, other, challenge(SD)).status_code == 200


@pytest.mark.one_database
def test_a_broken_licence_server_is_unavailable_in_time(ann, use_provider, monkeypatch):
    monkeypatch.setattr(gateway, "PEER", dataclasses.replace(gateway.PEER, deadline_s=DEADLINE_S))
    url = start(ann)["fairplay"]
    for fault in HTTP_FAULTS:
        with broken_peer(fault) as port:
            use_provider(f"http://127.0.0.1:{port}")
            response = acquire(ann, url, challenge(SD))
            assert error_of(response) == (503, "license_unavailable"), fault
            assert int(response.headers["Retry-After"]) >= 1
    use_provider("http://127.0.0.1:9")
    for _ in range(7):
        response = acquire(ann, url, challenge(SD))
        assert error_of(response) == (503, "license_unavailable")
    assert int(response.headers["Retry-After"]) > 2, "the circuit is open"


class Odd(LocalHandler):
    """Responds with the status and body in its path."""

    def do_POST(self):
        self.read_body()
        status, _, length = self.server.says.partition(" ")
        self.respond(int(status), b"x" * int(length or 0), Location="/elsewhere")


@pytest.mark.one_database
@pytest.mark.parametrize("says", ["200 0", f"200 {256 * 1024}", "302 0", "404 9", "429 0", "500 9", "503 0"])
def test_what_is_no_licence_is_not_passed_on(ann, use_provider, says):
    url = start(ann)["widevine"]
    with local_server(Odd) as odd:
        odd.says = says
        use_provider(odd.url)
        response = acquire(ann, url, challenge(SD))
    assert error_of(response) == (503, "license_unavailable")
    assert msgspec.json.decode(response.data)["status"] == 503
