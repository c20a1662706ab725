"""May this be played, here and now; kept up by heartbeats; over when it must be."""

from contextlib import contextmanager

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from streamsvc.storage import compiled_statements
from streamsvc.storage.database import db
from tests.worlds.playback_steps import CARTOON, FILM, World, told


@pytest.fixture
def world(app):
    world = World(app)
    world.put_titles(FILM, CARTOON)
    return world


@pytest.fixture
def ann(world):
    """A viewer on a TV with a plan of two streams at 1080 lines."""
    return world.household(plan=world.put_plan())


def test_who_may_play_hears_all_that_a_player_needs(world, ann):
    answer = ann.play("film")
    film = world.ids["film"]
    assert answer.status_code == 201
    assert answer.json["manifests"] == [{"type": "hls", "url": f"http://127.0.0.1:8000/media/{film}/master.m3u8"}]
    assert answer.json["grant"]["expires_at"] == "2026-01-15T12:01:30Z"
    assert answer.json["heartbeat"] == {"interval_s": 30, "ttl_s": 90}
    assert answer.json["limits"] == {"max": 2, "current": 1, "max_height": 1080}
    assert (answer.json["resume_s"], answer.json["markers"]) == (0, {})
    assert answer.json["cmcd"] == {"sid": answer.json["stream_id"], "cid": film}


def test_media_and_markers_come_from_the_catalogue(world, ann):
    media = {"hls": "https://cdn.example/f/a/master.m3u8", "dash": "https://cdn.example/f/a/manifest.mpd"}
    world.put_titles(FILM | {"media": media, "markers": {"credits_s": 5700}})
    answer = ann.play("film").json
    assert {manifest["type"]: manifest["url"] for manifest in answer["manifests"]} == media
    assert answer["markers"] == {"credits_s": 5700}


@pytest.mark.parametrize("asked, height", [(720, 720), (2160, 1080), (None, 1080)])
def test_the_height_is_what_plan_and_player_both_allow(ann, asked, height):
    assert ann.play("film", max_height=asked).json["limits"]["max_height"] == height


def test_a_stranger_is_refused(world, client):
    assert told(client.post("/v1/playback", json={"item_id": world.ids["film"]})) == (401, "not_signed_in")


def test_an_operators_key_plays_nothing(world):
    assert told(world.operator.post("/v1/playback", {"item_id": world.ids["film"]})) == (401, "not_signed_in")


def test_what_is_not_in_the_catalogue_is_not_found(ann):
    assert told(ann.play("ttl_00000000000000000000000000")) == (404, "not_found")


def test_what_the_profiles_age_forbids_is_not_found_either(world, ann):
    made = ann.post("/v1/profiles", {"name": "Kid", "max_age": 12}).json
    assert ann.patch("/v1/sessions/current", {"profile_id": made["id"]}).status_code == 200
    hidden, missing = ann.play("film"), ann.play("ttl_00000000000000000000000000")
    assert {**hidden.json, "request_id": ""} == {**missing.json, "request_id": ""}
    assert ann.play("cartoon").status_code == 201


def test_without_a_subscription_nothing_plays(world):
    assert told(world.household().play("film")) == (403, "subscription_required")


def test_a_title_of_another_plan_is_refused(world, ann):
    world.put_titles(FILM | {"plans": ["premium"]})
    assert told(ann.play("film")) == (403, "not_in_plan")


WINDOWS = {
    "not_available_in_country": [{"countries": ["US"]}],
    "not_yet_available": [{"countries": ["DE"], "starts_at": "2026-02-01T00:00:00Z"}],
    "no_longer_available": [{"countries": ["DE"], "ends_at": "2026-01-15T12:00:00Z"}],
}


@pytest.mark.parametrize("code", WINDOWS)
def test_a_title_outside_its_window_is_refused(world, ann, code):
    world.put_titles(FILM | {"windows": WINDOWS[code]})
    assert told(ann.play("film")) == (403, code)


def test_a_window_opens_on_the_second(world, ann, clock):
    world.put_titles(FILM | {"windows": [{"countries": ["DE"], "starts_at": "2026-01-15T12:00:30Z"}]})
    assert told(ann.play("film")) == (403, "not_yet_available")
    clock.advance(seconds=30)
    assert ann.play("film").status_code == 201


