"""Playback: starting streams, extending them by heartbeats, and ending them."""

from contextlib import contextmanager
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from streamsvc.models import FreedDevicePlace
from streamsvc.operations.maintenance.housekeeping import purge_expired_data
from streamsvc.storage import compiled_statements
from streamsvc.storage.database import db, format_utc
from tests.worlds.playback_steps import CARTOON, EPISODES, FILM, SHOW, World, error_of
from tests.worlds.scenes import set_scene


def build_world(app, with_ann):
    world = World(app)
    world.put_titles(FILM, CARTOON)
    world.ann = world.household(plan=world.put_plan()) if with_ann else None
    return world


@pytest.fixture
def world(app, request):
    return set_scene(app, build_world, "ann" in request.fixturenames)


@pytest.fixture
def ann(world):
    """A viewer on a TV, with a plan of two streams at 1080 lines."""
    return world.ann


def test_a_started_playback_has_everything_a_player_needs(world, ann):
    response = ann.play("film")
    film = world.ids["film"]
    assert response.status_code == 201
    assert response.json["manifests"] == [{"type": "hls", "url": f"http://127.0.0.1:8000/media/{film}/master.m3u8"}]
    assert response.json["grant"]["expires_at"] == "2026-01-15T12:01:30Z"
    assert response.json["heartbeat"] == {"interval_s": 30, "ttl_s": 90}
    assert response.json["limits"] == {"max": 2, "current": 1, "max_height": 1080}
    assert (response.json["resume_s"], response.json["markers"]) == (0, {})
    assert response.json["cmcd"] == {"sid": response.json["stream_id"], "cid": film}


def test_media_and_markers_come_from_the_catalogue(world, ann):
    media = {"hls": "https://cdn.example/f/a/master.m3u8", "dash": "https://cdn.example/f/a/manifest.mpd"}
    world.put_titles(FILM | {"media": media, "markers": {"credits_s": 5700}})
    response = ann.play("film").json
    assert {manifest["type"]: manifest["url"] for manifest in response["manifests"]} == media
    assert response["markers"] == {"credits_s": 5700}


@pytest.mark.parametrize("requested, height", [(720, 720), (2160, 1080), (None, 1080)])
def test_the_limit_of_the_height_is_the_lower_of_plan_and_player(ann, requested, height):
    assert ann.play("film", max_height=requested).json["limits"]["max_height"] == height


def test_an_anonymous_request_is_refused(world, client):
    assert error_of(client.post("/v1/playback", json={"item_id": world.ids["film"]})) == (401, "not_signed_in")


def test_an_api_key_cannot_start_playback(world):
    assert error_of(world.operator.post("/v1/playback", {"item_id": world.ids["film"]})) == (401, "not_signed_in")


def test_an_item_not_in_the_catalogue_is_not_found(ann):
    assert error_of(ann.play("ttl_00000000000000000000000000")) == (404, "not_found")


def test_an_item_above_the_profiles_age_limit_is_not_found(world, ann):
    made = ann.post("/v1/profiles", {"name": "Kid", "max_age": 12}).json
    assert ann.patch("/v1/sessions/current", {"profile_id": made["id"]}).status_code == 200
    hidden, missing = ann.play("film"), ann.play("ttl_00000000000000000000000000")
    assert {**hidden.json, "request_id": ""} == {**missing.json, "request_id": ""}
    assert ann.play("cartoon").status_code == 201


def test_without_a_subscription_nothing_plays(world):
    assert error_of(world.household().play("film")) == (403, "subscription_required")


