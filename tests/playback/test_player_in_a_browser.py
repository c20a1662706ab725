"""hls.js and dash.js in Chromium play guarded ladders from nginx.

Heartbeats renew the token, and a stopped stream gets no more segments.
"""

import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.worlds import media_servers
from tests.worlds.browser import launch_chromium, serve_app
from tests.worlds.local_server import LocalHandler, local_server
from tests.worlds.playback_steps import FILM, World

PLAYERS = Path(__file__).parent.parent / "players"
FILES = {
    path.name: path
    for path in (
        PLAYERS / "player.html",
        PLAYERS / "node_modules/hls.js/dist/hls.min.js",
        PLAYERS / "node_modules/dashjs/dist/modern/umd/dash.all.min.js",
    )
}
TYPES = {"html": "text/html", "js": "text/javascript"}
layouts = pytest.mark.parametrize("layout", ["same_origin", "cross_origin"])
pytestmark = pytest.mark.one_database


class Pages(LocalHandler):
    """The player's page, on an origin of its own."""

    def do_GET(self):
        file = FILES.get(self.path.rpartition("/")[2])
        if file is None:
            return self.respond(404)
        return self.respond(200, file.read_bytes(), **{"Content-Type": TYPES[file.suffix[1:]]})


def wait_for(page, condition, timeout_s=120):
    """Wait until the condition is true in the page; what the player has logged by then is the failure's message."""
    deadline = time.monotonic() + timeout_s
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, page.evaluate("JSON.stringify([video.currentTime, log])")
        page.wait_for_timeout(100)


@contextmanager
def guarded_site(layout, app_of, folder, ladder, manifest, **record):
    """A film behind nginx, and pages with players. If cross-origin, page, API and media have an origin each."""
    if missing := [name for name, path in FILES.items() if not path.exists()]:
        pytest.skip(f"{missing} are not installed: npm ci in tests/players")
    is_cross = layout == "cross_origin"
    port = media_servers.free_port()
    media = f"http://127.0.0.1:{port}" if is_cross else f"http://localhost:{port}"
    with launch_chromium() as browser, local_server(Pages) as pages:
        page_origin = f"http://localhost:{pages.server_port}" if is_cross else media
        worlds = []

        def create(url):
            settings = {"public_url": url if is_cross else media, "media_url": f"{media}/media/{{item_id}}/master.m3u8"}
            if is_cross:
                settings["cors_origins"] = (page_origin,)
            worlds.append(World(app_of(**settings)))
            return worlds[0].app

        with serve_app(create) as api:
            (world,) = worlds
            kind = "dash" if manifest.endswith(".mpd") else "hls"
            world.put_titles({**FILM, "media": {kind: f"{media}/media/film/{manifest}"}, **record})
            shutil.copytree(ladder, folder / "root/media/film")
            (folder / "root/pages").mkdir()
            for file in FILES.values():
                shutil.copy(file, folder / "root/pages")
            service_port = int(api.rpartition(":")[2])
            with media_servers.running_nginx(folder / "nginx", folder / "root", port, service_port, page_origin):
                origins = {"page": page_origin, "media": media, "api": api if is_cross else media}
                yield SimpleNamespace(world=world, browser=browser, **origins)


def start_player(site, viewer):
    """Open the page and play the film; return the page, the errors in it, and the hosts that it calls."""
    page, failures, hosts = site.browser.new_page(), [], set()
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    page.goto(f"{site.page}/pages/player.html")
    arguments = {"session": viewer.token, "item": site.world.ids["film"], "heartbeat_ms": 1500}
    page.evaluate("play", arguments | {"api": "" if site.api == site.page else site.api})
    return page, failures, hosts


def assert_stopped_by_another_device(viewer, page):
    """Stop the stream elsewhere: the player learns why, and is refused its next segments."""
    assert viewer.on_another_device().delete(f"/v1/playback/{page.evaluate('log.stream_id')}").status_code == 204
    stopped_ms = time.time() * 1000
    wait_for(page, "log.refused.includes(401) && log.heartbeats.includes('stopped_by_viewer')")
    page.wait_for_timeout(4000)
    log = page.evaluate("log")
    assert not [part for part in log["loaded"] if part["at"] > stopped_ms + 2000]
    assert set(log["refused"]) == {401}


@layouts
def test_hls_js_plays_up_to_the_plans_height_until_the_stream_is_stopped(layout, database, new_app, tmp_path):
    """In the cross-origin layout the service filters the playlist; in the other one the player does."""
    ladder, is_cross = media_servers.make_ladder(tmp_path / "hls"), layout == "cross_origin"

    def app_of(**settings):
        return new_app(database, f"hls_{layout}", filter_manifests=is_cross, **settings)

    with guarded_site(layout, app_of, tmp_path, ladder, "master.m3u8") as site:
        viewer = site.world.household(plan=site.world.put_plan(max_height=360))
        page, failures, hosts = start_player(site, viewer)
        wait_for(page, "video.currentTime > 8 && log.tokens.length > 2 && video.textTracks[0]?.cues?.length > 0")
        assert page.evaluate("[video.videoWidth, video.videoHeight]") == [640, 360]
        log = page.evaluate("log")
        assert (log["heights"], log["subtitles"]) == ([360] if is_cross else [360, 720], 1) and log["audio"] >= 1
        assert len(set(log["tokens"])) > 2 and set(log["heartbeats"]) == {200}
        assert len(log["loaded"]) > 4 and not [part for part in log["loaded"] if "/720p/" in part["url"]]

        assert_stopped_by_another_device(viewer, page)
        assert failures == []
        assert hosts == {url.split("/")[2] for url in (site.page, site.media, site.api)}


@layouts
def test_dash_js_asks_only_for_what_the_plan_has_until_the_stream_is_stopped(layout, database, new_app, tmp_path):
    """The manifest is filtered; whoever has a larger plan gets the tall representation of the same film."""
    ladder = media_servers.make_dash_ladder(tmp_path / "dash")
    variants = [{"path": "1/", "height": 360}]

    def app_of(**settings):
        return new_app(database, f"dash_{layout}", filter_manifests=True, **settings)

    with guarded_site(layout, app_of, tmp_path, ladder, "manifest.mpd", variants=variants) as site:
        viewer = site.world.household(plan=site.world.put_plan("basic", max_height=240))
        page, failures, hosts = start_player(site, viewer)
        wait_for(page, "video.currentTime > 8 && log.tokens.length > 2")
        log = page.evaluate("log")
        assert (page.evaluate("video.videoHeight"), log["heights"]) == (180, [180])
        assert len(set(log["tokens"])) > 2 and set(log["heartbeats"]) == {200} and log["refused"] == log["errors"] == []
        fetched = {part["url"].partition("/media/film/")[2] for part in log["loaded"]}
        assert {"0/init.mp4", "0/00003.m4s", "2/init.mp4", "2/00003.m4s"} < fetched
        assert not [path for path in fetched if path.startswith("1/")]

        assert_stopped_by_another_device(viewer, page)
        assert failures == []
        assert hosts == {url.split("/")[2] for url in (site.page, site.media, site.api)}

        larger = site.world.household(plan=site.world.put_plan("large", max_height=1080))
        page, *_ = start_player(site, larger)
        wait_for(page, "video.videoHeight === 360 && log.loaded.some((part) => part.url.includes('/1/'))")
        assert page.evaluate("log.heights") == [180, 360]
