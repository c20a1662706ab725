"""Extras play by their ids: trailers for every viewer and beside the plan's streams, the rest with their title."""

import base64
import json
from datetime import timedelta

import pytest
import sqlalchemy as sa

from streamsvc.models import Extra, MediaFile
from streamsvc.storage.database import db
from tests.conftest import NOON
from tests.worlds.playback_steps import FILM, SHOW, Watcher, World, error_of

DAY = timedelta(days=1)
CDN = "https://cdn.example"
TRAILER = {"kind": "trailer", "title": "Trailer", "runtime_s": 90}
MAKING = {"kind": "bonus", "title": "Making of", "runtime_s": 1200}


@pytest.fixture
def world(app):
    return World(app)


@pytest.fixture
def with_setting(app, monkeypatch):
    def change(**values):
        monkeypatch.setitem(app.extensions, "settings", app.extensions["settings"].replace(**values))

    return change


def put(world, *extras, **record):
    """Put the film with extras; returns what an operator sees of them, by title."""
    world.put_titles(FILM | {"extras": list(extras)} | record)
    shown = shown_to(world.operator, world)
    world.ids |= {title: extra["id"] for title, extra in shown.items()}
    return shown


def shown_to(caller, world, name="film"):
    extras = caller.get(f"/v1/catalog/titles/{world.ids[name]}").json["extras"]
    return {extra["title"]: extra for extra in extras}


def outcome(world, viewer, name):
    """Return what the page, playback and the explanation say of an extra; stops what plays."""
    shown = shown_to(viewer, world).get(name)
    body = {"account_id": viewer.account_id, "item_id": world.ids[name]}
    explained = world.operator.post("/v1/admin/explain", body).json["code"]
    played = viewer.play(name)
    if played.status_code == 201:
        assert viewer.delete(f"/v1/playback/{played.json['stream_id']}").status_code == 204
    codes = {played.json.get("code"), explained, shown["availability"]["reason"] if shown else "not_found"}
    assert len(codes) == 1, codes
    return codes.pop()


@pytest.mark.parametrize(
    ("policy", "trailer", "bonus"),
    [
        ("open_trailers", None, "subscription_required"),
        ("open", None, None),
        ("as_title", "subscription_required", "subscription_required"),
    ],
)
def test_the_operator_says_who_may_play_extras(world, with_setting, policy, trailer, bonus):
    with_setting(extras=policy)
    put(world, TRAILER, MAKING)
    price = world.put_plan()
    bob = world.household()
    assert (outcome(world, bob, "Trailer"), outcome(world, bob, "Making of")) == (trailer, bonus)
    bob.subscribe(price)
    assert (outcome(world, bob, "Trailer"), outcome(world, bob, "Making of")) == (None, None)
    put(world, TRAILER, MAKING, plans=["premium"])
    assert outcome(world, bob, "Trailer") == (trailer and "not_in_plan")
    assert outcome(world, bob, "Making of") == (bonus and "not_in_plan")


