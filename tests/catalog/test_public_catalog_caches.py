"""The public catalogue behind real nginx caches: nobody gets what was stored for somebody else."""

import json
import threading
import time
from types import SimpleNamespace

import pytest
from werkzeug.serving import make_server

from tests.worlds import media_servers
from tests.worlds.catalog_world import Catalog
from tests.worlds.local_server import POLL_INTERVAL_S

TITLES, CHANNELS = "/v1/catalog/titles", "/v1/catalog/channels"
PAGE = "https://app.video.example"
WINDOWS = {"Everywhere": None, "German": [{"countries": ["DE"]}], "American": [{"countries": ["US"]}]}
COUNTRY_HEADERS = {"plain": "X_Country", "shipped": "CF_IPCountry"}
pytestmark = pytest.mark.one_database


@pytest.fixture(scope="module")
def service(database, new_app):
    """A served app with a title and a channel for everyone, for Germany and for America."""
    trusted = {"trusted_proxies": 1, "country_header": "X-Country", "cors_origins": (PAGE,)}
    app = new_app(database, "caches", catalog="public", **trusted)
    catalog = Catalog(app)
    ids = {name: catalog.put(name, windows=windows) for name, windows in WINDOWS.items()}
    for name, windows in WINDOWS.items():
        path = f"/v1/admin/channels/{name}"
        assert catalog.client.put(path, json={"name": name, "windows": windows}).status_code == 200
    american = catalog.viewer(country="US")
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(POLL_INTERVAL_S,))
    thread.start()
    yield SimpleNamespace(port=server.server_port, ids=ids, viewer=american)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(params=COUNTRY_HEADERS)
def cache(request, service, tmp_path):
    """A cache with the shipped configuration, or one that knows nothing but `Vary`."""
    port, is_plain = media_servers.free_port(), request.param == "plain"
    with media_servers.running_catalog_cache(tmp_path / "cache", port, service.port, is_plain) as server:
        yield SimpleNamespace(server=server, country_header=COUNTRY_HEADERS[request.param], is_plain=is_plain)


def read(cache, country, path=TITLES, token=None, **headers):
    """(what the cache did, the names of the titles or channels) of a request from a country."""
    named = {cache.country_header: country} if country else {}
    response = cache.server.get(path, token, **named, **headers)
    assert response.status == 200, response.body
    return response.headers["X-Cache-Status"], sorted(map(name_of, json.loads(response.body)["items"]))


def name_of(item):
    return item.get("title") or item.get("name") or item["channel"]["name"]


def is_stored(cache, country, path=TITLES):
    """Whether a request gets what the cache has stored; nginx may respond some time before it has."""
    deadline = time.monotonic() + 5
    while read(cache, country, path)[0] != "HIT":
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.parametrize("path", [TITLES, CHANNELS, "/v1/catalog/programmes?limit=9"])
def test_a_country_gets_its_own_titles_and_channels_and_shares_them(cache, path):
    for country, own in (("DE", ["Everywhere", "German"]), ("US", ["American", "Everywhere"])):
        assert read(cache, country, path) == ("MISS", own)
        assert is_stored(cache, country, path)
        assert read(cache, None, path)[1] == ["Everywhere"]
        assert read(cache, country, path) == ("HIT", own)
    if not cache.is_plain:
        own = ["Everywhere", "German"]
        assert read(cache, "DE", path, X_Country="US")[1] == own, "a client's header counts nothing"


@pytest.mark.parametrize("listing", [TITLES, CHANNELS])
def test_a_viewer_is_neither_served_from_the_cache_nor_stored_in_it(cache, service, listing):
    token = service.viewer.client.environ_base["HTTP_AUTHORIZATION"].removeprefix("Bearer ")
    for visit_first in (True, False):
        path = f"{listing}?limit={50 + visit_first}"
        if visit_first:
            assert is_stored(cache, "DE", path)
        for _ in range(2):
            status, _ = read(cache, "DE", path, token)
            assert status in ("MISS", "BYPASS")
        assert read(cache, "DE", path)[0] == ("HIT" if visit_first else "MISS")
        stored = cache.server.get(path, **{cache.country_header: "DE"})
        assert stored.headers["Cache-Control"].startswith("public")
        ended = {"Cookie": "__Host-sst=sst_ended"}
        assert cache.server.get(path, "sst_ended").status == cache.server.get(path, **ended).status == 401


def test_origins_and_request_ids_are_kept_apart(cache):
    path = f"{TITLES}?limit=60"
    for origin, allowed in ((None, None), (PAGE, PAGE), ("https://evil.example", None)):
        sent = {cache.country_header: "DE"} | ({"Origin": origin} if origin else {})
        for _ in range(2):
            response = cache.server.get(path, **sent)
            assert response.headers["Access-Control-Allow-Origin"] == allowed, origin
    if not cache.is_plain:
        ids = [cache.server.get(path, CF_IPCountry="DE").headers.get_all("X-Request-Id") for _ in range(2)]
        assert len(ids[0]) == len(ids[1]) == 1 and ids[0] != ids[1]