def test_the_first_reason_is_told(world):
    world.put_titles(FILM | {"windows": WINDOWS["no_longer_available"], "plans": ["premium"]})
    assert told(world.household().play("film")) == (403, "subscription_required")


def test_a_series_is_played_by_its_episodes(world, ann):
    episodes = [{"number": 1, "title": "One", "runtime_s": 2700}]
    show = {
        "external_id": "show",
        "kind": "series",
        "title": "A Show",
        "seasons": [{"number": 1, "episodes": episodes}],
    }
    world.put_titles(show)
    assert ann.play("show").json["errors"] == {
        "item_id": ["A series is played episode by episode; give the id of one."]
    }
    assert ann.play("show/1/1").status_code == 201


def test_one_stream_too_many_is_told_with_those_that_play(ann):
    other = ann.on_another_device()
    first, second = ann.play("film").json, other.play("film").json
    refused = ann.on_another_device().play("film")
    assert told(refused) == (409, "stream_limit")
    assert refused.json["limit"] == 2
    assert [s["stream_id"] for s in refused.json["streams"]] == [first["stream_id"], second["stream_id"]]
    assert refused.json["streams"][0]["device"]["name"] == "Living room"


def test_a_viewer_can_replace_one_of_those_that_play(ann):
    first, _ = ann.play("film").json, ann.on_another_device().play("film")
    assert ann.on_another_device().play("film", replace=first["stream_id"]).status_code == 201
    assert ann.beat(first["stream_id"]).json["reason"] == "replaced"


def test_one_device_too_many_is_told_with_those_that_play(world):
    ann = world.household(plan=world.put_plan("single", max_devices=1))
    ann.play("film")
    refused = ann.on_another_device().play("film")
    assert told(refused) == (409, "device_limit")
    assert (refused.json["limit"], refused.json["devices"][0]["name"]) == (1, "Living room")


def test_where_the_settings_say_so_the_longest_unused_device_leaves(world, monkeypatch):
    monkeypatch.setitem(
        world.app.extensions, "settings", world.app.extensions["settings"].replace(device_limit="evict")
    )
    tv = world.household(plan=world.put_plan("pair", max_devices=2, max_streams=1))
    phone, tablet, laptop = (tv.on_another_device() for _ in range(3))

    def device(who):
        return who.get("/v1/sessions/current").json["session"]["device"]["id"]

    tv.beat(tv.play("film").json["stream_id"], state="stopped")
    world.clock.advance(hours=1)
    playing = phone.play("film").json["stream_id"]
    assert told(tablet.play("film")) == (409, "stream_limit")
    assert tv.get("/v1/account").status_code == 200  # whoever could not play took nobody's place
    phone.beat(playing, state="stopped")
    world.clock.advance(hours=1)
    old, new = device(phone), device(tablet)
    world.clock.advance(hours=1)
    device(tv)  # looks at something: the phone is what was longest unused
    asked = {"account_id": tv.account_id, "item_id": world.ids["film"], "device_id": new}
    assert world.operator.post("/v1/admin/explain", asked).json["allowed"]
    assert tablet.play("film").status_code == 201
    assert [who.get("/v1/account").status_code for who in (tv, phone, tablet)] == [200, 401, 200]
    audit = world.operator.get(f"/v1/admin/audit?account_id={tv.account_id}").json["items"]
    (left,) = [entry["details"] for entry in audit if entry["action"] == "device_evicted"]
    assert (left["device"], left["by"]) == (old, new)
    world.put_plan("pair", max_devices=1, max_streams=5)
    assert told(laptop.play("film")) == (409, "device_limit")  # as many would have to leave as do not play
    assert tv.get("/v1/account").status_code == 200


def test_a_device_that_is_removed_makes_room(world):
    ann = world.household(plan=world.put_plan("single", max_devices=1))
    phone = ann.on_another_device()
    device_id = phone.get("/v1/sessions/current").json["session"]["device"]["id"]
    phone.play("film")
    assert told(ann.play("film")) == (409, "device_limit")
    assert ann.delete(f"/v1/devices/{device_id}").status_code == 204
    assert ann.play("film").status_code == 201


