"""Usage by plan, country, device, title and day, as a report and as files; what an account played, for support."""

import csv
import io
import json
from datetime import timedelta

import pytest
import sqlalchemy as sa

from streamsvc.models import Session, Stream
from streamsvc.operations.playback import account_plays, device_places, heartbeats, streams, usage
from streamsvc.storage.database import db, fetch_all, new_id
from tests.conftest import NOON
from tests.worlds.plans import query_plan
from tests.worlds.playback_steps import (
    FILM,
    SHOW,
    TWO,
    Caller,
    World,
    error_of,
    new_account,
    new_session,
    stream_request,
)
from tests.worlds.scenes import set_scene

REPORT = "/v1/admin/reports/usage?from=2026-01-15&to=2026-01-17"


def build_world(app, with_ann):
    world = World(app)
    world.put_titles(FILM, SHOW)
    world.ann = world.household(plan=world.put_plan()) if with_ann else None
    return world


@pytest.fixture
def world(app, request):
    return set_scene(app, build_world, "ann" in request.fixturenames)


@pytest.fixture
def ann(world):
    return world.ann


def watch(viewer, item, minutes, last="stopped"):
    """Watch an item, with a heartbeat every minute; return the stream's id."""
    stream = viewer.play(item).json["stream_id"]
    viewer.send_heartbeat(stream)
    for _ in range(minutes):
        viewer.world.clock.advance(minutes=1)
        viewer.send_heartbeat(stream)
    assert viewer.send_heartbeat(stream, state=last).status_code == 200
    return stream


def groups(world, by):
    response = world.operator.get(f"{REPORT}&group_by={by}")
    assert response.status_code == 200, response.json
    return response.json["groups"]


@pytest.mark.every_database
def test_usage_is_grouped_by_what_the_operator_names(world, ann, clock):
    bob = world.household(plan=world.put_plan("premium"), country="AT")
    phone = ann.on_another_device()
    watch(ann, "film", 5, last="ended"), watch(phone, "film", 2), watch(phone, "show/1/1", 1)
    clock.advance(days=1)
    watch(bob, "film", 3)

    def numbers(starts, minutes, completions, viewers):
        return dict(starts=starts, minutes=minutes, completions=completions, profiles=viewers, accounts=viewers)

    standard, premium = numbers(3, 8, 1, 1), numbers(1, 3, 0, 1)
    assert groups(world, "plan") == [{"plan": "standard", **standard}, {"plan": "premium", **premium}]
    assert [(g["country"], g["minutes"]) for g in groups(world, "country")] == [("DE", 8), ("AT", 3)]
    assert [(g["device_kind"], g["minutes"]) for g in groups(world, "device")] == [("tv", 8), ("phone", 3)]
    by_title = groups(world, "title")
    assert by_title[0] == {"title_id": world.ids["film"], "title": "A Film", **numbers(3, 10, 1, 2)}
    assert [(g["title"], g["minutes"]) for g in by_title] == [("A Film", 10), ("A Show", 1)]
    by_both = [(g["day"], g["device_kind"], g["minutes"]) for g in groups(world, "day,device")]
    assert by_both == [("2026-01-15", "tv", 5), ("2026-01-15", "phone", 3), ("2026-01-16", "tv", 3)]
    total = world.operator.get(REPORT).json
    assert total["total"] == numbers(4, 11, 1, 2)
    assert "groups" not in total


def test_a_stream_that_starts_at_midnight_counts_for_the_day_that_begins(world, ann, clock):
    clock.advance(hours=12)
    assert ann.play("film").status_code == 201
    reports = [f"/v1/admin/reports/usage?from=2026-01-{day}&to=2026-01-{day + 1}" for day in (15, 16)]
    assert [world.operator.get(report).json["total"]["starts"] for report in reports] == [0, 1]


def test_a_stream_keeps_the_plan_under_which_it_started(world, ann):
    watch(ann, "film", 1)
    world.put_plan("premium")
    with world.app.app_context():
        db.session.execute(db.text("UPDATE plans SET code = 'renamed' WHERE code = 'standard'"))
        db.session.commit()
    assert [group["plan"] for group in groups(world, "plan")] == ["standard"]


