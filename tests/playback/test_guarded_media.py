"""What a playback token opens: the files of one item, however the media are laid out, and up to the plan's height."""

import pytest

from tests.worlds.playback_steps import FILM, World, error_of
from tests.worlds.scenes import set_scene

CDN = "https://cdn.example"
EPISODES = [{"number": n, "runtime_s": 1500, "media": {"hls": f"{CDN}/show/e{n}.m3u8"}} for n in (1, 10)]


def title(name, url=None, **more):
    return {**FILM, "external_id": name, "title": name.title(), **({"media": {"hls": url}} if url else {}), **more}


def build_world(app, with_ann):
    world = World(app)
    world.ann = world.household(plan=world.put_plan(max_streams=9)) if with_ann else None
    return world


@pytest.fixture
def world(app, request):
    return set_scene(app, build_world, "opens" in request.fixturenames)


@pytest.fixture
def opens(world, client):
    """Play an item and return a function that tells which status the token gets for a path."""

    def play(item):
        response = world.ann.play(item)
        assert response.status_code == 201, response.json
        headers = {"Authorization": f"Bearer {response.json['grant']['token']}"}

        def verify(path, host="cdn.example"):
            sent = headers | {"X-Original-URI": path, "X-Original-Host": host}
            return client.get("/v1/playback/verify", headers=sent).status_code == 204

        return verify

    return play


def test_a_folder_of_its_own_is_opened_whole(world, opens):
    world.put_titles(title("a", f"{CDN}/films/a/master.m3u8"), title("b", f"{CDN}/films/b/master.m3u8"))
    verify = opens("a")
    assert (
        verify("/films/a/720p/1.ts") and not verify("/films/b/720p/1.ts") and not verify("/films/a/1.ts", "b.example")
    )


def test_a_viewers_own_headers_do_not_stand_for_the_media_servers(world, client):
    """Caddy and Traefik send X-Forwarded-Uri and pass the viewer's X-Original-URI on; nginx the other way round."""
    world.put_titles(title("a", f"{CDN}/films/a/master.m3u8"), title("b", f"{CDN}/films/b/master.m3u8"))
    token = world.household(plan=world.put_plan()).play("a").json["grant"]["token"]
    sent = {"Authorization": f"Bearer {token}", "X-Original-URI": "/films/a/1.ts", "X-Forwarded-Uri": "/films/a/1.ts"}
    hosts = {"X-Original-Host": "cdn.example", "X-Forwarded-Host": "cdn.example"}
    assert client.get("/v1/playback/verify", headers=sent | hosts).status_code == 204
    for name, value in (
        *((name, "/films/b/1.ts") for name in ("X-Original-URI", "X-Forwarded-Uri")),
        *((name, "b.example") for name in hosts),
    ):
        response = client.get("/v1/playback/verify", headers=sent | hosts | {name: value})
        assert error_of(response) == (403, "grant_forbids"), name


def test_a_flat_folder_does_not_open_its_neighbours(world, opens):
    world.put_titles(title("a", f"{CDN}/films/a.m3u8"), title("b", f"{CDN}/films/b.m3u8"))
    verify = opens("a")
    assert verify("/films/a.m3u8") and verify("/films/a_720p_1.ts")
    assert not verify("/films/b.m3u8") and not verify("/films/b_720p_1.ts")


def test_a_folder_is_shared_by_the_manifests_of_its_own_host_alone(world, opens):
    world.put_titles(title("a", f"{CDN}/films/a.m3u8"), title("b", "https://b.example/films/b.m3u8"))
    verify = opens("a")
    assert verify("/films/1.ts") and not verify("/films/1.ts", "b.example")
    world.put_titles(title("b", f"{CDN}/films/a.m3u8"))
    assert opens("a")("/films/1.ts"), "the same manifest"


def test_a_manifest_beside_two_hundred_whose_names_begin_like_its_own_opens_only_itself(world, opens):
    world.put_titles(title("a", f"{CDN}/n/a.m3u8"))
    for count, is_open in ((199, True), (200, False)):
        numbers = range(1, count + 1)
        episodes = [{"number": n, "title": "E", "media": {"hls": f"{CDN}/n/a{n}.m3u8"}} for n in numbers]
        show = {"kind": "series", "title": "S", "seasons": [{"number": 1, "episodes": episodes}]}
        assert world.operator.put("/v1/admin/titles/s", show).status_code in (200, 201)
        verify = opens("a")
        assert (verify("/n/a.m3u8"), verify("/n/a-1080p.ts")) == (True, is_open)