def test_only_a_device_of_ones_own_plays(world, ann):
    own = ann.on_another_device().get("/v1/sessions/current").json["session"]["device"]["id"]
    foreign = world.household(plan=world.put_plan()).get("/v1/sessions/current").json["session"]["device"]["id"]
    assert ann.play("film", device_id=own).status_code == 201
    assert ann.get("/v1/playback").json["items"][0]["device"]["id"] == own
    refused, missing = (ann.play("film", device_id=device) for device in (foreign, "dev_nobody"))
    assert told(refused) == (404, "not_found")
    assert refused.json | {"request_id": 0} == missing.json | {"request_id": 0}
    assert ann.delete(f"/v1/devices/{own}").status_code == 204
    assert told(ann.play("film", device_id=own)) == (404, "not_found")


def test_a_reload_takes_over_its_own_place(ann):
    first = ann.play("film").json
    again = ann.play("film").json
    assert again["limits"]["current"] == 1
    assert ann.beat(first["stream_id"]).json["reason"] == "taken_over"
    assert ann.beat(again["stream_id"]).status_code == 200


def test_a_retry_with_its_key_starts_one_stream(ann, world):
    asked = {"item_id": world.ids["film"]}
    first, again = (ann.post("/v1/playback", asked, Idempotency_Key="play-1") for _ in range(2))
    assert (again.status_code, again.json, again.headers["Idempotency-Replayed"]) == (201, first.json, "true")
    assert ann.beat(first.json["stream_id"]).status_code == 200


def test_a_stream_of_a_profile_that_is_gone_ends_at_its_next_heartbeat(ann):
    guest = ann.post("/v1/profiles", {"name": "Guest"}).json["id"]
    ann.patch("/v1/sessions/current", {"profile_id": guest})
    stream = ann.play("film").json
    ann.patch("/v1/sessions/current", {"profile_id": ann.profile_id})
    assert ann.delete(f"/v1/profiles/{guest}").status_code == 204
    ended = ann.beat(stream["stream_id"])
    assert (*told(ended), ended.json["reason"]) == (410, "stream_ended", "profile_required")


def test_heartbeats_keep_a_stream_and_bring_fresh_grants(ann, clock):
    stream = ann.play("film").json
    for n in range(1, 5):
        clock.advance(seconds=60)
        answer = ann.beat(stream["stream_id"], 60 * n)
        assert answer.status_code == 200
        assert answer.json["grant"]["expires_at"] == f"2026-01-15T12:0{n + 1}:30Z"
    assert (answer.json["interval_s"], answer.json["current"], answer.json["max"]) == (30, 1, 2)


def test_a_stream_without_heartbeats_is_over_and_stays_so(ann, clock):
    stream = ann.play("film").json
    clock.advance(seconds=90)
    for _ in range(2):
        late = ann.beat(stream["stream_id"])
        assert (told(late), late.json["reason"]) == ((410, "stream_ended"), "expired")
    assert ann.get("/v1/playback").json["items"] == []


@pytest.mark.parametrize("state", ["stopped", "ended"])
def test_the_last_heartbeat_gives_the_place_back(ann, state):
    stream = ann.play("film").json
    answer = ann.beat(stream["stream_id"], state=state)
    assert (answer.status_code, answer.json["current"], "grant" in answer.json) == (200, 0, False)
    assert ann.beat(stream["stream_id"]).json["reason"] == "stopped"


def test_a_subscription_that_ends_stops_the_stream(world, ann):
    stream = ann.play("film").json
    [subscription] = ann.get("/v1/subscriptions").json["items"]
    path = f"/v1/subscriptions/{subscription['id']}/cancellation"
    assert ann.post(path, {"when": "now"}, Idempotency_Key="bye").status_code == 200
    for _ in range(2):
        stopped = ann.beat(stream["stream_id"])
        assert (stopped.status_code, stopped.json["reason"]) == (410, "subscription_required")


def test_a_title_that_is_withdrawn_stops_the_stream(world, ann):
    stream = ann.play("film").json
    world.put_titles(FILM | {"windows": []})
    assert ann.beat(stream["stream_id"]).json["reason"] == "not_available_in_country"


