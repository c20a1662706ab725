"""Progress from devices as they are: wrong clocks, failed starts, lost last heartbeats, beacons."""

import json
from datetime import timedelta

import pytest

from tests.conftest import NOON
from tests.worlds.playback_steps import CARTOON, FILM, SHOW, Watcher, World, error_of
from tests.worlds.scenes import set_scene

SHORT = {"external_id": "short", "kind": "movie", "title": "A Short", "runtime_s": 300, "age_rating": "US:G"}
NO_RUNTIME = {"external_id": "live", "kind": "movie", "title": "A Concert", "age_rating": "US:G"}


def build_world(app, with_ann):
    world = World(app)
    world.put_titles(FILM, CARTOON, SHORT, NO_RUNTIME, SHOW)
    world.ann = Watcher(world) if with_ann else None
    return world


@pytest.fixture
def world(app, request):
    return set_scene(app, build_world, "ann" in request.fixturenames)


@pytest.fixture
def ann(world):
    return world.ann


def watch(ann, clock, item, positions, behind=timedelta(), viewer=None, state="playing", **more):
    """Start an item, and send a heartbeat every 30 seconds from a player whose clock is `behind`."""
    viewer = viewer or ann.viewer
    stream = viewer.play(item).json["stream_id"]
    for position_s in positions:
        clock.advance(seconds=30)
        response = viewer.send_heartbeat(stream, position_s, state, at=clock() - behind, **more)
        assert response.status_code == 200, response.json
    return stream


def state(ann, item):
    return ann.viewer.get(ann.path(f"state?ids={ann.world.ids[item]}")).json["items"][0]["progress"]


SKEWS = [timedelta(minutes=10), timedelta(hours=3), timedelta(days=-365)]


@pytest.mark.parametrize("behind", SKEWS, ids=["slow", "three hours slow", "a year ahead"])
def test_a_player_with_a_wrong_clock_finishes_a_film(ann, clock, behind):
    watch(ann, clock, "short", [*range(30, 300, 30), 300], behind)
    assert state(ann, "short")["finished"]
    assert ann.row("continue-watching") == []


@pytest.mark.parametrize("behind", SKEWS, ids=["slow", "three hours slow", "a year ahead"])
def test_a_second_device_with_a_wrong_clock_loses_nothing(ann, clock, behind):
    first = watch(ann, clock, "film", [600, 630])
    ann.viewer.delete(f"/v1/playback/{first}")
    watch(ann, clock, "film", [660, 690], behind, ann.viewer.on_another_device())
    assert state(ann, "film")["position_s"] == 690
    clock.advance(minutes=5)
    watch(ann, clock, "film", [720])
    assert state(ann, "film")["position_s"] == 720


def test_heartbeats_of_one_stream_that_overtake_each_other_keep_the_players_order(ann, clock):
    stream = watch(ann, clock, "film", [600, 630, 660], timedelta(hours=1))
    late = ann.viewer.send_heartbeat(stream, 630, at=clock() - timedelta(hours=1, seconds=30))
    assert late.status_code == 200
    assert state(ann, "film")["position_s"] == 660
    assert ann.viewer.get("/v1/playback").json["items"][0]["position_s"] == 660


def test_a_player_whose_clock_is_set_back_while_it_plays_loses_nothing(ann, clock):
    stream = watch(ann, clock, "film", [600, 630])
    for position_s in (660, 690):
        clock.advance(seconds=30)
        ann.viewer.send_heartbeat(stream, position_s, at=clock() - timedelta(hours=1))
        assert state(ann, "film")["position_s"] == position_s


def test_a_clock_that_is_set_back_between_heartbeats_that_overtake_each_other_rewinds_nothing(ann, clock):
    """The player has gone to sleep when another device goes on, and repeats its position when it wakes up."""
    stream, behind = watch(ann, clock, "film", [600]), timedelta(minutes=10)
    overtaken_at = clock() + timedelta(seconds=30)
    clock.advance(seconds=60)
    ann.viewer.send_heartbeat(stream, 660, at=clock() - behind)
    clock.advance(seconds=1)
    ann.viewer.send_heartbeat(stream, 630, at=overtaken_at)
    assert state(ann, "film")["position_s"] == 660
    assert ann.viewer.get("/v1/playback").json["items"][0]["position_s"] == 660
    clock.advance(minutes=10)
    watch(ann, clock, "film", [900], viewer=ann.viewer.on_another_device())
    clock.advance(minutes=20)
    assert error_of(ann.viewer.send_heartbeat(stream, 660, "paused", at=clock() - behind)) == (410, "stream_ended")
    assert state(ann, "film")["position_s"] == 900