def test_an_upgrade_gives_its_limits_once_it_is_paid_for(world, ann):
    larger = world.put_plan("premium", 1999, max_streams=4, max_height=2160)
    card = ann.post("/v1/payment-methods", {"token": "pm_card_authenticationRequired"}).json["id"]
    ann.put(f"/v1/payment-methods/{card}/default")
    [subscription] = ann.get("/v1/subscriptions").json["items"]
    path, body = f"/v1/subscriptions/{subscription['id']}/plan-change", {"price_id": larger, "when": "now"}
    waiting = ann.post(path, body, Idempotency_Key="upgrade")
    assert error_of(waiting) == (402, "authentication_required")
    assert ann.play("film").json["limits"] == {"max": 2, "current": 1, "max_height": 1080}
    path = f"/v1/sandbox/payments/{waiting.json['payment_id']}/authentication"
    assert world.operator.post(path, {"approve": True}).status_code == 200
    assert ann.play("film").json["limits"] == {"max": 4, "current": 1, "max_height": 2160}


def test_a_title_of_another_plan_is_refused(world, ann):
    world.put_titles(FILM | {"plans": ["premium"]})
    assert error_of(ann.play("film")) == (403, "not_in_plan")


WINDOWS = {
    "not_available_in_country": [{"countries": ["US"]}],
    "not_yet_available": [{"countries": ["DE"], "starts_at": "2026-02-01T00:00:00Z"}],
    "no_longer_available": [{"countries": ["DE"], "ends_at": "2026-01-15T12:00:00Z"}],
}


@pytest.mark.parametrize("code", WINDOWS)
def test_a_title_outside_its_window_is_refused(world, ann, code):
    world.put_titles(FILM | {"windows": WINDOWS[code]})
    assert error_of(ann.play("film")) == (403, code)


def test_a_window_opens_on_the_second(world, ann, clock):
    world.put_titles(FILM | {"windows": [{"countries": ["DE"], "starts_at": "2026-01-15T12:00:30Z"}]})
    assert error_of(ann.play("film")) == (403, "not_yet_available")
    clock.advance(seconds=30)
    assert ann.play("film").status_code == 201


def test_the_first_failing_condition_is_reported(world):
    world.put_titles(FILM | {"windows": WINDOWS["no_longer_available"], "plans": ["premium"]})
    assert error_of(world.household().play("film")) == (403, "subscription_required")


def test_a_series_cannot_be_played_as_a_whole(world, ann):
    episodes = [{"number": 1, "title": "One", "runtime_s": 2700}]
    show = {
        "external_id": "show",
        "kind": "series",
        "title": "A Show",
        "seasons": [{"number": 1, "episodes": episodes}],
    }
    world.put_titles(show)
    assert ann.play("show").json["errors"] == {
        "item_id": ["Must be the id of a film, an episode, an extra or a channel, not of a series."]
    }
    assert ann.play("show/1/1").status_code == 201


def test_a_stream_beyond_the_limit_is_refused_with_the_live_streams(ann):
    other = ann.on_another_device()
    first, second = ann.play("film").json, other.play("film").json
    refused = ann.on_another_device().play("film")
    assert error_of(refused) == (409, "stream_limit")
    assert refused.json["limit"] == 2
    assert [s["stream_id"] for s in refused.json["streams"]] == [first["stream_id"], second["stream_id"]]
    assert refused.json["streams"][0]["device"]["name"] == "Living room"


def test_a_viewer_can_replace_a_live_stream(ann):
    first, _ = ann.play("film").json, ann.on_another_device().play("film")
    assert ann.on_another_device().play("film", replace=first["stream_id"]).status_code == 201
    assert ann.send_heartbeat(first["stream_id"]).json["reason"] == "replaced"


def test_a_device_beyond_the_limit_is_refused_with_the_known_devices(world):
    ann = world.household(plan=world.put_plan("single", max_devices=1))
    ann.play("film")
    refused = ann.on_another_device().play("film")
    assert error_of(refused) == (409, "device_limit")
    assert (refused.json["limit"], refused.json["devices"][0]["name"]) == (1, "Living room")


