"""The service's own manifests: their token, what they pass on, and the media server's failures."""

import base64
import json
import subprocess
import threading
from types import SimpleNamespace

import pytest

from streamsvc.app import create_app
from streamsvc.gateways import media_origin
from streamsvc.rules.playback.signers import parse_signers
from streamsvc.rules.playback.stream_rules import STREAM_TTL
from tests.conftest import close_app
from tests.worlds.local_server import LocalHandler, local_server
from tests.worlds.media_servers import make_dash_ladder, require_program
from tests.worlds.playback_steps import FILM, World, error_of

MASTER = """#EXTM3U
#EXT-X-STREAM-INF:BANDWIDTH=800000,RESOLUTION=640x360
360p/index.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=2800000,RESOLUTION=1280x720
high/index.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=9800000
2160p/index.m3u8
"""


class Origin(LocalHandler):
    """A media server that asks for a playback token; `responds` is set by tests."""

    @staticmethod
    def responds(handler):
        handler.respond(200, MASTER.encode())

    def do_GET(self):
        self.server.requests.append((self.path, self.headers.get("Authorization")))
        if not (self.headers.get("Authorization") or "").startswith("Bearer ey"):
            return self.respond(401)
        return self.server.responds(self)


@pytest.fixture
def site(app):
    """The app with filtered manifests, its media server, and a household with up to 720 lines."""
    with local_server(Origin) as origin:
        origin.requests, origin.responds = [], Origin.responds
        settings = app.extensions["settings"].replace(
            filter_manifests=True, media_url=f"{origin.url}/media/{{item_id}}/master.m3u8", grant_network="32/128"
        )
        filtering = create_app(settings, app.extensions["clock"])
        filtering.test_client_class = app.test_client_class
        world = World(filtering)
        world.put_titles(FILM)
        viewer = world.household(plan=world.put_plan(max_height=720))
        client = filtering.test_client()

        def start():
            started = viewer.play("film").json
            url = started["manifests"][0]["url"]
            return SimpleNamespace(
                id=started["stream_id"],
                url=url,
                path=url.removeprefix(settings.public_url),
                token=started["grant"]["token"],
            )

        yield SimpleNamespace(
            world=world, viewer=viewer, origin=origin, client=client, start=start, public_url=settings.public_url
        )
        close_app(filtering)


def test_the_start_of_playback_names_the_filtered_playlist(site):
    stream = site.start()
    response = site.client.get(stream.path)
    assert (response.status_code, response.content_type) == (200, "application/vnd.apple.mpegurl")
    assert response.headers["Cache-Control"] == "no-store"
    base = f"{site.origin.url}/media/{site.world.ids['film']}"
    lines = [line for line in response.text.splitlines() if not line.startswith("#")]
    query = f"?grant={stream.token}"
    assert lines == [f"{base}/360p/index.m3u8{query}", f"{base}/high/index.m3u8{query}"]
    by_header = site.client.get(stream.path, headers={"Authorization": f"Bearer {stream.token}"})
    assert "grant=" not in by_header.text and f"{base}/high/index.m3u8\n" in by_header.text
    (path, sent), *_ = site.origin.requests
    assert path == f"/media/{site.world.ids['film']}/master.m3u8"
    assert sent != f"Bearer {stream.token}", "the viewer's token is bound to the viewer's network"
    claims = json.loads(base64.urlsafe_b64decode(f"{sent.split('.')[1]}=="))
    assert claims["exp"] == (site.world.clock() + STREAM_TTL).timestamp()


def test_only_the_token_of_the_live_stream_gets_it(site):
    stream, stranger = site.start(), site.world.household(plan=site.world.put_plan())
    others = [player.play("film").json["grant"]["token"] for player in (stranger, site.viewer.on_another_device())]
    path = stream.path.partition("?")[0]
    for query in ("", "?grant=x", *(f"?grant={token}" for token in others)):
        assert error_of(site.client.get(path + query)) == (401, "grant_invalid")
    assert site.client.get(stream.path).status_code == 200
    site.viewer.delete(f"/v1/playback/{stream.id}")
    assert error_of(site.client.get(stream.path)) == (401, "grant_invalid")
    late = site.start()
    site.world.clock.advance(seconds=60)
    renewed = site.viewer.send_heartbeat(late.id).json["grant"]["token"]
    site.world.clock.advance(seconds=31)
    assert error_of(site.client.get(late.path)) == (401, "grant_invalid"), "the first token has expired"
    assert site.client.get(f"{path.replace(stream.id, late.id)}?grant={renewed}").status_code == 200