def test_a_straggler_of_an_expired_stream_never_rewinds_another_device(ann, clock):
    tv, behind = watch(ann, clock, "film", [600], timedelta(hours=1)), timedelta(hours=1)
    missed_at = clock() + timedelta(seconds=30)
    clock.advance(minutes=10)
    watch(ann, clock, "film", [1200], viewer=ann.viewer.on_another_device())
    for straggler in ({"position_s": 630, "at": missed_at - behind}, {"position_s": 600, "at": clock() - behind}):
        late = ann.viewer.send_heartbeat(tv, **straggler)
        assert error_of(late) == (410, "stream_ended")
        assert state(ann, "film")["position_s"] == 1200


def test_a_paused_player_that_repeats_its_position_never_rewinds_another_device(ann, clock):
    tv = watch(ann, clock, "film", [600])
    phone = ann.viewer.on_another_device()
    on_phone = phone.play("film").json["stream_id"]
    clock.advance(seconds=30)
    phone.send_heartbeat(on_phone, 1200)
    clock.advance(seconds=30)
    assert ann.viewer.send_heartbeat(tv, 600, "paused").status_code == 200
    assert state(ann, "film")["position_s"] == 1200


@pytest.mark.parametrize("states", [["starting"], ["buffering", "seeking", "paused"], ["starting", "stopped"]])
def test_a_failed_start_changes_nothing(ann, clock, states):
    ann.report("film", 1800)
    before = state(ann, "film")
    stream = ann.viewer.play("film").json
    assert stream["resume_s"] == 1800
    for name in states:
        clock.advance(seconds=60)
        assert ann.viewer.send_heartbeat(stream["stream_id"], 0, name).status_code == 200
    assert state(ann, "film") == before
    assert ann.viewer.get(ann.path("plays")).json["items"] == []
    usage = ann.world.operator.get("/v1/admin/reports/usage?from=2026-01-15&to=2026-01-16").json["total"]
    assert (usage["starts"], usage["minutes"]) == (1, 0)


def test_a_failed_start_of_a_finished_film_leaves_it_finished(ann, clock):
    ann.report("film", 5900)
    clock.advance(minutes=1)
    watch(ann, clock, "film", [0], state="buffering")
    assert state(ann, "film")["finished"]


def test_once_it_plays_a_pause_and_a_seek_are_saved(ann, clock):
    stream = watch(ann, clock, "film", [1800], state="buffering")
    for name, position_s in (("playing", 1800), ("seeking", 3000), ("paused", 3010), ("stopped", 3020)):
        clock.advance(seconds=10)
        ann.viewer.send_heartbeat(stream, position_s, name)
        assert state(ann, "film")["position_s"] == position_s


@pytest.mark.parametrize(("item", "position_s"), [("film", 3000), ("live", 20), ("short", 0)])
def test_the_end_counts_as_watched_whatever_the_runtime_says(ann, clock, item, position_s):
    stream = ann.viewer.play(item).json["stream_id"]
    clock.advance(seconds=20)
    assert ann.viewer.send_heartbeat(stream, position_s, "ended").status_code == 200
    assert (state(ann, item)["watched"], state(ann, item)["finished"], state(ann, item)["resume_s"]) == (True, True, 0)


def test_stopping_does_not_count_as_watched(ann, clock):
    stream = watch(ann, clock, "film", [3000])
    ann.viewer.send_heartbeat(stream, 3000, "stopped")
    assert not state(ann, "film")["watched"]


def test_heartbeats_may_have_a_duration(ann, clock):
    watch(ann, clock, "live", [2000], duration_s=2999.6)
    assert (state(ann, "live")["duration_s"], state(ann, "live")["watched"]) == (2999, False)
    watch(ann, clock, "live", [2790], duration_s=3000)
    assert state(ann, "live")["watched"]


def test_positions_may_have_fractions_and_heartbeats_no_time(ann, clock):
    stream = ann.viewer.play("film").json["stream_id"]
    clock.advance(seconds=30)
    body = {"position_s": 612.984, "state": "playing"}
    assert ann.viewer.post(f"/v1/playback/{stream}/heartbeat", body).status_code == 200
    assert state(ann, "film")["position_s"] == 612
    clock.advance(seconds=30)
    assert ann.report("film", 700.5, 6000.25).json["position_s"] == 700


@pytest.mark.parametrize("value", [-0.5, 1e300, True, "12", None, [1]])
def test_a_position_that_is_no_number_of_seconds_is_rejected(ann, value):
    stream = ann.viewer.play("film").json["stream_id"]
    refused = ann.viewer.post(f"/v1/playback/{stream}/heartbeat", {"position_s": value, "state": "playing"})
    assert (error_of(refused), list(refused.json["errors"])) == ((422, "invalid"), ["position_s"])


