"""The shipped configurations of nginx and Caddy before real HLS files: who gets which bytes."""

import re
import shutil
import threading
import time
from datetime import timedelta
from types import SimpleNamespace

import pytest

from streamsvc import clock
from streamsvc.operations.playback import grants, streams
from streamsvc.rules.playback.stream_rules import STREAM_TTL
from tests.worlds import media_servers
from tests.worlds.browser import serve_app
from tests.worlds.playback_steps import FILM, World

PAGE = "https://app.video.example:8443"
SEGMENT = "360p/1.ts"
pytestmark = pytest.mark.one_database


@pytest.fixture(scope="module", params=["nginx", "caddy"])
def site(request, database, new_app, tmp_path_factory):
    """A served app with two films behind a media server, and a household that may watch up to 360 lines."""
    media_servers.require_program(request.param)
    folder = tmp_path_factory.mktemp("media")
    ladder, root, port = media_servers.make_ladder(folder / "ladder"), folder / "root", media_servers.free_port()
    worlds = []

    def create(url):
        app = new_app(database, f"media_{request.param}", public_url=f"http://localhost:{port}", trusted_proxies=1)
        worlds.append(World(app))
        return app

    with serve_app(create) as url:
        (world,) = worlds
        variants = [{"path": "best.ts", "height": 2160}]
        for name in ("own", "foreign"):
            world.put_titles({**FILM, "external_id": name, "title": name, "variants": variants})
        for name in ("own", "foreign"):
            shutil.copytree(ladder, root / "media" / world.ids[name])
            (root / "media" / world.ids[name] / "secret.txt").write_text(f"the bytes of {name}")
            (root / "media" / world.ids[name] / "best.ts").write_text("too high")
        viewer = world.household(plan=world.put_plan(max_streams=9, max_height=360))
        run = media_servers.running_nginx if request.param == "nginx" else media_servers.running_caddy
        with run(folder / "server", root, port, int(url.rpartition(":")[2]), PAGE) as server:
            own, foreign = (f"/media/{world.ids[name]}" for name in ("own", "foreign"))
            yield SimpleNamespace(
                name=request.param,
                app=world.app,
                viewer=viewer,
                server=server,
                get=server.get,
                own=own,
                foreign=foreign,
                root=root,
            )


@pytest.fixture
def stream(site):
    """A new stream of the own film: its id, token and answer."""
    started = site.viewer.play("own").json
    yield SimpleNamespace(id=started["stream_id"], token=started["grant"]["token"])
    site.viewer.delete(f"/v1/playback/{started['stream_id']}")


def issue_token(site, stream, age_s):
    """Return a token of the stream as it was issued some time ago."""
    with site.app.app_context():
        now = clock.now()
        row = streams.find_stream(site.viewer.account_id, stream.id, now)
        return grants.issue_token(stream.id, row, None, now - timedelta(seconds=age_s) + STREAM_TTL)


def test_a_token_opens_its_title_with_the_right_types_and_ranges(site, stream):
    for path, kind in {
        "master.m3u8": "application/vnd.apple.mpegurl",
        "360p/index.m3u8": "application/vnd.apple.mpegurl",
        SEGMENT: "video/mp2t",
        "360p/index0.vtt": "text/vtt",
        "audio/1.ts": "video/mp2t",
    }.items():
        response = site.get(f"{site.own}/{path}", stream.token)
        file = site.root / f"{site.own}/{path}".lstrip("/")
        assert (response.status, response.headers["Content-Type"], response.body) == (200, kind, file.read_bytes())
        assert response.headers["Cache-Control"] == "private"
    part = site.get(f"{site.own}/{SEGMENT}", stream.token, Range="bytes=188-375")
    whole = (site.root / f"{site.own}/{SEGMENT}".lstrip("/")).read_bytes()
    assert (part.status, part.body) == (206, whole[188:376])
    for sent in ({"Cookie": f"playback_grant={stream.token}"}, {"path": f"?grant={stream.token}"}):
        query = sent.pop("path", "")
        assert site.get(f"{site.own}/{SEGMENT}{query}", **sent).status == 200
    assert site.get(f"{site.own}/{SEGMENT}", stream.token, method="HEAD").status == 200