def test_usage_is_exported_as_csv_and_ndjson(world, ann, clock):
    world.put_titles(FILM | {"title": "=1+1"})
    watch(ann, "film", 2)
    report = world.operator.get(f"{REPORT}&group_by=plan,title").json
    exported = world.operator.get(f"{REPORT}&group_by=plan,title&format=ndjson")
    assert exported.content_type == "application/x-ndjson"
    lines = [json.loads(line) for line in exported.text.splitlines()]
    tables = [{"table": name} | row for name in ("days", "titles", "groups") for row in report[name]]
    assert sorted(lines, key=str) == sorted(tables, key=str)
    exported = world.operator.get(f"{REPORT}&group_by=plan,title&format=csv")
    assert exported.content_type.startswith("text/csv")
    [row] = [row for row in csv.DictReader(io.StringIO(exported.text)) if row["table"] == "groups"]
    assert (row["plan"], row["title"], row["starts"], row["minutes"]) == ("standard", "'=1+1", "1", "2")


def test_an_export_of_too_many_groups_is_refused_and_a_report_lists_the_most_watched(world, ann, monkeypatch):
    monkeypatch.setattr(usage, "MAX_GROUPS", 1), monkeypatch.setattr(usage, "MAX_EXPORTED_GROUPS", 1)
    watch(ann, "show/1/1", 1), watch(ann, "film", 2)
    assert [group["title"] for group in groups(world, "title")] == ["A Film"]
    refused = world.operator.get(f"{REPORT}&group_by=title&format=csv")
    assert (error_of(refused), list(refused.json["errors"])) == ((422, "invalid"), ["group_by"])


def test_a_report_lists_a_hundred_titles_and_a_thousand_groups(world):
    with world.app.app_context():
        account_id, (profile_id,) = new_account(NOON)
        request = stream_request(account_id, profile_id, *new_session(account_id, NOON))
        streams.claim_stream(request, TWO, None, NOON)
        stream = db.session.execute(sa.select(Stream.__table__)).mappings().one()
        ids = [new_id("ttl") for _ in range(1000)]
        rows = [{**stream, "id": f"str_{id_}", "item_id": id_, "title_id": id_, "watched_s": 119} for id_ in ids]
        db.session.execute(sa.insert(Stream), rows)
        db.session.commit()
    report = world.operator.get(f"{REPORT}&group_by=title").json
    assert (report["total"]["starts"], len(report["titles"]), len(report["groups"])) == (1001, 100, 1000)
    assert {group["minutes"] for group in report["groups"]} == {1}


def test_groups_are_of_four_hundred_days_at_most(world):
    path = "/v1/admin/reports/usage?from=2025-01-01&group_by=plan"
    assert [world.operator.get(f"{path}&to=2026-02-0{day}").status_code for day in (5, 6)] == [200, 422]


@pytest.mark.parametrize(
    ("query", "field"),
    [("group_by=plan,shoe_size", "group_by"), ("group_by=", "group_by"), ("format=xml", "format"),
     ("from=2024-01-01&to=2026-01-01&group_by=plan", "from")],
)  # fmt: skip
def test_unknown_dimensions_and_long_ranges_are_refused(world, query, field):
    refused = world.operator.get(f"/v1/admin/reports/usage?{query}")
    assert (refused.status_code, list(refused.json["errors"])) == (422, [field])


def test_support_lists_what_an_account_played(world, ann, clock):
    world.household(plan=world.put_plan()).play("film")
    first = watch(ann, "film", 2, last="ended")
    clock.advance(minutes=5)
    second = ann.play("show/1/2").json["stream_id"]
    clock.advance(seconds=120)
    phone = ann.on_another_device()
    third = phone.play("show/2/1").json["stream_id"]
    fourth = ann.play("film").json["stream_id"]
    assert phone.delete("/v1/sessions/current").status_code == 204

    support = Caller(world.app.test_client(), _key(world, "support"))
    path = f"/v1/admin/accounts/{ann.account_id}/plays"
    page = support.get(f"{path}?limit=2&include_total=true").json
    rest = support.get(f"{path}?limit=2&cursor={page['next_cursor']}").json
    assert (page["total"], rest["next_cursor"]) == (4, None)
    plays = page["items"] + rest["items"]
    assert [(play["stream_id"], play["reason"]) for play in plays] == [
        (fourth, None), (third, "signed_out"), (second, "expired"), (first, "stopped"),
    ]  # fmt: skip
    assert plays[0]["ended_at"] is None
    assert plays[1]["ended_at"] == plays[1]["started_at"] == "2026-01-15T12:09:00Z"
    assert (plays[2]["started_at"], plays[2]["ended_at"]) == ("2026-01-15T12:07:00Z", "2026-01-15T12:08:30Z")
    assert plays[2]["item"] | {"id": None} == {
        "id": None, "title_id": world.ids["show"], "title": "A Show", "season": 1, "episode": 2,
    }  # fmt: skip
    assert (plays[2]["played_at"], plays[2]["position_s"], plays[2]["watched_s"]) == (None, 0, 0)
    begun, over, film = "2026-01-15T12:00:00Z", "2026-01-15T12:02:00Z", world.ids["film"]
    assert plays[3] | {"device": None, "profile": None} == {
        "stream_id": first, "device": None, "profile": None, "plan": "standard", "country": "DE",
        "item": {"id": film, "title_id": film, "title": "A Film", "season": None, "episode": None},
        "started_at": begun, "played_at": begun, "completed_at": over, "ended_at": over,
        "reason": "stopped", "position_s": 60, "watched_s": 120,
    }  # fmt: skip
    assert (plays[3]["device"]["name"], plays[3]["profile"]["id"]) == ("Living room", ann.profile_id)
    with world.app.app_context():
        db.session.execute(sa.delete(Session))
        db.session.commit()
    reasons = [play["reason"] for play in support.get(f"{path}?limit=4").json["items"]]
    assert reasons == ["signed_out", "signed_out", "expired", "stopped"], "their sessions are deleted"