def test_an_infinite_position_is_rejected(ann):
    stream = ann.viewer.play("film").json["stream_id"]
    headers = {"Authorization": f"Bearer {ann.viewer.token}"}
    for number in ("1e999", "NaN"):
        body = f'{{"position_s": {number}, "state": "playing"}}'
        path = f"/v1/playback/{stream}/heartbeat"
        refused = ann.viewer.client.post(path, data=body, headers=headers, content_type="application/json")
        assert refused.status_code in (400, 422)


def send_beacon(world, stream_id, body, content_type="text/plain;charset=UTF-8", **headers):
    """What navigator.sendBeacon sends: a POST of text, without any header of the page's own."""
    client, path = world.app.test_client(), f"/v1/playback/{stream_id}/beacon"
    return client.post(path, data=json.dumps(body), content_type=content_type, headers=headers)


def test_a_beacon_saves_the_last_position_and_frees_the_slot(world, ann, clock):
    started = ann.viewer.play("film").json
    stream, grant = started["stream_id"], started["grant"]["token"]
    clock.advance(seconds=30)
    ann.viewer.send_heartbeat(stream, 600)
    clock.advance(seconds=12)
    body = {"grant": grant, "position_s": 611.7, "state": "stopped", "at": clock().isoformat()}
    sent = send_beacon(world, stream, body, Origin="https://app.example", Sec_Fetch_Site="cross-site")
    assert (sent.status_code, sent.data) == (204, b"")
    assert state(ann, "film")["position_s"] == 611
    assert ann.viewer.get("/v1/playback").json["items"] == []
    assert ann.viewer.send_heartbeat(stream, 620).json["reason"] == "stopped"
    assert send_beacon(world, stream, body, "application/json").status_code == 204  # sent again: changes nothing
    assert state(ann, "film")["position_s"] == 620  # what the heartbeat saved


def test_a_beacon_needs_the_grant_of_its_own_stream(world, ann, clock):
    started, other = ann.viewer.play("film").json, ann.viewer.on_another_device().play("film").json
    body = {"position_s": 600, "state": "stopped"}
    grant = started["grant"]["token"]
    for stream, sent in (
        (started, body | {"grant": "x"}),
        (started, body | {"grant": other["grant"]["token"]}),
        (started, body | {"grant": f"{grant}x"}),
        ({"stream_id": "str_unknown"}, body | {"grant": grant}),
    ):
        assert error_of(send_beacon(world, stream["stream_id"], sent)) == (401, "grant_invalid")
    cookie = {"Cookie": f"__Host-sst={ann.viewer.token}"}
    assert error_of(send_beacon(world, started["stream_id"], body, **cookie)) == (422, "invalid")
    clock.advance(seconds=90)
    assert error_of(send_beacon(world, started["stream_id"], body | {"grant": grant})) == (401, "grant_invalid")
    assert state(ann, "film") is None


def test_a_beacon_only_ends_a_stream(world, ann):
    started = ann.viewer.play("film").json
    body = {"grant": started["grant"]["token"], "position_s": 600, "state": "playing"}
    assert send_beacon(world, started["stream_id"], body).status_code == 422
    assert error_of(send_beacon(world, started["stream_id"], body, "text/html")) == (415, "unsupported_media_type")
    assert len(ann.viewer.get("/v1/playback").json["items"]) == 1


def test_a_beacon_after_signing_out_saves_nothing(world, ann, clock):
    phone = ann.viewer.on_another_device()
    started = phone.play("film").json
    clock.advance(seconds=30)
    phone.send_heartbeat(started["stream_id"], 600)
    assert phone.delete("/v1/sessions/current").status_code == 204
    body = {"grant": started["grant"]["token"], "position_s": 700, "state": "ended"}
    assert send_beacon(world, started["stream_id"], body).status_code == 204
    assert state(ann, "film")["position_s"] == 600


def test_a_beacon_about_a_removed_title_frees_the_slot(world, ann, clock):
    started = ann.viewer.play("film").json
    clock.advance(seconds=30)
    ann.viewer.send_heartbeat(started["stream_id"], 600)
    assert world.operator.delete(f"/v1/admin/titles/{world.ids['film']}").status_code == 204
    body = {"grant": started["grant"]["token"], "position_s": 700, "state": "stopped"}
    assert send_beacon(world, started["stream_id"], body).status_code == 204
    assert ann.viewer.get("/v1/playback").json["items"] == []


def test_heartbeats_take_plain_text_and_other_endpoints_do_not(ann, clock):
    stream = ann.viewer.play("film").json["stream_id"]
    headers = {"Authorization": f"Bearer {ann.viewer.token}"}

    def post(path, body):
        return ann.viewer.client.post(path, data=json.dumps(body), headers=headers, content_type="text/plain")

    clock.advance(seconds=30)
    assert post(f"/v1/playback/{stream}/heartbeat", {"position_s": 700, "state": "playing"}).status_code == 200
    assert post(f"/v1/playback/{stream}/heartbeat", {"position_s": 720, "state": "stopped"}).status_code == 200
    assert state(ann, "film")["position_s"] == 720
    assert error_of(post("/v1/playback", {"item_id": "x"})) == (415, "unsupported_media_type")