def test_no_byte_of_a_foreign_title_is_served(site, stream):
    files = [path.relative_to(site.root) for path in (site.root / site.foreign.lstrip("/")).rglob("*.*")]
    assert len(files) > 60
    for file in files:
        response = site.get(f"/{file}", stream.token)
        assert response.status == 403, file
        assert (site.root / file).read_bytes() not in response.body


def evasions(own, foreign):
    """Requests for a foreign film, written so that a server might take them for others."""
    name = foreign.rpartition("/")[2]
    target = f"{foreign}/secret.txt"
    yield from (f"/%2f{target[1:]}", f"/x//..{target}", f"/media%2f{name}/secret.txt")
    yield from (f"/{target}", target.replace("/media", "//media"), target.replace("/media/", "/media//"))
    for up in ("..", "%2e%2e", ".%2e", "%2E.", "%252e%252e", "..%2f.", "..%5c", "..\\"):
        for slash in ("/", "%2f", "//", "%252f", "\\"):
            yield f"{own}{slash}{up}{slash}{name}/secret.txt"
    yield from (f"{own}/%00/../../{name}/secret.txt", f"{own}/;/../../{name}/secret.txt")
    yield from (f"{target}?{own}/secret.txt", f"{target}#{own}/secret.txt", f"{target}%23{own}/secret.txt")
    yield from (f"http://localhost{target}", f"http://localhost/{target}", f"//localhost{own}/../{name}/secret.txt")
    yield from (
        f"{own}/..;/{name}/secret.txt",
        f"/x/..{target}",
        f"/media/./{name}/secret.txt",
        f"/MEDIA/{name}/secret.txt",
    )


def test_spellings_of_a_path_open_no_foreign_title(site, stream):
    assert b"the bytes of own" in site.get(f"{site.own}/secret.txt", stream.token).body
    for path in evasions(site.own, site.foreign):
        for headers in ({}, {"Host": "localhost:80"}, {"Host": "other.example"}):
            response = site.get(path, stream.token, **headers)
            assert b"the bytes of" not in response.body and response.status >= 400, path


def test_headers_of_the_viewer_open_no_foreign_title(site, stream):
    forged = {"X_Original_URI", "X_Forwarded_Uri", "X-Forwarded-URI", "x_original_uri", "X-Original-Uri"}
    for name in forged:
        headers = {name: f"{site.own}/secret.txt", "X_Original_Host": "localhost", "X_Forwarded_Host": "localhost"}
        response = site.get(f"{site.foreign}/secret.txt", stream.token, **headers)
        assert (response.status, b"bytes of" in response.body) == (403, False), name
    response = site.get(f"{site.own}/{SEGMENT}", stream.token, Host="other.example", X_Forwarded_Host="localhost")
    assert response.status == 403, "the host is not the title's"
    assert site.get(f"{site.own}/{SEGMENT}", stream.token, Host=f"localhost:{site.server.port}").status == 200


def test_heights_above_the_plans_are_not_served(site, stream):
    assert site.get(f"{site.own}/360p/1.ts", stream.token).status == 200
    paths = (
        "720p/1.ts",
        "720p/index.m3u8",
        "%37%32%30p/1.ts",
        "720p/1.ts?x=360p",
        "720p/1.ts#/360p/1.ts",
        "720p%2f1.ts",
    )
    for path in (*paths, "best.ts", "best.ts#", "best.ts#.txt", "best%2ets", "best.ts?", "best.ts/"):
        response = site.get(f"{site.own}/{path}", stream.token)
        assert response.status in (400, 403, 404) and b"too high" not in response.body, path