def test_a_stream_on_another_accounts_device_shows_nothing_of_it(app):
    with app.app_context():
        ann, (profile_id,) = new_account(NOON)
        _, device_id = new_session(ann, NOON)
        eve, _ = new_account(NOON)
        session_id, _ = new_session(eve, NOON)
        streams.claim_stream(stream_request(eve, profile_id, session_id, device_id), TWO, None, NOON)
        [live] = streams.list_live_streams(eve, NOON)
        [of_all] = fetch_all(streams.ALL_LIVE_STREAMS, {"now": NOON})
        [place] = device_places.list_stream_devices(eve, NOON)
        page = {"limit": 2, "cursor": None, "include_total": False}
        [play] = account_plays.list_plays(eve, page, NOON)["items"]
        [group] = usage.usage_report(NOON.date(), NOON.date() + timedelta(days=1), ["device"])["groups"]
        db.session.remove()
    names = live.device_name, of_all.device_name, place.name, play["device"]["name"], play["profile"]["name"]
    assert (*names, group["device_kind"]) == (None,) * 6


def test_plays_are_for_support_alone(world, ann):
    path = f"/v1/admin/accounts/{ann.account_id}/plays"
    assert error_of(ann.get(path)) == (401, "not_signed_in")
    billing = Caller(world.app.test_client(), _key(world, "playback"))
    assert error_of(billing.get(path)) == (403, "insufficient_scope")
    assert error_of(world.operator.get("/v1/admin/accounts/acc_1/plays")) == (404, "not_found")


def _key(world, scope):
    return world.operator.post("/v1/admin/api-keys", {"name": scope, "scopes": [scope]}).json["token"]


@pytest.mark.every_database
def test_the_reports_read_only_the_days_and_the_account_they_are_about(app):
    with app.app_context():
        now = app.extensions["clock"]()
        grouped = query_plan(usage.select_groups(["plan", "device", "title"]), since=now, until=now)
        plays = query_plan(account_plays.PLAYS_OF_ACCOUNT, account_id="acc_1")
        if db.engine.dialect.name == "sqlite":
            assert "USING INDEX ix_streams_started_at (started_at>? AND started_at<?)" in grouped
            assert "USING INDEX ix_streams_account_id (account_id=?)" in plays


def test_a_heartbeat_that_arrives_while_its_stream_is_stopped_says_why(world, ann, monkeypatch):
    stream, decide = ann.play("film").json["stream_id"], heartbeats.decide_access

    def decide_after_a_stop(*facts):
        assert world.operator.delete(f"/v1/admin/streams/{stream}").status_code == 204
        return decide(*facts)

    monkeypatch.setattr(heartbeats, "decide_access", decide_after_a_stop)
    refused = ann.send_heartbeat(stream)
    assert (*error_of(refused), refused.json["reason"]) == (410, "stream_ended", "stopped_by_operator")


def test_heartbeats_that_arrive_together_count_the_time_between_once(world, ann, clock, monkeypatch):
    stream = ann.play("film").json["stream_id"]
    ann.send_heartbeat(stream, 10)
    clock.advance(seconds=60)
    second, decide = ann.again(), heartbeats.decide_access

    def decide_after_another_heartbeat(*facts):
        monkeypatch.setattr(heartbeats, "decide_access", decide)
        assert second.send_heartbeat(stream, 5900).status_code == 200
        return decide(*facts)

    monkeypatch.setattr(heartbeats, "decide_access", decide_after_another_heartbeat)
    assert ann.send_heartbeat(stream, 70).status_code == 200
    [play] = world.operator.get(f"/v1/admin/accounts/{ann.account_id}/plays").json["items"]
    assert (play["watched_s"], play["completed_at"]) == (60, clock().isoformat().replace("+00:00", "Z"))