def test_the_least_recently_used_device_is_evicted_if_so_configured(world, monkeypatch):
    monkeypatch.setitem(
        world.app.extensions, "settings", world.app.extensions["settings"].replace(device_limit="evict")
    )
    tv = world.household(plan=world.put_plan("pair", max_devices=2, max_streams=1))
    phone, tablet, laptop = (tv.on_another_device() for _ in range(3))

    def device(viewer):
        return viewer.get("/v1/sessions/current").json["session"]["device"]["id"]

    tv.send_heartbeat(tv.play("film").json["stream_id"], state="stopped")
    world.clock.advance(hours=1)
    playing = phone.play("film").json["stream_id"]
    assert error_of(tablet.play("film")) == (409, "stream_limit")
    assert tv.get("/v1/account").status_code == 200  # a refused device evicted no other
    phone.send_heartbeat(playing, state="stopped")
    world.clock.advance(hours=1)
    old, new = device(phone), device(tablet)
    world.clock.advance(hours=1)
    device(tv)  # a request from the TV: the phone is now the least recently used device
    body = {"account_id": tv.account_id, "item_id": world.ids["film"], "device_id": new}
    assert world.operator.post("/v1/admin/explain", body).json["allowed"]
    assert tablet.play("film").status_code == 201
    assert [viewer.get("/v1/account").status_code for viewer in (tv, phone, tablet)] == [200, 401, 200]
    audit = world.operator.get(f"/v1/admin/audit?account_id={tv.account_id}").json["items"]
    (left,) = [entry["details"] for entry in audit if entry["action"] == "device_evicted"]
    assert (left["device"], left["by"]) == (old, new)
    world.put_plan("pair", max_devices=1, max_streams=5)
    body["device_id"] = device(laptop)
    assert world.operator.post("/v1/admin/explain", body).json["code"] == "device_limit"
    assert error_of(laptop.play("film")) == (409, "device_limit")  # every other device is playing
    assert tv.get("/v1/account").status_code == 200


def test_a_stream_too_many_ends_the_oldest_if_so_configured(world, monkeypatch):
    settings = world.app.extensions["settings"].replace(stream_limit="end_oldest")
    monkeypatch.setitem(world.app.extensions, "settings", settings)
    tv = world.household(plan=world.put_plan("pair", max_streams=2))
    neighbours = world.household(plan=world.put_plan("pair", max_streams=2))
    kept = neighbours.play("film").json["stream_id"]
    phone, tablet = tv.on_another_device(), tv.on_another_device()
    first, second = tv.play("film").json["stream_id"], phone.play("film").json["stream_id"]
    third = tablet.play("film")
    assert (third.status_code, third.json["limits"]["current"]) == (201, 2)
    assert tv.send_heartbeat(first).json["reason"] == "replaced"
    assert phone.send_heartbeat(second).status_code == neighbours.send_heartbeat(kept).status_code == 200
    body = {"account_id": tv.account_id, "item_id": world.ids["film"]}
    assert world.operator.post("/v1/admin/explain", body).json["allowed"]
    for max_streams, code in ((1, None), (0, "stream_limit")):
        world.put_plan("pair", max_streams=max_streams)
        assert world.operator.post("/v1/admin/explain", body).json["code"] == code
        assert tv.play("film").json.get("code") == code


def test_a_kind_of_device_has_a_limit_of_its_own(world):
    tv = world.household(plan=world.put_plan("family", max_streams=9, max_devices_by_kind={"tv": 1}))
    second_tv, phone = tv.on_another_device("tv"), tv.on_another_device("phone")
    assert tv.get("/v1/sessions/current").json["entitlements"]["max_devices_by_kind"] == {"tv": 1}
    assert [viewer.play("film").status_code for viewer in (tv, phone)] == [201, 201]
    refused = second_tv.play("film")
    assert error_of(refused) == (409, "device_limit")
    assert (refused.json["limit"], refused.json["kind"], refused.json["next_removal_at"]) == (1, "tv", None)
    assert [device["name"] for device in refused.json["devices"]] == ["Living room"]
    device_id = second_tv.get("/v1/sessions/current").json["session"]["device"]["id"]
    body = {"account_id": tv.account_id, "item_id": world.ids["film"], "device_id": device_id}
    assert world.operator.post("/v1/admin/explain", body).json["code"] == "device_limit"
    assert tv.delete(f"/v1/playback/{tv.play('film').json['stream_id']}").status_code == 204
    assert error_of(second_tv.play("film")) == (409, "device_limit"), "an idle device keeps its place"
    assert world.operator.post("/v1/admin/explain", body).json["code"] == "device_limit"