def test_without_a_valid_token_nothing_is_served(site, stream):
    for token in (None, "x", stream.token[:-2] + "aa", site.viewer.token, issue_token(site, stream, age_s=91)):
        assert site.get(f"{site.own}/{SEGMENT}", token).status == 401
    assert site.get(f"{site.own}/{SEGMENT}", issue_token(site, stream, age_s=60)).status == 200
    assert site.get("/playback-grant", stream.token).status == 404, "the subrequest is internal"


def test_a_stopped_stream_is_dead_within_two_seconds(site):
    started = site.viewer.play("own").json
    token, results, stopping = started["grant"]["token"], [], threading.Event()

    def fetch():
        while not stopping.is_set():
            at = time.monotonic()
            results.append((at, site.get(f"{site.own}/{SEGMENT}", token).status))

    thread = threading.Thread(target=fetch)
    thread.start()
    try:
        while not results:
            time.sleep(0.01)
        other = site.viewer.on_another_device()
        assert other.delete(f"/v1/playback/{started['stream_id']}").status_code == 204
        stopped_at = time.monotonic()
        time.sleep(2.5)
    finally:
        stopping.set()
        thread.join()
    late = [(at - stopped_at, status) for at, status in results if at > stopped_at + 2]
    assert results[0][1] == 200 and late and {status for _, status in late} == {401}


def test_one_viewers_decision_serves_nobody_else(site, stream):
    """Requests within one half second, of which the first is kept by nginx's cache."""
    path = f"{site.own}/{SEGMENT}"
    for _ in range(3):
        assert site.get(path, stream.token).status == 200
        assert site.get(path).status == 401
        assert site.get(path, "another").status == 401
        assert site.get(f"{site.foreign}/{SEGMENT}", stream.token).status == 403
        assert site.get(path, stream.token, Host="other.example").status == 403


def test_pages_of_listed_origins_may_read_and_others_may_not(site, stream):
    path = f"{site.own}/{SEGMENT}"
    preflight = {"Access_Control_Request_Method": "GET", "Access_Control_Request_Headers": "authorization,range"}
    asked = site.get(path, method="OPTIONS", Origin=PAGE, **preflight)
    assert (asked.status, asked.headers["Access-Control-Allow-Origin"]) == (204, PAGE)
    assert {"Authorization", "Range"} <= set(asked.headers["Access-Control-Allow-Headers"].split(", "))
    for token, status in ((stream.token, 200), (None, 401)):
        response = site.get(path, token, Origin=PAGE)
        assert (response.status, response.headers["Access-Control-Allow-Origin"]) == (status, PAGE)
        assert response.headers["Access-Control-Allow-Credentials"] == "true" and "Origin" in response.headers["Vary"]
    for origin in ("https://evil.example", f"{PAGE}.evil.example", "null", PAGE.replace("https", "http")):
        for method in ("GET", "OPTIONS"):
            response = site.get(path, stream.token, method=method, Origin=origin, **preflight)
            assert not [name for name in response.headers if name.startswith("Access-Control-Allow")], origin
            assert "Origin" in response.headers["Vary"]


def test_nginx_hands_the_token_of_a_url_on_to_the_urls_in_a_playlist(site, stream):
    if site.name != "nginx":
        pytest.skip("Caddy cannot rewrite responses")
    query = f"?grant={stream.token}"
    master = site.get(f"{site.own}/master.m3u8{query}").body.decode()
    lines = re.findall(r"^[^#]+\.m3u8.*$", master, re.M)
    assert lines == [f"{name}/index.m3u8{query}" for name in ("360p", "720p", "audio")]
    assert f'URI="audio/index.m3u8{query}"' in master
    playlist = site.get(f"{site.own}/{lines[0]}").body.decode()
    segments = [line for line in playlist.splitlines() if line and not line.startswith("#")]
    assert site.get(f"{site.own}/360p/{segments[3]}").status == 200 and len(segments) == 30
    injected = site.get(f'{site.own}/master.m3u8?grant="x', stream.token).body.decode()
    assert "grant" not in injected