def test_a_dead_stream_gives_up_its_place_after_the_clock_was_set_back(world, ann, clock):
    tv, phone, laptop = ann.viewer, ann.viewer.on_another_device(), ann.viewer.on_another_device()
    live, dead = (viewer.play("film").json["stream_id"] for viewer in (tv, phone))
    clock.advance(hours=-1)
    assert tv.send_heartbeat(live, 60).status_code == 200
    assert error_of(laptop.play("film")) == (409, "stream_limit")  # which of the two is dead shows only now
    for position_s in (90, 120, 150):
        clock.advance(seconds=30)
        assert tv.send_heartbeat(live, position_s).status_code == 200
    assert laptop.play("film").status_code == 201
    assert error_of(phone.send_heartbeat(dead, 60)) == (410, "stream_ended")
    assert error_of(phone.play("film")) == (409, "stream_limit")


def test_watching_goes_on_after_the_clock_was_set_back(ann, clock):
    stream = watch(ann, clock, "film", [600, 630])
    clock.advance(hours=-1)
    assert ann.report("film", 300, at=clock() - timedelta(minutes=1)).json["position_s"] == 630
    ann.viewer.send_heartbeat(stream, 660)
    assert state(ann, "film")["position_s"] == 660
    late = ann.report("film", 300, at=clock() - timedelta(minutes=1))
    assert late.json["position_s"] == 660


def test_a_batch_from_a_skewed_clock_is_dated_by_its_time_of_sending(world, ann, clock):
    """Offline since an hour, the tablet is a year ahead: what the TV played meanwhile is newer."""
    clock.advance(hours=2)
    ann.report("film", 3000, at=clock() - timedelta(minutes=10))
    ahead = timedelta(days=365)

    def report(minutes_ago, position_s, **more):
        at = clock() + ahead - timedelta(minutes=minutes_ago)
        film = {"item_id": world.ids["film"], "duration_s": 6000}
        return film | {"position_s": position_s, "at": at.isoformat(), **more}

    batch = {"sent_at": (clock() + ahead).isoformat(), "items": [report(60, 1200), report(70, 600)]}
    response = ann.viewer.post(ann.path("progress"), batch)
    assert [outcome["applied"] for outcome in response.json["items"]] == [False, False]
    assert state(ann, "film")["position_s"] == 3000
    batch["items"] = [report(5, 4000), report(-5, 9)]  # the second claims to be from after its sending
    assert ann.viewer.post(ann.path("progress"), batch).status_code == 200
    assert (state(ann, "film")["position_s"], state(ann, "film")["at"]) == (9, "2026-01-15T14:00:00Z")


def test_a_slow_device_with_sent_at_is_dated_rightly(ann, clock):
    ann.report("film", 600, at=clock() - timedelta(minutes=30))
    slow = timedelta(hours=3)
    at, sent_at = clock() - slow - timedelta(minutes=5), (clock() - slow).isoformat()
    assert ann.report("film", 900, at=at, sent_at=sent_at).json["position_s"] == 900
    assert state(ann, "film")["at"] == "2026-01-15T11:55:00Z"


def test_absurd_times_are_no_error(ann):
    far = {"at": NOON.replace(year=1900), "sent_at": NOON.replace(year=9000).isoformat()}
    assert ann.report("film", 900, **far).status_code == 200
    assert ann.report("film", 600, at=NOON.replace(year=9000), sent_at=NOON.replace(year=1900).isoformat()).json[
        "at"
    ] == ("2026-01-15T12:00:00Z")


def test_plays_are_kept_with_their_completion(world, ann, clock):
    watch(ann, clock, "short", [30, 60])
    clock.advance(minutes=5)
    watch(ann, clock, "short", [90, 290])
    offline = {"play_id": "download-7", "at": clock() - timedelta(hours=3)}
    for position_s, minutes in ((30, 0), (295, 5), (30, 0)):
        ann.report("short", position_s, 300, **offline | {"at": offline["at"] + timedelta(minutes=minutes)})
    plays = ann.viewer.get(ann.path(f"plays?item_id={world.ids['short']}")).json["items"]
    assert [(play["started_at"][11:16], (play["completed_at"] or "")[11:16]) for play in plays] == [
        ("12:06", "12:07"),
        ("12:00", ""),
        ("09:07", "09:12"),
    ]
    [item] = ann.viewer.get(ann.path("history")).json["items"]
    assert item["plays"] == {"starts": 3, "completions": 2}
    assert len(ann.viewer.get(ann.path("plays?limit=2")).json["items"]) == 2
    ann.viewer.delete(ann.path("history", world.ids["short"]))
    assert ann.viewer.get(ann.path("plays")).json["items"] == []