def test_another_titles_free_trailer_with_a_films_name_opens_none_of_its_files(world, opens):
    trailer = {"kind": "trailer", "title": "Trailer", "media": {"dash": f"{CDN}/films/a.mpd"}}
    world.put_titles(title("a", f"{CDN}/films/a.m3u8"), title("b", f"{CDN}/films/b.m3u8", extras=[trailer]))
    [extra] = world.operator.get(f"/v1/catalog/titles/{world.ids['b']}").json["extras"]
    world.ids["trailer"] = extra["id"]
    verify = opens("trailer")
    assert verify("/films/a.mpd")
    for path in ("/films/a.m3u8", "/films/a_720p_1.ts", "/films/a-720p/1.ts", "/films/a/1.ts", "/films/a.ts"):
        assert not verify(path), path


def test_a_folder_that_contains_other_folders_does_not_open_them(world, opens):
    world.put_titles(title("a", f"{CDN}/films/master.m3u8"), title("b", f"{CDN}/films/b/master.m3u8"))
    verify = opens("a")
    assert verify("/films/master.m3u8") and not verify("/films/b/1.ts")


def test_media_that_the_catalogue_does_not_name_are_neighbours_too(world, opens):
    world.put_titles(title("a", "/media/a.m3u8"), title("b"))
    verify = opens("a")
    other = world.ids["b"]
    assert verify("/media/a.m3u8", "127.0.0.1") and not verify(f"/media/{other}/1.ts", "127.0.0.1")


@pytest.mark.parametrize("host", ["", "http://127.0.0.1:8000"], ids=["path", "public host"])
def test_media_that_the_catalogue_does_not_name_are_neighbours_on_the_public_host(app, world, opens, monkeypatch, host):
    settings = app.extensions["settings"].replace(media_url=f"{host}/media/{{item_id}}/master.m3u8")
    monkeypatch.setitem(app.extensions, "settings", settings)
    world.put_titles(title("a", "/media/a.m3u8"))
    verify = opens("a")
    assert verify("/media/a.m3u8", "127.0.0.1") and not verify("/media/ttl_1/master.m3u8", "127.0.0.1")


def test_a_neighbour_that_was_removed_stays_closed(world, opens):
    world.put_titles(title("a", f"{CDN}/films/a.m3u8"), title("b", f"{CDN}/films/b.m3u8"))
    world.operator.delete("/v1/admin/titles/b")
    assert not opens("a")("/films/b.m3u8")


def test_an_episode_does_not_open_another(world, opens):
    show = {"external_id": "show", "kind": "series", "title": "Show", "age_rating": "US:G"}
    world.put_titles(show | {"seasons": [{"number": 1, "episodes": EPISODES}]})
    verify = opens("show/1/1")
    assert verify("/show/e1.m3u8") and verify("/show/e1_1.ts")
    assert not verify("/show/e10.m3u8") and not verify("/show/e10_1.ts")


def test_a_title_that_gets_a_neighbour_opens_less_from_then_on(world, opens):
    world.put_titles(title("a", f"{CDN}/films/a.m3u8"))
    assert opens("a")("/films/b.m3u8"), "it was alone in the folder"
    world.put_titles(title("b", f"{CDN}/films/b.m3u8"))
    assert not opens("a")("/films/b.m3u8")
    world.put_titles(title("b", f"{CDN}/elsewhere/b.m3u8"))
    assert opens("a")("/films/x.ts")


def test_heights_above_the_plans_are_refused(world, opens):
    variants = [{"path": "v9/", "height": 2160}, {"path": "v5/", "height": 1080}, {"path": "/shared/a/"}]
    world.put_titles(title("a", f"{CDN}/films/a/master.m3u8", variants=variants))
    verify = opens("a")
    assert all(map(verify, ("/films/a/v5/1.ts", "/films/a/audio/1.ts", "/shared/a/1.ts", "/films/a/1080p/1.ts")))
    assert not any(map(verify, ("/films/a/v9/1.ts", "/films/a/2160p/1.ts", "/shared/b/1.ts")))