@pytest.mark.every_database
def test_a_trailer_takes_no_slot_and_no_place_of_a_device(world, clock):
    put(world, TRAILER, MAKING)
    ann = world.household(plan=world.put_plan(max_streams=1, max_devices=1))
    assert ann.play("Trailer").json["limits"] == {"max": 1, "current": 0, "max_height": 1080}
    assert world.household().play("Trailer").json["limits"] == {"max": 0, "current": 0, "max_height": None}
    body = {"account_id": ann.account_id, "item_id": world.ids["film"]}
    assert world.operator.post("/v1/admin/explain", body).json["code"] is None
    film = ann.play("film").json
    assert film["limits"]["current"] == 1
    phone = ann.on_another_device()
    trailer = phone.play("Trailer").json
    assert trailer["limits"]["current"] == 1
    assert error_of(phone.play("film")) == (409, "device_limit")
    assert error_of(ann.play("Making of")) == (409, "stream_limit")
    body = {"account_id": ann.account_id, "item_id": world.ids["Trailer"]}
    assert world.operator.post("/v1/admin/explain", body).json["code"] is None
    full = world.operator.post("/v1/admin/explain", body | {"item_id": world.ids["Making of"]}).json
    assert full["code"] == "stream_limit"
    assert [s["takes_slot"] for s in ann.get("/v1/playback").json["items"]] == [False, True, False]
    of_ann = world.operator.get(f"/v1/admin/streams?account_id={ann.account_id}").json["items"]
    assert sorted(s["item_id"] for s in of_ann) == sorted(world.ids[name] for name in ("film", "Trailer", "Trailer"))
    assert [s["item_id"] for s in ann.play("Making of").json["streams"]] == [world.ids["film"]]
    assert phone.play("Trailer").json["limits"]["current"] == 1, "it takes over its own stream"
    assert phone.send_heartbeat(trailer["stream_id"]).json["reason"] == "taken_over"
    assert ann.send_heartbeat(film["stream_id"]).json["current"] == 1
    [again] = [s for s in ann.get("/v1/playback").json["items"] if s["device"]["name"] != "Living room"]
    ended = phone.send_heartbeat(again["stream_id"], 90, "ended").json
    assert (ended["current"], ended["max"]) == (1, 1)


def test_the_trailer_of_a_coming_film_plays_where_the_film_will(world, clock):
    windows = [{"countries": ["DE"], "starts_at": (NOON + DAY).isoformat(), "ends_at": (NOON + 2 * DAY).isoformat()}]
    put(
        world,
        TRAILER,
        MAKING,
        {**TRAILER, "title": "Late", "windows": [{"starts_at": (NOON + DAY).isoformat()}]},
        {**TRAILER, "title": "Never", "windows": []},
        windows=windows,
    )
    ann = world.household(plan=world.put_plan())
    eve = world.household(country="US")
    assert [outcome(world, ann, name) for name in ("Trailer", "Making of", "Late", "Never")] == [
        None, "not_yet_available", "not_yet_available", "not_available_in_country",
    ]  # fmt: skip
    assert [outcome(world, eve, name) for name in ("Trailer", "Late")] == [
        "not_available_in_country", "not_yet_available",
    ]  # fmt: skip
    assert shown_to(ann, world)["Late"]["availability"]["starts_at"] == "2026-01-16T12:00:00Z"
    clock.at = NOON + DAY
    ann, eve = ann.on_another_device(), eve.on_another_device()
    assert [outcome(world, ann, name) for name in ("Trailer", "Making of", "Late")] == [None, None, None]
    clock.at = NOON + 2 * DAY
    ann, eve = ann.on_another_device(), eve.on_another_device()
    assert [outcome(world, ann, name) for name in ("Trailer", "Making of")] == ["no_longer_available"] * 2
    assert outcome(world, eve, "Late") is None


def test_a_child_sees_no_extra_above_its_age(world):
    put(world, TRAILER, {**MAKING, "age_rating": "US:R"}, {**TRAILER, "title": "Red band", "age_rating": "US:NR"},
        age_rating="US:G")  # fmt: skip
    ann = world.household(plan=world.put_plan())
    assert list(shown_to(ann, world)) == ["Trailer", "Making of", "Red band"]
    stream = ann.play("Red band").json["stream_id"]
    assert ann.patch(f"/v1/profiles/{ann.profile_id}", {"max_age": 13}).status_code == 200
    assert (ann.send_heartbeat(stream).json["reason"], list(shown_to(ann, world))) == ("not_found", ["Trailer"])
    assert [outcome(world, ann, name) for name in ("Trailer", "Making of", "Red band")] == [
        None, "not_found", "not_found",
    ]  # fmt: skip
    put(world, TRAILER, age_rating="US:R")
    assert error_of(ann.play("Trailer")) == (404, "not_found"), "its title is above the limit"