def test_a_plan_limits_how_often_devices_are_swapped(world, clock):
    plan = world.put_plan("swaps", max_streams=9, max_devices=2, max_device_removals=1)
    tv, neighbour = world.household(plan=plan), world.household(plan=plan)
    phones = [tv.on_another_device() for _ in range(4)]

    def remove(viewer, by=tv):
        device_id = viewer.get("/v1/sessions/current").json["session"]["device"]["id"]
        assert by.delete(f"/v1/devices/{device_id}").status_code == 204
        assert viewer.get("/v1/sessions/current").status_code == 401

    assert tv.play("film").status_code == phones[0].play("film").status_code == 201
    swapped_at = clock()
    remove(phones[0])
    assert phones[1].play("film").status_code == 201
    clock.advance(days=1)
    remove(phones[3])  # it never played, so it has no place
    remove(phones[1])
    refused = phones[2].play("film")
    assert error_of(refused) == (409, "device_limit")
    assert refused.json["next_removal_at"] == format_utc(swapped_at + timedelta(days=60))
    assert [device["name"] for device in refused.json["devices"]] == ["Living room"]
    body = {"account_id": tv.account_id, "item_id": world.ids["film"]}
    body["device_id"] = phones[2].get("/v1/sessions/current").json["session"]["device"]["id"]
    assert world.operator.post("/v1/admin/explain", body).json["code"] == "device_limit"
    neighbours = [neighbour.on_another_device() for _ in range(2)]
    assert neighbour.play("film").status_code == neighbours[0].play("film").status_code == 201
    remove(neighbours[0], by=neighbour)
    assert neighbours[1].play("film").status_code == 201
    clock.advance(days=29)  # a month after the first swap, the second place is free
    assert phones[2].play("film").status_code == 201
    with world.app.app_context():
        purge_expired_data({}, clock() + timedelta(days=31))
        assert db.session.scalar(sa.select(sa.func.count()).select_from(FreedDevicePlace)) == 0


def test_the_removal_of_a_device_that_has_lost_its_place_is_no_swap(world, clock):
    plan = world.put_plan("swaps", max_streams=9, max_devices=1, max_device_removals=1)
    tv = world.household(plan=plan)
    phones = [tv.on_another_device() for _ in range(3)]

    def remove(viewer):
        device_id = viewer.get("/v1/sessions/current").json["session"]["device"]["id"]
        assert tv.delete(f"/v1/devices/{device_id}").status_code == 204

    assert phones[0].play("film").status_code == 201
    clock.advance(days=30)
    assert phones[1].play("film").status_code == 201
    remove(phones[0])
    remove(phones[1])
    assert phones[2].play("film").status_code == 201


def test_an_eviction_counts_as_a_swap(world, monkeypatch):
    settings = world.app.extensions["settings"].replace(device_limit="evict")
    monkeypatch.setitem(world.app.extensions, "settings", settings)
    tv = world.household(plan=world.put_plan("swaps", max_streams=9, max_devices=1, max_device_removals=1))
    phone, tablet = tv.on_another_device(), tv.on_another_device()

    def explained(viewer):
        body = {"account_id": tv.account_id, "item_id": world.ids["film"], "device_id": viewer.device_id()}
        return world.operator.post("/v1/admin/explain", body).json["code"]

    tv.send_heartbeat(tv.play("film").json["stream_id"], state="stopped")
    assert explained(phone) is None
    phone.send_heartbeat(phone.play("film").json["stream_id"], state="stopped")
    assert explained(tablet) == "device_limit"
    assert [viewer.get("/v1/account").status_code for viewer in (tv, phone)] == [401, 200]
    assert error_of(tablet.play("film")) == (409, "device_limit")
    assert phone.get("/v1/account").status_code == 200


