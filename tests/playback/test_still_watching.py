"""A stream that nobody seems to watch asks whether somebody is, and ends unanswered."""

from datetime import timedelta

import pytest

from tests.worlds.playback_steps import FILM, World, error_of
from tests.worlds.scenes import set_scene

FOUR_HOURS = 4 * 60


def build_world(app, with_ann):
    world = World(app)
    world.put_titles(FILM)
    world.ann = world.household(plan=world.put_plan(max_streams=1)) if with_ann else None
    return world


@pytest.fixture
def world(app, request):
    return set_scene(app, build_world, "ann" in request.fixturenames)


@pytest.fixture
def ann(world):
    return world.ann


@pytest.fixture
def play(world, ann):
    """Send a heartbeat a minute for a number of minutes; return the last response."""
    stream = ann.play("film").json["stream_id"]

    def send(minutes, state, acted=None, slow_by=timedelta()):
        """`acted`: how many minutes before each heartbeat the viewer did something; a function of the minute."""
        for minute in range(1, minutes + 1):
            world.clock.advance(minutes=1)
            at, more = world.clock() - slow_by, {}
            if acted:
                more["interaction_at"] = (at - timedelta(minutes=acted(minute))).isoformat()
            last = ann.send_heartbeat(stream, state=state, at=at, **more)
            if "ask" in last.json or last.status_code != 200:
                last.minute = minute
                break
        return last

    send.stream = stream
    return send


def test_a_stream_paused_for_hours_is_asked_then_ends_and_frees_its_slot(ann, play):
    play(1, "playing")
    assert "ask" not in play(1, "paused").json
    asked = play(FOUR_HOURS + 10, "paused")
    assert (asked.minute, asked.json["ask"], "grant" in asked.json) == (FOUR_HOURS, "still_watching", True)
    assert error_of(ann.on_another_device().play("film")) == (409, "stream_limit")
    assert play(1, "paused").json["ask"] == "still_watching"
    ended = play(1, "paused")
    assert (error_of(ended), ended.json["reason"]) == ((410, "stream_ended"), "inactive")
    assert ann.on_another_device().play("film").status_code == 201


@pytest.mark.parametrize("answer", ["playing on", "interaction"])
def test_an_answer_is_enough_for_as_long_again(play, answer):
    play(1, "paused")
    assert play(FOUR_HOURS, "paused").json["ask"] == "still_watching"
    if answer == "playing on":
        assert "ask" not in play(1, "playing").json
        play(1, "paused")
    else:
        assert "ask" not in play(1, "paused", acted=lambda minute: 0).json
    assert play(FOUR_HOURS, "paused").minute == FOUR_HOURS


def test_a_player_that_reports_interactions_is_also_asked_while_it_plays(play):
    play(1, "playing")
    assert play(FOUR_HOURS, "playing", acted=lambda minute: minute).minute == FOUR_HOURS
    assert "ask" not in play(1, "playing", acted=lambda minute: 0).json
    assert play(3, "playing", acted=lambda minute: minute).status_code == 200


def test_a_player_that_does_not_report_them_is_never_asked_while_it_plays(play):
    last = play(FOUR_HOURS + 30, "playing")
    assert (last.status_code, "ask" in last.json) == (200, False)


def test_a_wrong_clock_of_the_player_changes_nothing(play):
    year = timedelta(days=365)
    last = play(FOUR_HOURS + 5, "playing", acted=lambda minute: 1, slow_by=year)
    assert (last.status_code, "ask" in last.json) == (200, False)
    assert play(FOUR_HOURS + 5, "playing", acted=lambda minute: minute + 1, slow_by=-year).minute == FOUR_HOURS - 1


def test_an_interaction_needs_the_players_time(ann, play):
    body = {"position_s": 1, "state": "playing", "interaction_at": "2026-01-15T12:00:00Z"}
    refused = ann.post(f"/v1/playback/{play.stream}/heartbeat", body)
    assert (refused.status_code, list(refused.json["errors"])) == (422, ["interaction_at"])


def test_an_interaction_millennia_ago_is_one_that_is_long_past(ann, play):
    body = {"position_s": 1, "state": "playing", "at": "9000-12-31T00:00:00Z", "interaction_at": "1900-01-01T00:00:00Z"}
    sent = ann.post(f"/v1/playback/{play.stream}/heartbeat", body)
    assert (sent.status_code, "ask" in sent.json) == (200, False)


def test_zero_never_asks(app, play, monkeypatch):
    monkeypatch.setitem(app.extensions, "settings", app.extensions["settings"].replace(still_watching_after_s=0))
    last = play(FOUR_HOURS + 30, "paused")
    assert (last.status_code, "ask" in last.json) == (200, False)