def test_an_extra_leaves_no_mark_on_its_title(world, clock):
    world.put_titles(SHOW | {"extras": [TRAILER, MAKING]})
    world.ids |= {title: extra["id"] for title, extra in shown_to(world.operator, world, "show").items()}
    ann = Watcher(world)
    for name in ("Trailer", "Making of"):
        stream = ann.viewer.play(name).json["stream_id"]
        for state, position_s in (("playing", 60), ("playing", 80), ("ended", 90)):
            clock.advance(seconds=30)
            assert ann.viewer.send_heartbeat(stream, position_s, state).status_code == 200
        assert ann.viewer.play(name).json["resume_s"] == 0
    for row in ("continue-watching", "next-up", "history", "plays"):
        assert ann.viewer.get(ann.path(row)).json["items"] == [], row
    assert ann.report("Trailer", 60).json["errors"].keys() == {"item_id"}
    batch = {"sent_at": clock().isoformat(), "items": [
        {"item_id": world.ids["Trailer"], "position_s": 9, "duration_s": 90, "at": clock().isoformat()}
    ]}  # fmt: skip
    assert ann.viewer.post(ann.path("progress"), batch).json["items"][0]["applied"] is False
    for path in ("watched", "watchlist"):
        assert error_of(ann.viewer.put(ann.path(path, world.ids["Trailer"]))) == (404, "not_found")
    usage = world.operator.get("/v1/admin/reports/usage?from=2026-01-01&to=2026-02-01").json
    assert usage["total"]["starts"] == 0
    [play, *_] = world.operator.get(f"/v1/admin/accounts/{ann.viewer.account_id}/plays").json["items"]
    assert play["item"]["id"] == world.ids["Making of"]
    world.put_titles(FILM)
    film = ann.viewer.play("film").json["stream_id"]
    clock.advance(seconds=30)
    assert ann.viewer.send_heartbeat(film, 600).status_code == 200
    [watched] = ann.viewer.get(ann.path("continue-watching")).json["items"]
    assert (watched["item_id"], watched["progress"]["position_s"]) == (world.ids["film"], 600), "what is no extra does"


@pytest.mark.every_database
def test_an_extra_keeps_its_id(world):
    first = put(world, TRAILER, TRAILER, {**MAKING, "external_id": "x:1"})
    ids = [extra["id"] for extra in world.operator.get(f"/v1/catalog/titles/{world.ids['film']}").json["extras"]]
    assert len(set(ids)) == 3 and all(extra_id.startswith("xtr_") for extra_id in ids)
    renamed = {"kind": "interview", "title": "Talk", "external_id": "x:1", "media": {"hls": "/talk/a.m3u8"}}
    changed = put(world, renamed, {**TRAILER, "runtime_s": 95, "artwork": [{"role": "still", "url": "/a.jpg"}]})
    assert (changed["Talk"]["id"], changed["Trailer"]["id"]) == (first["Making of"]["id"], ids[0])
    assert [extra["kind"] for extra in changed.values()] == ["interview", "trailer"]
    assert changed["Trailer"]["artwork"][0]["url"] == "/a.jpg"
    put(world)
    ann = world.household(plan=world.put_plan())
    assert error_of(ann.play(ids[0])) == (404, "not_found")
    assert put(world, MAKING, TRAILER)["Trailer"]["id"] == ids[0]
    assert ann.play(ids[0]).status_code == 201


def test_the_token_of_an_extra_opens_its_own_files(world, client):
    def media(name):
        return {"media": {"hls": f"{CDN}/film/{name}.m3u8"}}

    put(world, {**TRAILER, **media("trailer/a")}, {**MAKING, **media("extras/b"), "age_rating": "US:NC-17"},
        {**TRAILER, "title": "Teaser", **media("teaser")}, **media("master"))  # fmt: skip
    ann = world.household(plan=world.put_plan())

    def opened(name):
        token = ann.play(name).json["grant"]["token"]
        paths = ("/film/master.m3u8", "/film/1.ts", "/film/trailer/1.ts", "/film/extras/1.ts", "/film/teaser_1.ts")
        return [
            path
            for path in paths
            if client.get(
                "/v1/playback/verify",
                headers={"Authorization": f"Bearer {token}", "X-Original-URI": path, "X-Original-Host": "cdn.example"},
            ).status_code
            == 204
        ]

    assert opened("Trailer") == ["/film/trailer/1.ts"]
    assert opened("Teaser") == ["/film/teaser_1.ts"]
    assert opened("Making of") == ["/film/extras/1.ts"]
    assert opened("film") == ["/film/master.m3u8"], "a folder of it has an extra with an age of its own"
    put(world, {**TRAILER, **media("trailer/a")}, {**MAKING, **media("trailer/1")}, **media("master"))
    assert opened("Trailer") == [], "another extra lies in its folder"
    assert opened("film")[:2] == ["/film/master.m3u8", "/film/1.ts"], "whoever plays the film may play its trailer"