@pytest.mark.parametrize(("removals", "status"), [(1, 409), (2, 201)])
def test_evicting_two_devices_for_one_takes_two_swaps(world, monkeypatch, removals, status):
    settings = world.app.extensions["settings"].replace(device_limit="evict")
    monkeypatch.setitem(world.app.extensions, "settings", settings)
    tv = world.household(plan=world.put_plan("swaps", max_devices=2))
    phone, tablet = tv.on_another_device(), tv.on_another_device()
    for viewer in (tv, phone):
        viewer.send_heartbeat(viewer.play("film").json["stream_id"], state="stopped")
    world.put_plan("swaps", max_devices=1, max_device_removals=removals)
    assert tablet.play("film").status_code == status
    left = [200, 200] if status == 409 else [401, 401]
    assert [viewer.get("/v1/account").status_code for viewer in (tv, phone)] == left


def test_a_removed_device_no_longer_counts(world):
    ann = world.household(plan=world.put_plan("single", max_devices=1))
    phone = ann.on_another_device()
    device_id = phone.get("/v1/sessions/current").json["session"]["device"]["id"]
    phone.play("film")
    assert error_of(ann.play("film")) == (409, "device_limit")
    assert ann.delete(f"/v1/devices/{device_id}").status_code == 204
    assert ann.play("film").status_code == 201


def test_a_session_plays_on_its_own_device_whatever_id_it_sends(world):
    tv = world.household(plan=world.put_plan("single", max_devices=1, max_streams=5))
    phone, admitted = tv.on_another_device(), tv.device_id()
    stream = tv.play("film", device_id=admitted).json["stream_id"]
    assert error_of(phone.play("film", device_id=admitted)) == (403, "device_mismatch")
    assert error_of(phone.play("film")) == (409, "device_limit")
    assert error_of(phone.send_heartbeat(stream)) == (403, "device_mismatch")  # which would renew the token
    assert [s["device"]["id"] for s in tv.get("/v1/playback").json["items"]] == [admitted]
    assert tv.send_heartbeat(stream).status_code == 200


def test_a_device_of_nobody_or_of_others_is_not_found(world, ann):
    foreign = world.household(plan=world.put_plan()).device_id()
    refused, missing = (ann.play("film", device_id=device) for device in (foreign, "dev_nobody"))
    assert error_of(refused) == (404, "not_found")
    assert refused.json | {"request_id": 0} == missing.json | {"request_id": 0}
    removed = ann.on_another_device().device_id()
    assert ann.delete(f"/v1/devices/{removed}").status_code == 204
    assert error_of(ann.play("film", device_id=removed)) == (404, "not_found")


@pytest.mark.every_database
def test_a_device_that_signed_in_again_plays_in_one_session(world, ann):
    """Two televisions that sign in under one id count as one device, so they never play at the same time."""
    first, other = ann.play("film").json["stream_id"], ann.on_another_device().play("film").json["stream_id"]
    again = ann.again()
    assert again.send_heartbeat(first).status_code == 200  # the same device: its app restarted
    started = again.play("cartoon").json
    assert started["limits"]["current"] == 2
    assert ann.send_heartbeat(first).json["reason"] == "taken_over"
    live = [stream["stream_id"] for stream in ann.get("/v1/playback").json["items"]]
    assert live == [other, started["stream_id"]]


def test_restarting_an_item_on_a_device_replaces_its_stream(ann):
    first = ann.play("film").json
    again = ann.play("film").json
    assert again["limits"]["current"] == 1
    assert ann.send_heartbeat(first["stream_id"]).json["reason"] == "taken_over"
    assert ann.send_heartbeat(again["stream_id"]).status_code == 200


