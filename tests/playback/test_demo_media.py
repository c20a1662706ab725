"""The demo's videos: served by the service itself, only with the playback token that nginx would ask for."""

import re
from urllib.parse import quote, urlsplit

import pytest

from streamsvc.app import create_app
from streamsvc.blueprints.sandbox.media import demo_files
from streamsvc.operations.maintenance.demo import MEDIA
from tests.conftest import close_app
from tests.worlds.playback_steps import FILM, World

BARS = {
    "external_id": "bars",
    "kind": "movie",
    "title": "Bars",
    "media": {"hls": "/media/demo/colour-bars/master.m3u8"},
}
LIFE = {
    "external_id": "life",
    "kind": "movie",
    "title": "Life",
    "media": {"hls": "/media/demo/game-of-life/master.m3u8"},
}


@pytest.fixture
def world(app, monkeypatch):
    monkeypatch.setitem(app.extensions, "settings", app.extensions["settings"].replace(storefront=True))
    world = World(app)
    world.put_titles(BARS, LIFE, FILM)
    return world


def fetch(world, path, token=None, **headers):
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if token:
        sent["Authorization"] = f"Bearer {token}"
    return world.app.test_client().get(path, headers=sent)


def play(viewer, item):
    started = viewer.play(item)
    assert started.status_code == 201, started.json
    return started.json["stream_id"], started.json["grant"]["token"], urlsplit(started.json["manifests"][0]["url"]).path


def test_a_stream_opens_the_files_of_its_own_video_and_no_other(world):
    ann = world.household(plan=world.put_plan(max_height=720))
    stream_id, token, manifest = play(ann, "bars")
    folder = manifest.rpartition("/")[0]
    assert fetch(world, manifest).status_code == 401
    assert fetch(world, manifest, "made-up").status_code == 401
    playlist = fetch(world, manifest, token)
    assert (playlist.status_code, playlist.content_type) == (200, "application/vnd.apple.mpegurl")
    assert playlist.headers["Cache-Control"].startswith("private")
    for path, content_type in {
        "360p/index.m3u8": "application/vnd.apple.mpegurl",
        "720p/video.mp4": "video/mp4",
        "subtitles/ja.vtt": "text/vtt; charset=utf-8",
    }.items():
        response = fetch(world, f"{folder}/{path}", token)
        assert (response.status_code, response.content_type) == (200, content_type), path
    assert fetch(world, "/media/demo/game-of-life/master.m3u8", token).json["code"] == "grant_forbids"
    assert ann.delete(f"/v1/playback/{stream_id}").status_code == 204
    world.clock.advance(seconds=2)
    assert fetch(world, manifest, token).json["code"] == "grant_invalid"


def test_a_smaller_plan_does_not_get_the_tall_picture(world):
    ann = world.household(plan=world.put_plan(max_height=480))
    _, token, manifest = play(ann, "bars")
    folder = manifest.rpartition("/")[0]
    assert fetch(world, f"{folder}/360p/video.mp4", token).status_code == 200
    assert fetch(world, f"{folder}/720p/video.mp4", token).json["code"] == "grant_forbids"


@pytest.mark.one_database
def test_a_part_of_a_file_is_sent_for_a_range(world):
    _, token, manifest = play(world.household(plan=world.put_plan()), "bars")
    path = manifest.replace("master.m3u8", "360p/video.mp4")
    whole = (MEDIA / "colour-bars/360p/video.mp4").read_bytes()
    part = fetch(world, path, token, Range="bytes=100-199")
    assert (part.status_code, part.data) == (206, whole[100:200])
    assert part.headers["Content-Range"] == f"bytes 100-199/{len(whole)}"
    assert fetch(world, path, token).data == fetch(world, path, token, Range="bytes=9999999-").data == whole
    etag = fetch(world, path, token).headers["ETag"]
    assert fetch(world, path, token, If_None_Match=etag).status_code == 304


@pytest.mark.one_database
def test_a_playlist_requested_with_a_token_in_its_url_hands_it_on(world):
    _, token, manifest = play(world.household(plan=world.put_plan()), "bars")
    master = fetch(world, f"{manifest}?grant={token}")
    uris = re.findall(r'^[^#].*$|URI="([^"]+)"', master.text, re.M)
    assert len(uris) == 6 and master.text.count(f"?grant={quote(token)}") == 6
    assert master.headers["Cache-Control"] == "no-store"
    folder = manifest.rpartition("/")[0]
    media = fetch(world, f"{folder}/360p/index.m3u8?grant={token}").text
    assert f'#EXT-X-MAP:URI="video.mp4?grant={quote(token)}"' in media
    assert fetch(world, f"{folder}/360p/video.mp4?grant={token}").status_code == 200


def test_a_title_without_a_video_plays_a_stand_in_that_says_so(world):
    ann = world.household(plan=world.put_plan())
    _, token, manifest = play(ann, "film")
    assert manifest == f"/media/{world.ids['film']}/master.m3u8"
    playlist = fetch(world, manifest, token).text
    assert '#EXT-X-SESSION-DATA:DATA-ID="streamsvc.stand-in",VALUE="yes"' in playlist
    assert fetch(world, manifest.replace("master.m3u8", "360p/video.mp4"), token).status_code == 200
    assert fetch(world, f"/media/{world.ids['life']}/master.m3u8", token).json["code"] == "grant_forbids"
    _, bars_token, bars = play(ann, "bars")
    assert "stand-in" not in fetch(world, bars, bars_token).text


@pytest.mark.one_database
def test_nothing_but_the_videos_can_be_requested(world):
    _, token, _ = play(world.household(plan=world.put_plan()), "bars")
    for name in ("demo/none/master.m3u8", "demo/colour-bars/../../plans.json", "demo/%2e%2e/plans.json", "demo/", "x"):
        assert fetch(world, f"/media/{name}", token).status_code == 404, name
    assert {name.rpartition(".")[2] for name in demo_files()} == {"m3u8", "mp4", "vtt"}


@pytest.mark.one_database
def test_without_the_storefront_or_outside_the_sandbox_there_are_none(app):
    world = World(app)
    world.put_titles(BARS)
    _, token, manifest = play(world.household(plan=world.put_plan()), "bars")
    assert fetch(world, manifest, token).json["code"] == "not_found"
    outside = create_app(app.extensions["settings"].replace(sandbox=False, storefront=True))
    assert outside.test_client().get(manifest, headers={"Authorization": f"Bearer {token}"}).status_code == 404
    close_app(outside)


@pytest.mark.one_database
def test_the_videos_are_small_and_their_playlists_fit_their_files():
    assert sum(path.stat().st_size for path in demo_files().values()) <= 1_500_000
    playlists = sorted(MEDIA.glob("*/*p/index.m3u8"))
    assert len(playlists) == 18
    for playlist in playlists:
        length, offset = map(int, re.findall(r"#EXT-X-BYTERANGE:(\d+)@(\d+)", playlist.read_text())[-1])
        assert length + offset == (playlist.parent / "video.mp4").stat().st_size