def name_manifest(world, extra, path):
    """Store an extra with a manifest as an earlier version did, which did not compare it with those of titles."""
    with world.app.app_context():
        item = world.ids[extra]
        db.session.execute(sa.update(Extra).where(Extra.id == item).values(media=json.dumps({"hls": CDN + path})))
        db.session.execute(sa.update(MediaFile).where(MediaFile.item == item).values(path=path))
        db.session.commit()


@pytest.mark.every_database
@pytest.mark.parametrize("path", ["/film/master.m3u8", "/other/master.m3u8", "/show/1.m3u8", "/news/live.m3u8"])
def test_an_extra_with_a_manifest_of_something_else_does_not_play(world, path):
    def media(name):
        return {"media": {"hls": f"{CDN}/{name}"}}

    put(world, {**TRAILER, **media("t/a.m3u8")}, {**MAKING, **media("m/a.m3u8")}, **media("film/master.m3u8"))
    other = {"external_id": "other", "kind": "movie", "title": "Other", "plans": ["premium"]}
    episodes = [{"number": 1, **media("show/1.m3u8")}]
    series = {"external_id": "series", "kind": "series", "title": "S", "seasons": [{"number": 1, "episodes": episodes}]}
    world.put_titles(other | media("other/master.m3u8"), series)
    assert world.operator.put("/v1/admin/channels/news", {"name": "News", **media("news/live.m3u8")}).status_code == 200
    ann, bob = world.household(plan=world.put_plan()), world.household()
    stream = bob.play("Trailer").json["stream_id"]
    name_manifest(world, "Trailer", path)
    for viewer in (ann, bob, ann.on_another_device()):
        assert outcome(world, viewer, "Trailer") == "extra_media_shared"
    assert outcome(world, ann, "Making of") is None
    assert bob.send_heartbeat(stream).json["reason"] == "extra_media_shared"
    issue = world.operator.get("/v1/admin/coverage/extra_media_shared").json
    assert [(item["external_id"], item["part"]["title"]) for item in issue["items"]] == [("film", "Trailer")]
    if path.startswith("/other"):
        etag = world.operator.get("/v1/admin/titles/other").headers["ETag"]
        assert world.operator.call("DELETE", "/v1/admin/titles/other", **{"If-Match": etag}).status_code == 204
        assert outcome(world, bob, "Trailer") is None, "no title has the file any more"


def test_a_variant_of_an_extra_opens_no_manifest_of_something_else(world):
    film = {**FILM, "media": {"hls": f"{CDN}/film/master.m3u8"}}
    other = {"external_id": "other", "kind": "movie", "title": "Other", "media": {"hls": f"{CDN}/other/master.m3u8"}}
    world.put_titles(other)
    put(world, {**TRAILER, "media": {"hls": f"{CDN}/t/a.m3u8"}, "variants": [{"path": "720/"}]}, **film)
    paths = ["720/", "/other/", "/film/master.m3u8", "/film/", "/own/b.m3u8"]
    with world.app.app_context():
        variants = json.dumps([{"path": path, "height": 720} for path in paths])
        db.session.execute(sa.update(Extra).where(Extra.id == world.ids["Trailer"]).values(variants=variants))
        db.session.commit()
    token = world.household().play("Trailer").json["grant"]["token"]
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert claims["paths"] == ["/t/", "/t/720/", "/own/b.m3u8"]