def test_a_retry_with_its_key_starts_one_stream(ann, world):
    body = {"item_id": world.ids["film"]}
    first, again = (ann.post("/v1/playback", body, Idempotency_Key="play-1") for _ in range(2))
    assert (again.status_code, again.json, again.headers["Idempotency-Replayed"]) == (201, first.json, "true")
    assert ann.send_heartbeat(first.json["stream_id"]).status_code == 200


def test_a_key_gives_no_profile_and_no_device_the_stream_of_another(ann, world):
    body, key = {"item_id": world.ids["film"]}, {"Idempotency_Key": "play-1"}
    first = ann.post("/v1/playback", body, **key).json
    on_phone = ann.on_another_device().post("/v1/playback", body, **key)
    assert (on_phone.status_code, on_phone.json["limits"]["current"]) == (201, 2)
    child = ann.post("/v1/profiles", {"name": "Child", "max_age": 6}).json["id"]
    ann.patch("/v1/sessions/current", {"profile_id": child})
    assert error_of(ann.post("/v1/playback", body, **key)) == (404, "not_found")
    second = ann.patch("/v1/sessions/current", {"profile_id": ann.profile_id})
    again = ann.post("/v1/playback", body, **key)
    assert (second.status_code, again.json["stream_id"]) == (200, first["stream_id"])
    assert again.headers["Idempotency-Replayed"] == "true"


def test_a_key_opens_no_profile_that_has_a_pin(ann, world):
    path = f"/v1/profiles/{ann.profile_id}"
    report = {"item_id": world.ids["film"], "position_s": 600, "duration_s": 6000, "at": world.clock().isoformat()}
    body, key = {"items": [report]}, {"Idempotency_Key": "batch-1"}
    assert ann.post(f"{path}/progress", body, **key).status_code == 200
    assert ann.put(f"{path}/pin", {"pin": "2468"}).status_code == 204
    other = ann.post("/v1/profiles", {"name": "Other"}).json["id"]
    ann.patch("/v1/sessions/current", {"profile_id": other})
    assert error_of(ann.post(f"{path}/progress", body, **key)) == (403, "pin_required")


def test_a_stream_of_a_deleted_profile_ends_at_its_next_heartbeat(ann):
    guest = ann.post("/v1/profiles", {"name": "Guest"}).json["id"]
    ann.patch("/v1/sessions/current", {"profile_id": guest})
    stream = ann.play("film").json
    ann.patch("/v1/sessions/current", {"profile_id": ann.profile_id})
    assert ann.delete(f"/v1/profiles/{guest}").status_code == 204
    ended = ann.send_heartbeat(stream["stream_id"])
    assert (*error_of(ended), ended.json["reason"]) == (410, "stream_ended", "profile_deleted")


def test_heartbeats_extend_a_stream_and_renew_its_token(ann, clock):
    stream = ann.play("film").json
    for n in range(1, 5):
        clock.advance(seconds=60)
        response = ann.send_heartbeat(stream["stream_id"], 60 * n)
        assert response.status_code == 200
        assert response.json["grant"]["expires_at"] == f"2026-01-15T12:0{n + 1}:30Z"
    assert (response.json["interval_s"], response.json["current"], response.json["max"]) == (30, 1, 2)


def test_a_stream_without_heartbeats_expires_for_good(ann, clock):
    stream = ann.play("film").json
    clock.advance(seconds=90)
    for _ in range(2):
        late = ann.send_heartbeat(stream["stream_id"])
        assert (error_of(late), late.json["reason"]) == ((410, "stream_ended"), "expired")
    assert ann.get("/v1/playback").json["items"] == []