def test_a_title_whose_variants_are_all_too_high_is_refused(site):
    site.origin.responds = lambda handler: handler.respond(200, MASTER.replace("360", "1440").encode())
    site.viewer.delete("/v1/playback")
    response = site.viewer.play("film", max_height=480).json
    path = response["manifests"][0]["url"].partition("/v1/")[2]
    assert error_of(site.client.get(f"/v1/{path}")) == (403, "grant_forbids")


@pytest.mark.parametrize(
    "respond",
    [
        lambda handler: handler.respond(500, MASTER.encode()),
        lambda handler: handler.respond(404, MASTER.encode()),
        lambda handler: handler.respond(302, MASTER.encode(), Location="http://127.0.0.1/secret"),
        lambda handler: handler.respond(200, b"<html>"),
        lambda handler: handler.respond(200, b"\xff\xfe"),
        lambda handler: handler.respond(200, b"#EXTM3U\n" + b"#x\n" * 200_000),
    ],
)
def test_a_response_that_is_no_playlist_is_502(site, respond):
    site.origin.responds = respond
    assert error_of(site.client.get(site.start().path)) == (502, "manifest_invalid")


def test_a_media_server_that_does_not_respond_is_503(site, monkeypatch):
    done = threading.Event()
    site.origin.responds = lambda handler: done.wait(10)
    monkeypatch.setattr(media_origin, "PEER", media_origin.Peer("media_origin", deadline_s=0.2, max_failures=1))
    stream = site.start()
    for _ in range(2):  # at the deadline, then by the open circuit
        response = site.client.get(stream.path)
        assert error_of(response) == (503, "manifest_unavailable") and int(response.headers["Retry-After"]) > 0
    assert len(site.origin.requests) == 1
    done.set()


def test_an_address_in_the_catalogue_cannot_make_the_service_call_its_own_network(site):
    url = site.origin.url.replace("127.0.0.1", "localhost") + "/a/master.m3u8"
    site.world.put_titles({**FILM, "external_id": "a", "media": {"hls": url}})
    path = site.viewer.play("a").json["manifests"][0]["url"].partition("/v1/")[2]
    assert error_of(site.client.get(f"/v1/{path}")) == (503, "manifest_unavailable")
    assert site.origin.requests == []


def test_other_manifests_are_the_media_servers(site):
    smooth = f"{site.origin.url}/x/a.ism"
    site.world.put_titles({**FILM, "external_id": "other", "media": {"smooth": smooth}})
    started = site.viewer.play("other").json
    assert started["manifests"] == [{"type": "smooth", "url": smooth}]
    for name in ("master.m3u8", "manifest.mpd"):
        path = f"/v1/playback/{started['stream_id']}/{name}?grant={started['grant']['token']}"
        assert error_of(site.client.get(path)) == (404, "not_found")


def play_dash(site, url, **more):
    """Start a title with a DASH manifest; return the response, and the path of the filtered manifest with its token."""
    site.world.put_titles({**FILM, "external_id": "dash", "media": {"dash": url}})
    started = site.viewer.play("dash", **more).json
    return started, started["manifests"][0]["url"].removeprefix(site.public_url)