def test_a_plan_without_pictures_opens_no_variant(world, client):
    variants = [{"path": "v4/", "height": 2160}, {"path": "audio/"}]
    world.put_titles(title("a", f"{CDN}/films/a/master.m3u8", variants=variants))
    token = world.household(plan=world.put_plan(max_height=0)).play("a").json["grant"]["token"]
    sent = {"Authorization": f"Bearer {token}", "X-Original-Host": "cdn.example"}

    def verify(path):
        return client.get("/v1/playback/verify", headers=sent | {"X-Original-URI": path}).status_code

    assert [verify(f"/films/a/{path}/1.ts") for path in ("v4", "720p", "audio")] == [403, 403, 204]


def test_a_variant_is_below_the_folder_of_each_manifest(world, opens):
    media = {kind: f"{CDN}/films/a/{kind}/manifest.{kind}" for kind in ("hls", "dash")}
    world.put_titles({**title("a"), "media": media, "variants": [{"path": "v4/", "height": 2160}]})
    verify = opens("a")
    assert verify("/films/a/hls/1.ts") and verify("/films/a/dash/1.m4s")
    assert not verify("/films/a/hls/v4/1.ts") and not verify("/films/a/dash/v4/1.m4s")


def test_a_path_is_opened_on_the_host_of_its_manifest_only(world, opens, client):
    media = {"hls": f"{CDN}/films/a/master.m3u8", "dash": "https://dash.example/mpd/manifest.mpd"}
    variants = [{"path": "v5/", "height": 1080}, {"path": "/shared/a/"}]
    world.put_titles({**title("a"), "media": media, "variants": variants})
    verify = opens("a")
    own = {"cdn.example": "/films/a/v5/1.ts", "dash.example": "/mpd/v5/1.m4s"}
    for host, path in own.items():
        assert [verify(path, each) for each in own] == [each == host for each in own], path
        assert verify("/shared/a/1.ts", host)
    token = world.household(plan=world.put_plan()).play("a").json["grant"]["token"]
    headers = {"Authorization": f"Bearer {token}"}
    blind = [client.get("/v1/playback/verify", headers=headers | {"X-Original-URI": path}) for path in own.values()]
    assert [error_of(response) for response in blind] == [(403, "grant_forbids")] * 2
    assert "X-Original-Host" in blind[0].json["detail"]
    elsewhere = headers | {"X-Original-URI": own["cdn.example"], "X-Original-Host": "dash.example"}
    assert "X-Original-Host" not in client.get("/v1/playback/verify", headers=elsewhere).json["detail"]
    common = client.get("/v1/playback/verify", headers=headers | {"X-Original-URI": "/shared/a/1.ts"})
    assert common.status_code == 204


@pytest.mark.parametrize("url", ["https://[cdn.example/a.m3u8", "//cdn.example/a.m3u8", f"{CDN}//a.m3u8", f"{CDN}/a/"])
def test_a_malformed_media_address_is_refused(world, url):
    response = world.operator.put("/v1/admin/titles/a", title("a", url))
    assert error_of(response) == (422, "invalid") and list(response.json["errors"]) == ["media.hls"]


def test_a_malformed_variant_is_refused(world):
    response = world.operator.put("/v1/admin/titles/a", title("a", variants=[{"path": "../b/", "height": 720}]))
    assert response.status_code == 422 and list(response.json["errors"]) == ["variants[0].path"]


def test_the_coverage_report_lists_titles_in_shared_folders(world):
    world.put_titles(
        title("a", f"{CDN}/films/a.m3u8"), title("b", f"{CDN}/films/b.m3u8"), title("c", f"{CDN}/c/master.m3u8")
    )
    issues = {issue["code"]: issue for issue in world.operator.get("/v1/admin/coverage").json["issues"]}
    found = issues["shared_media_folder"]
    assert (found["count"], [item["external_id"] for item in found["items"]]) == (2, ["a", "b"])