@pytest.mark.parametrize("state", ["stopped", "ended"])
def test_the_final_heartbeat_frees_the_slot(ann, state):
    stream = ann.play("film").json
    response = ann.send_heartbeat(stream["stream_id"], state=state)
    assert (response.status_code, response.json["current"], "grant" in response.json) == (200, 0, False)
    assert ann.send_heartbeat(stream["stream_id"]).json["reason"] == "stopped"


def test_a_subscription_that_ends_stops_the_stream(world, ann):
    stream = ann.play("film").json
    [subscription] = ann.get("/v1/subscriptions").json["items"]
    path = f"/v1/subscriptions/{subscription['id']}/cancellation"
    assert ann.post(path, {"when": "now"}, Idempotency_Key="bye").status_code == 200
    for _ in range(2):
        stopped = ann.send_heartbeat(stream["stream_id"])
        assert (stopped.status_code, stopped.json["reason"]) == (410, "subscription_required")


def test_removing_a_title_stops_its_streams(world, ann):
    stream = ann.play("film").json
    world.put_titles(FILM | {"windows": []})
    assert ann.send_heartbeat(stream["stream_id"]).json["reason"] == "not_available_in_country"


def test_what_is_removed_from_the_catalogue_stops_and_no_longer_plays(world):
    trailer = {"extras": [{"kind": "trailer", "title": "Trailer", "runtime_s": 90}]}
    world.put_titles(FILM | trailer, CARTOON | trailer, SHOW, SHOW | {"external_id": "other"})
    for name in ("film", "cartoon"):
        [extra] = world.operator.get(f"/v1/catalog/titles/{world.ids[name]}").json["extras"]
        world.ids[f"{name}'s trailer"] = extra["id"]
    ann = world.household(plan=world.put_plan("large", max_streams=9))
    removed = ("film", "film's trailer", "cartoon's trailer", "show/1/1", "other/1/1")
    streams = {item: ann.play(item).json["stream_id"] for item in (*removed, "cartoon", "show/1/2")}
    assert {ann.send_heartbeat(stream).status_code for stream in streams.values()} == {200}
    for title in ("film", "other"):
        assert world.operator.delete(f"/v1/admin/titles/{world.ids[title]}").status_code == 204
    world.put_titles(CARTOON, SHOW | {"seasons": [*SHOW["seasons"][2:], {"number": 1, "episodes": EPISODES[1:]}]})
    for item, stream in streams.items():
        ended, started = ann.send_heartbeat(stream), ann.play(item)
        path = f"/v1/profiles/{ann.profile_id}/state?ids={world.ids[item]}"
        [state] = ann.get(path).json["items"]
        if item in removed:
            assert (*error_of(ended), ended.json["reason"]) == (410, "stream_ended", "no_longer_available"), item
            assert (error_of(started), state["progress"]) == ((404, "not_found"), None), item
        else:
            assert (ended.status_code, started.status_code, state["progress"]["position_s"]) == (200, 201, 60), item


def test_a_session_that_ends_stops_its_streams(ann):
    phone = ann.on_another_device()
    stream = phone.play("film").json
    assert [s["stream_id"] for s in ann.get("/v1/playback").json["items"]] == [stream["stream_id"]]
    assert phone.delete("/v1/sessions/current").status_code == 204
    assert ann.get("/v1/playback").json["items"] == []
    assert ann.send_heartbeat(stream["stream_id"]).json["reason"] == "signed_out"


def test_the_account_can_list_its_live_streams(ann, world):
    stream = ann.play("film").json
    ann.send_heartbeat(stream["stream_id"], 75, "paused")
    [shown] = ann.get("/v1/playback").json["items"]
    assert shown["item_id"] == world.ids["film"]
    assert (shown["position_s"], shown["state"], shown["profile_id"]) == (75, "paused", ann.profile_id)
    assert (shown["device"]["name"], shown["device"]["kind"]) == ("Living room", "tv")


def test_a_live_stream_of_an_episode_is_listed_as_described(world, ann):
    world.put_titles(SHOW)
    assert ann.play("show/1/1").status_code == 201
    assert [stream["item_id"] for stream in ann.get("/v1/playback").json["items"]] == [world.ids["show/1/1"]]