def test_a_player_reads_what_is_left_of_a_real_dash_manifest(site, tmp_path):
    """The ladder is made by ffmpeg, whose demuxer then plays the filtered manifest with the viewer's token."""
    ffprobe = require_program("ffprobe")
    make_dash_ladder(tmp_path / "ladder")
    site.origin.responds = lambda handler: handler.respond(200, (tmp_path / handler.path.lstrip("/")).read_bytes())
    started, path = play_dash(site, f"{site.origin.url}/ladder/manifest.mpd", max_height=240)
    assert path.startswith(f"/v1/playback/{started['stream_id']}/manifest.mpd?grant=")
    response = site.client.get(path)
    assert (response.status_code, response.content_type) == (200, "application/dash+xml")
    (tmp_path / "served.mpd").write_bytes(response.data)

    def probe(name):
        site.origin.requests.clear()
        command = [ffprobe, "-v", "error", "-show_entries", "stream=height,codec_type", "-of", "csv=p=0", "-headers"]
        command += [f"Authorization: Bearer {started['grant']['token']}\r\n", f"{site.origin.url}/{name}"]
        played = subprocess.run(command, capture_output=True, text=True, timeout=60)
        heights = sorted(set(played.stdout.split()))
        return heights, sorted({path for path, _ in site.origin.requests if "init" in path})

    every = [f"/ladder/{number}/init.mp4" for number in range(3)]
    assert probe("ladder/manifest.mpd") == (["audio", "video,180", "video,360"], every)
    assert probe("served.mpd") == (["audio", "video,180"], [every[0], every[2]])


def test_a_dash_manifest_that_cannot_be_filtered_is_refused(site):
    path = play_dash(site, f"{site.origin.url}/x/a.mpd")[1]
    for manifest, refusal in (
        (b"#EXTM3U", (502, "manifest_invalid")),
        (b"<MPD>" + b" " * 600_000 + b"</MPD>", (502, "manifest_invalid")),
        (b"<!DOCTYPE MPD [<!ENTITY a 'a'>]><MPD/>", (502, "manifest_invalid")),
        (b"<MPD><BaseURL>https://evil.example/</BaseURL></MPD>", (502, "manifest_invalid")),
        (b"<MPD><Period><a><Representation height='2160'/></a></Period></MPD>", (403, "grant_forbids")),
    ):
        site.origin.responds = lambda handler, manifest=manifest: handler.respond(200, manifest)
        assert error_of(site.client.get(path)) == refusal
    assert error_of(site.client.get(path.replace("manifest.mpd", "master.m3u8"))) == (404, "not_found")


def test_a_live_dash_manifest_is_fetched_again_with_the_token_of_the_heartbeat(site):
    site.origin.responds = lambda handler: handler.respond(200, b"<MPD/>")
    started, path = play_dash(site, f"{site.origin.url}/x/a.mpd")
    site.world.clock.advance(seconds=60)
    renewed = site.viewer.send_heartbeat(started["stream_id"]).json["grant"]["token"]
    site.world.clock.advance(seconds=31)
    assert error_of(site.client.get(path)) == (401, "grant_invalid")
    assert site.client.get(path, headers={"Authorization": f"Bearer {renewed}"}).status_code == 200


def test_a_manifest_on_the_host_of_a_signer_is_signed_instead(site):
    signer = {"signer": "hmac", "host": "cdn.example", "secret": "s" * 16}
    settings = site.world.app.extensions["settings"].replace(media_signers=parse_signers([signer]))
    site.world.app.extensions["settings"] = settings
    media = {kind: f"https://cdn.example/films/a/{kind}.x" for kind in ("hls", "dash")}
    site.world.put_titles({**FILM, "external_id": "signed", "media": media})
    urls = [manifest["url"] for manifest in site.viewer.play("signed").json["manifests"]]
    assert all(url.startswith("https://cdn.example/films/a/~") for url in urls)


def test_without_the_setting_there_is_no_playlist(app):
    world = World(app)
    world.put_titles(FILM)
    started = world.household(plan=world.put_plan()).play("film").json
    assert "/media/" in started["manifests"][0]["url"]
    path = f"/v1/playback/{started['stream_id']}/master.m3u8?grant={started['grant']['token']}"
    assert error_of(app.test_client().get(path)) == (404, "not_found")


def test_the_services_own_host_is_trusted_at_its_port_only(site):
    with local_server(Origin) as other:
        other.requests, other.responds = [], Origin.responds
        site.world.put_titles({**FILM, "external_id": "a", "media": {"hls": f"{other.url}/a/master.m3u8"}})
        path = site.viewer.play("a").json["manifests"][0]["url"].partition("/v1/")[2]
        assert error_of(site.client.get(f"/v1/{path}")) == (503, "manifest_unavailable")
        assert other.requests == []