def test_a_session_that_ends_stops_its_streams(ann):
    phone = ann.on_another_device()
    stream = phone.play("film").json
    assert [s["stream_id"] for s in ann.get("/v1/playback").json["items"]] == [stream["stream_id"]]
    assert phone.delete("/v1/sessions/current").status_code == 204
    assert ann.get("/v1/playback").json["items"] == []
    assert ann.beat(stream["stream_id"]).json["reason"] == "signed_out"


def test_the_account_sees_what_plays_and_where(ann, world):
    stream = ann.play("film").json
    ann.beat(stream["stream_id"], 75, "paused")
    [shown] = ann.get("/v1/playback").json["items"]
    assert shown["item_id"] == world.ids["film"]
    assert (shown["position_s"], shown["state"], shown["profile_id"]) == (75, "paused", ann.profile_id)
    assert (shown["device"]["name"], shown["device"]["kind"]) == ("Living room", "tv")


def test_what_plays_is_told_a_page_at_a_time(ann):
    ids = [ann.play(item).json["stream_id"] for item in ("film", "cartoon")]
    first = ann.get("/v1/playback?limit=1&include_total=true").json
    second = ann.get(f"/v1/playback?limit=1&cursor={first['next_cursor']}").json
    assert [s["stream_id"] for s in first["items"] + second["items"]] == ids
    assert (first["total"], second["next_cursor"]) == (2, None)


def test_a_stream_can_be_stopped_from_another_device(ann):
    phone = ann.on_another_device()
    stream = phone.play("film").json
    assert ann.delete(f"/v1/playback/{stream['stream_id']}").status_code == 204
    assert phone.beat(stream["stream_id"]).json["reason"] == "stopped_by_viewer"
    assert ann.delete(f"/v1/playback/{stream['stream_id']}").status_code == 204


def test_all_streams_but_one_can_be_stopped(ann):
    kept, other = ann.play("film").json, ann.on_another_device().play("film").json
    assert ann.delete(f"/v1/playback?except={kept['stream_id']}").status_code == 204
    assert [s["stream_id"] for s in ann.get("/v1/playback").json["items"]] == [kept["stream_id"]]
    assert ann.beat(other["stream_id"]).json["reason"] == "stopped_by_viewer"


def test_to_keep_what_does_not_play_stops_nothing(ann):
    stream = ann.play("film").json
    assert told(ann.delete("/v1/playback?except=str_mistyped")) == (404, "not_found")
    assert ann.beat(stream["stream_id"]).status_code == 200


def test_another_accounts_stream_is_not_found(world, ann):
    stream = ann.play("film").json["stream_id"]
    eve = world.household(plan=world.put_plan())
    assert told(eve.beat(stream)) == told(eve.beat("str_1")) == (404, "not_found")
    assert told(eve.delete(f"/v1/playback/{stream}")) == (404, "not_found")
    eve.play("film", replace=stream)
    assert ann.beat(stream).status_code == 200


@pytest.mark.parametrize(
    "body", [{}, {"item_id": 1}, {"item_id": ""}, {"item_id": "x", "max_height": 0}, {"item_id": "x", "more": 1}]
)
def test_what_makes_no_sense_is_refused(ann, body):
    assert ann.post("/v1/playback", body).status_code == 422


@pytest.fixture
def breaking_off(app, monkeypatch):
    """Within `breaking_off(2)` the database is there for two questions, and away for all that follow."""
    monkeypatch.setattr(compiled_statements, "MAX_IDLE_S", -1)  # each question asks the pool for its connection
    with app.app_context():
        engines = list(db.engines.values())

    @contextmanager
    def breaking(after):
        asked = []

        def away(*connection):
            asked.append(connection)
            if len(asked) > after:
                raise OperationalError("connect", {}, Exception("connection refused"))

        for engine in engines:
            event.listen(engine, "checkout", away)
        yield
        for engine in engines:
            event.remove(engine, "checkout", away)

    return breaking


@pytest.mark.parametrize("known", ["nothing", "who asks", "what is asked for"])
def test_nothing_plays_when_it_cannot_be_decided(ann, breaking_off, known):
    ann.play("cartoon")
    with breaking_off(["nothing", "who asks", "what is asked for"].index(known)):
        refused = ann.play("film")
    assert told(refused) == (503, "entitlement_unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    assert len(ann.get("/v1/playback").json["items"]) == 1
