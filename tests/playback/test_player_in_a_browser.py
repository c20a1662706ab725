"""hls.js in Chromium plays a guarded ladder from nginx: heartbeats renew its token, a stopped stream gets no more."""

import shutil
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.worlds import media_servers
from tests.worlds.browser import launch_chromium, serve_app
from tests.worlds.local_server import LocalHandler, local_server
from tests.worlds.playback_steps import FILM, World

PLAYERS = Path(__file__).parent.parent / "players"
HLS_JS = PLAYERS / "node_modules/hls.js/dist/hls.min.js"
TYPES = {"html": "text/html", "js": "text/javascript"}
pytestmark = pytest.mark.one_database


class Pages(LocalHandler):
    """The player's page, on an origin of its own."""

    def do_GET(self):
        file = {"player.html": PLAYERS / "player.html", "hls.min.js": HLS_JS}.get(self.path.rpartition("/")[2])
        if file is None:
            return self.respond(404)
        return self.respond(200, file.read_bytes(), **{"Content-Type": TYPES[file.suffix[1:]]})


def wait_for(page, condition, timeout_s=40):
    """Wait until the condition is true in the page; what the player has logged by then is the failure's message."""
    deadline = time.monotonic() + timeout_s
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, page.evaluate("JSON.stringify([video.currentTime, log])")
        page.wait_for_timeout(100)


@pytest.mark.parametrize("layout", ["same_origin", "cross_origin"])
def test_chromium_plays_up_to_the_plans_height_until_the_stream_is_stopped(layout, database, new_app, tmp_path):
    """In the cross-origin layout page, API and media have an origin each, and the service filters the playlist."""
    if not HLS_JS.exists():
        pytest.skip("hls.js is not installed: npm ci in tests/players")
    is_cross = layout == "cross_origin"
    port, ladder = media_servers.free_port(), media_servers.make_ladder(tmp_path / "ladder")
    media = f"http://127.0.0.1:{port}" if is_cross else f"http://localhost:{port}"
    with ExitStack() as stack:
        browser = stack.enter_context(launch_chromium())
        pages = stack.enter_context(local_server(Pages))
        page_origin = f"http://localhost:{pages.server_port}" if is_cross else media
        worlds = []

        def create(url):
            settings = {"public_url": url if is_cross else media, "filter_manifests": is_cross}
            if is_cross:
                settings |= {"cors_origins": (page_origin,), "media_url": media + "/media/{item_id}/master.m3u8"}
            worlds.append(World(new_app(database, layout, **settings)))
            return worlds[0].app

        api = stack.enter_context(serve_app(create))
        (world,) = worlds
        world.put_titles(FILM)
        shutil.copytree(ladder, tmp_path / "root/media" / world.ids["film"])
        shutil.copytree(PLAYERS, tmp_path / "root/pages", ignore=shutil.ignore_patterns("node_modules"))
        shutil.copy(HLS_JS, tmp_path / "root/pages")
        stack.enter_context(
            media_servers.running_nginx(
                tmp_path / "nginx", tmp_path / "root", port, int(api.rpartition(":")[2]), page_origin
            )
        )
        viewer = world.household(plan=world.put_plan(max_height=360))
        page = browser.new_page()
        failures, hosts = [], set()
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
        page.goto(f"{page_origin}/pages/player.html")
        arguments = {"session": viewer.token, "item": world.ids["film"], "heartbeat_ms": 1500}
        page.evaluate("play", arguments | {"api": api if is_cross else ""})

        wait_for(page, "video.currentTime > 8 && log.tokens.length > 2 && video.textTracks[0]?.cues?.length > 0")
        assert page.evaluate("[video.videoWidth, video.videoHeight]") == [640, 360]
        log = page.evaluate("log")
        assert (log["heights"], log["subtitles"]) == ([360] if is_cross else [360, 720], 1) and log["audio"] >= 1
        assert len(set(log["tokens"])) > 2 and set(log["heartbeats"]) == {200}
        loaded_before = len(log["loaded"])
        assert loaded_before > 4 and not [part for part in log["loaded"] if "/720p/" in part["url"]]

        assert viewer.on_another_device().delete(f"/v1/playback/{log['stream_id']}").status_code == 204
        stopped_ms = time.time() * 1000
        wait_for(page, "log.refused.includes(401) && log.heartbeats.includes('stopped_by_viewer')")
        page.wait_for_timeout(4000)
        log = page.evaluate("log")
        assert not [part for part in log["loaded"] if part["at"] > stopped_ms + 2000]
        assert set(log["refused"]) == {401} and failures == []
        assert hosts == {url.split("/")[2] for url in (page_origin, media, api if is_cross else media)}