def test_live_streams_are_paged(ann):
    ids = [ann.play(item).json["stream_id"] for item in ("film", "cartoon")]
    first = ann.get("/v1/playback?limit=1&include_total=true").json
    second = ann.get(f"/v1/playback?limit=1&cursor={first['next_cursor']}").json
    assert [s["stream_id"] for s in first["items"] + second["items"]] == ids
    assert (first["total"], second["next_cursor"]) == (2, None)


def test_a_stream_can_be_stopped_from_another_device(ann):
    phone = ann.on_another_device()
    stream = phone.play("film").json
    assert ann.delete(f"/v1/playback/{stream['stream_id']}").status_code == 204
    assert phone.send_heartbeat(stream["stream_id"]).json["reason"] == "stopped_by_viewer"
    assert ann.delete(f"/v1/playback/{stream['stream_id']}").status_code == 204


def test_all_streams_except_one_can_be_stopped(ann):
    kept, other = ann.play("film").json, ann.on_another_device().play("film").json
    assert ann.delete(f"/v1/playback?except={kept['stream_id']}").status_code == 204
    assert [s["stream_id"] for s in ann.get("/v1/playback").json["items"]] == [kept["stream_id"]]
    assert ann.send_heartbeat(other["stream_id"]).json["reason"] == "stopped_by_viewer"


def test_excepting_a_stream_that_is_not_live_stops_nothing(ann):
    stream = ann.play("film").json
    assert error_of(ann.delete("/v1/playback?except=str_mistyped")) == (404, "not_found")
    assert ann.send_heartbeat(stream["stream_id"]).status_code == 200


def test_another_accounts_stream_is_not_found(world, ann):
    stream = ann.play("film").json["stream_id"]
    eve = world.household(plan=world.put_plan())
    assert error_of(eve.send_heartbeat(stream)) == error_of(eve.send_heartbeat("str_1")) == (404, "not_found")
    assert error_of(eve.delete(f"/v1/playback/{stream}")) == (404, "not_found")
    eve.play("film", replace=stream)
    assert ann.send_heartbeat(stream).status_code == 200


@pytest.mark.parametrize(
    "body", [{}, {"item_id": 1}, {"item_id": ""}, {"item_id": "x", "max_height": 0}, {"item_id": "x", "more": 1}]
)
def test_an_invalid_body_is_rejected(ann, body):
    assert ann.post("/v1/playback", body).status_code == 422


@pytest.fixture
def database_failing_after(app, monkeypatch):
    """Within `database_failing_after(2)` the database is available for two queries and unavailable from then on."""
    monkeypatch.setattr(compiled_statements, "MAX_IDLE_S", -1)  # each query takes its connection from the pool
    with app.app_context():
        engines = list(db.engines.values())

    @contextmanager
    def failing_after(queries):
        connections = []

        def refuse(*connection):
            connections.append(connection)
            if len(connections) > queries:
                raise OperationalError("connect", {}, Exception("connection refused"))

        for engine in engines:
            event.listen(engine, "checkout", refuse)
        yield
        for engine in engines:
            event.remove(engine, "checkout", refuse)

    return failing_after


@pytest.mark.parametrize("read", ["nothing", "the viewer", "the viewer and the item"])
def test_nothing_plays_when_the_database_is_unavailable(ann, database_failing_after, read):
    ann.play("cartoon")
    with database_failing_after(["nothing", "the viewer", "the viewer and the item"].index(read)):
        refused = ann.play("film")
    assert error_of(refused) == (503, "entitlement_unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    assert len(ann.get("/v1/playback").json["items"]) == 1


def test_a_position_with_hundreds_of_digits_is_invalid(ann):
    stream = ann.play("film").json["stream_id"]
    assert error_of(ann.send_heartbeat(stream, 10**400)) == (422, "invalid")
