"""Playback events: written with what they report, for endpoints that name them, and for no others."""

import pytest
import sqlalchemy as sa

from streamsvc.models import WebhookDelivery, WebhookEvent
from streamsvc.operations.outbox import security_events
from streamsvc.operations.playback import maintenance, streams
from streamsvc.storage.database import db
from tests.worlds.playback_steps import FILM, World
from tests.worlds.scenes import set_scene
from tests.worlds.sessions_steps import run_jobs

ALL = ["playback.started", "playback.completed", "playback.ended"]


def build_world(app, with_ann):
    world = World(app)
    world.put_titles(FILM)
    world.ann = world.household(plan=world.put_plan()) if with_ann else None
    return world


@pytest.fixture
def world(app, request):
    return set_scene(app, build_world, "ann" in request.fixturenames)


@pytest.fixture
def ann(world):
    return world.ann


def subscribe(world, kinds):
    body = {"url": "https://hooks.example.com/playback"} | ({"kinds": kinds} if kinds else {})
    response = world.operator.post("/v1/admin/webhook-endpoints", body)
    assert response.status_code == 201, response.json
    return response.json["id"]


def events(world):
    """Return the playback events as (kind, data), oldest first."""
    items = world.operator.get("/v1/admin/events?limit=100").json["items"]
    return [(event["kind"], event["data"]) for event in items[::-1] if event["kind"] in ALL]


def reasons(world):
    return [data["reason"] for kind, data in events(world) if kind == "playback.ended"]


@pytest.mark.every_database
def test_a_stream_is_published_when_it_starts_completes_and_ends(world, ann, clock):
    endpoint = subscribe(world, ALL)
    stream = ann.play("film").json["stream_id"]
    for position_s in (0, 3000, 5900, 5950):
        clock.advance(seconds=60)
        assert ann.send_heartbeat(stream, position_s).status_code == 200
    assert ann.send_heartbeat(stream, 5950, "stopped").status_code == 200
    published = events(world)
    assert [kind for kind, _ in published] == ALL
    ann.play("film")
    assert [kind for kind, _ in events(world)[3:]] == ["playback.started"], "also on a device that has played before"
    assert {data["stream_id"] for _, data in published} == {stream}
    started, completed, ended = (data for _, data in published)
    assert (started["plan"], started["country"], started["item_id"]) == ("standard", "DE", world.ids["film"])
    assert (started["ended_at"], started["watched_s"], completed["ended_at"]) == (None, 0, None)
    assert completed["completed_at"] == "2026-01-15T12:03:00Z"
    assert (ended["reason"], ended["watched_s"], ended["ended_at"]) == ("stopped", 240, "2026-01-15T12:04:00Z")
    with world.app.app_context():
        deliveries = sa.select(sa.func.count()).where(WebhookDelivery.endpoint_id == endpoint)
        assert db.session.scalar(deliveries) == 4


@pytest.mark.parametrize(("state", "kinds"), [("stopped", ALL[2:]), ("ended", ALL[1:])])
def test_an_extra_is_complete_once_its_player_says_so(world, ann, state, kinds):
    world.put_titles(FILM | {"extras": [{"kind": "trailer", "title": "Trailer", "runtime_s": 90}]})
    [trailer] = world.operator.get(f"/v1/catalog/titles/{world.ids['film']}").json["extras"]
    subscribe(world, ALL[1:])
    stream = ann.play(trailer["id"]).json["stream_id"]
    for reported in ("playing", state):
        world.clock.advance(seconds=45)
        assert ann.send_heartbeat(stream, 90, reported).status_code == 200
    assert [kind for kind, _ in events(world)] == kinds


def test_nothing_is_recorded_while_no_endpoint_names_it(world, ann):
    subscribe(world, None), subscribe(world, ["payment.failed"])
    removed = subscribe(world, ALL)
    assert world.operator.delete(f"/v1/admin/webhook-endpoints/{removed}").status_code == 204
    stream = ann.play("film").json["stream_id"]
    ann.send_heartbeat(stream, state="ended")
    assert events(world) == []
    subscribe(world, ["playback.ended"])
    ann.send_heartbeat(ann.play("film").json["stream_id"], state="stopped")
    assert [kind for kind, _ in events(world)] == ["playback.ended"]


def test_an_endpoint_without_kinds_gets_no_playback_events(world, ann):
    everything, named = subscribe(world, None), subscribe(world, ["playback.started"])
    ann.play("film")
    with world.app.app_context():
        [event_id] = db.session.scalars(sa.select(WebhookEvent.id).where(WebhookEvent.kind == "playback.started")).all()
        of_start = sa.select(WebhookDelivery.endpoint_id).where(WebhookDelivery.event_id == event_id)
        assert db.session.scalars(of_start).all() == [named] != [everything]


@pytest.mark.every_database
def test_each_way_to_end_is_published_once_with_its_reason(world, ann, app, clock):
    subscribe(world, ["playback.ended"])
    phone = ann.on_another_device()
    first = ann.play("film").json["stream_id"]
    second = ann.play("film").json["stream_id"]
    third = phone.play("film", replace=second).json["stream_id"]
    ann.delete(f"/v1/playback/{third}")
    ann.delete(f"/v1/playback/{third}")
    fourth = ann.play("film").json["stream_id"]
    world.operator.delete(f"/v1/admin/streams/{fourth}")
    last = [viewer.play("film").json["stream_id"] for viewer in (ann, phone)]
    ann.delete("/v1/sessions/current")
    clock.advance(seconds=600)
    with app.app_context():
        maintenance.expire_and_purge_streams(clock())
        maintenance.expire_and_purge_streams(clock())
    assert reasons(world)[:4] == ["taken_over", "replaced", "stopped_by_viewer", "stopped_by_operator"]
    by_stream = {data["stream_id"]: data["reason"] for _, data in events(world)[4:]}
    assert [by_stream[stream] for stream in last] == ["signed_out", "expired"]
    assert events(world)[0][1]["stream_id"] == first


def test_what_is_rolled_back_is_not_published(world, ann, app, clock):
    subscribe(world, ALL)
    stream = ann.play("film").json["stream_id"]
    with app.app_context():
        streams.end_streams_uncommitted(ann.account_id, clock(), "stopped_by_operator")
        assert (
            db.session.scalar(sa.select(sa.func.count()).select_from(WebhookEvent).where(WebhookEvent.kind.in_(ALL)))
            == 2
        )
        db.session.rollback()
    assert [kind for kind, _ in events(world)] == ["playback.started"]
    assert [live["stream_id"] for live in ann.get("/v1/playback").json["items"]] == [stream]


@pytest.mark.every_database
def test_an_erased_account_leaves_no_playback_events(world, ann, app, clock):
    subscribe(world, ALL)
    other = world.household(plan=world.put_plan())
    ann.play("film"), other.play("film")
    assert len(events(world)) == 2
    assert ann.call("DELETE", "/v1/account", {"password": ann.account["password"]}).status_code in (202, 204)
    clock.advance(days=15)
    run_jobs(app)
    with app.app_context():
        own = sa.select(WebhookEvent.account_id).where(WebhookEvent.kind.in_(ALL)).distinct()
        assert db.session.scalars(own).all() == [other.account_id]


def test_playback_events_are_deleted_after_90_days(world, ann, app, clock):
    subscribe(world, ALL)
    ann.play("film")
    for days, left in ((90, 1), (1, 0)):
        clock.advance(days=days)
        with app.app_context():
            security_events.purge_old_security_events(clock())
        assert len(events(world)) == left
