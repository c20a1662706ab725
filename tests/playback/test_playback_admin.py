"""Playback for operators: explanations, live streams and usage."""

import pytest

from streamsvc.models import Stream
from streamsvc.operations.playback import maintenance, streams
from streamsvc.rules.playback import stream_rules
from streamsvc.storage.database import db
from streamsvc.worker import jobs
from tests.worlds.plans import query_plan
from tests.worlds.playback_steps import CARTOON, FILM, SHOW, Caller, World, error_of
from tests.worlds.scenes import set_scene

ORDER = [
    "account",
    "in_catalogue",
    "maturity",
    "title_rules",
    "profile",
    "viewing_hours",
    "subscription",
    "plan",
    "network",
    "country_known",
    "country",
    "begun",
    "not_over",
    "stream_limit",
]


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
    return world.ann


@pytest.fixture
def explain(world, ann):
    def send(item="film", viewer=ann, **more):
        body = {"account_id": viewer.account_id, "item_id": world.ids.get(item, item), **more}
        response = world.operator.post("/v1/admin/explain", body)
        assert response.status_code == 200, response.json
        return response.json

    return send


def failed(explained):
    assert [check["code"] is None for check in explained["checks"]] == [c["passed"] for c in explained["checks"]]
    return [check["check"] for check in explained["checks"] if not check["passed"]]


def test_every_check_is_listed_in_order(explain):
    explained = explain()
    assert [check["check"] for check in explained["checks"]] == ORDER
    assert (explained["allowed"], explained["code"], failed(explained)) == (True, None, [])


def test_every_failed_check_is_listed_with_the_viewers_error(world, explain):
    away = FILM | {"plans": ["premium"], "windows": [{"countries": ["US"], "starts_at": "2027-01-01T00:00:00Z"}]}
    world.put_titles(away)
    explained = explain()
    assert failed(explained) == ["plan", "country"]
    assert (explained["allowed"], explained["code"]) == (False, "not_in_plan")
    assert explained["checks"][ORDER.index("plan")]["detail"] == "This title is not part of your plan."
    assert failed(explain(country="US")) == ["plan", "begun"]
    assert failed(explain(country="US", at="2027-01-01T00:00:00Z")) == ["plan"]


def test_a_profiles_age_limit_is_explained(ann, explain):
    kid = ann.post("/v1/profiles", {"name": "Kid", "max_age": 12}).json["id"]
    assert (explain(profile_id=kid)["code"], failed(explain(profile_id=kid))) == ("not_found", ["maturity"])
    assert explain("cartoon", profile_id=kid)["allowed"]


def test_the_facts_are_those_of_the_profile_the_country_and_the_time_asked_for(ann, explain):
    kid = ann.post("/v1/profiles", {"name": "Kid", "max_age": 12}).json["id"]
    own = {"subscription_status": "active", "plan": "standard", "plans": ["standard"]}
    assert explain()["facts"] == own | {
        "at": "2026-01-15T12:00:00Z", "country": "DE", "profile_id": ann.profile_id, "max_age": None,
        "min_age": 17, "device_kind": None,
    }  # fmt: skip
    asked = {"at": "2026-01-15T13:00:00Z", "country": "US", "profile_id": kid, "device_kind": "phone"}
    assert explain("cartoon", **asked)["facts"] == own | asked | {"max_age": 12, "min_age": 0}
    assert explain("ttl_missing")["facts"]["min_age"] is None


def test_a_series_and_what_a_guest_or_a_disabled_account_may_not_play_is_explained(world, ann, explain):
    world.put_titles(SHOW)
    assert failed(explain("show")) == ["in_catalogue"]
    assert explain("show/1/1")["allowed"]
    guest = world.app.test_client().post("/v1/guests", json={"country": "DE"}).json["account"]["id"]
    body = {"account_id": guest, "item_id": world.ids["film"]}
    assert error_of(world.operator.post("/v1/admin/explain", body)) == (404, "not_found")
    path = f"/v1/admin/accounts/{ann.account_id}"
    assert world.operator.patch(path, {"status": "disabled", "reason": "fraud"}).status_code == 200
    assert (failed(explain()), explain()["code"]) == (["account"], "not_signed_in")


def test_a_missing_subscription_is_explained(world, explain):
    explained = explain(viewer=world.household())
    assert (explained["code"], explained["facts"]["plan"]) == ("subscription_required", None)
    assert "stream_limit" not in [check["check"] for check in explained["checks"]]


def test_only_the_live_subscription_of_an_account_is_explained(world, ann, explain):
    [subscription] = ann.get("/v1/subscriptions").json["items"]
    path = f"/v1/subscriptions/{subscription['id']}/cancellation"
    assert ann.post(path, {"when": "period_end"}, Idempotency_Key="later").status_code == 200
    assert explain(at="2026-02-14T12:00:00Z")["allowed"]
    assert explain(at="2026-02-16T12:00:00Z")["code"] == "subscription_required"
    assert ann.post(path, {"when": "now"}, Idempotency_Key="now").status_code == 200
    explained = explain()
    assert (explained["code"], explained["facts"]["subscription_status"]) == ("subscription_required", None)
    ann.subscribe(world.put_plan("premium"))
    assert explain()["facts"]["plan"] == "premium"


def test_a_reached_stream_limit_is_explained(ann, explain):
    ann.play("film"), ann.on_another_device().play("film")
    assert explain()["code"] == "stream_limit"


def test_a_device_beyond_the_limit_is_explained(world, explain):
    ann = world.household(plan=world.put_plan("single", max_devices=1))
    ann.play("film")
    other = ann.on_another_device().get("/v1/sessions/current").json["session"]["device"]["id"]
    assert explain(viewer=ann, device_id=other)["code"] == "device_limit"
    assert explain(viewer=ann)["allowed"]
    assert explain(viewer=ann, device_id=ann.device_id())["allowed"]


def test_an_item_not_in_the_catalogue_is_explained(explain):
    assert (explain("ttl_missing")["code"], failed(explain("ttl_missing"))) == ("not_found", ["in_catalogue"])


def test_a_missing_account_or_profile_is_not_found(world, ann):
    item = world.ids["film"]
    for body in ({"account_id": "acc_1"}, {"account_id": ann.account_id, "profile_id": "pro_1"}):
        assert error_of(world.operator.post("/v1/admin/explain", {"item_id": item, **body})) == (404, "not_found")


def test_explaining_starts_no_stream(ann, explain):
    explain()
    assert ann.get("/v1/playback").json["items"] == []


@pytest.mark.parametrize("path", ["/v1/admin/streams", "/v1/admin/reports/usage?from=2026-01-01&to=2026-02-01"])
def test_viewers_and_keys_without_the_scope_are_refused(world, ann, path):
    key = world.operator.post("/v1/admin/api-keys", {"name": "billing", "scopes": ["billing"]}).json["token"]
    assert error_of(ann.get(path)) == (401, "not_signed_in")
    assert error_of(Caller(world.app.test_client(), key).get(path)) == (403, "insufficient_scope")


def test_operators_can_list_all_live_streams_newest_first(world, ann):
    bob = world.household(plan=world.put_plan())
    ids = [viewer.play("film").json["stream_id"] for viewer in (ann, bob)]
    first = world.operator.get("/v1/admin/streams?limit=1&include_total=true").json
    second = world.operator.get(f"/v1/admin/streams?limit=1&cursor={first['next_cursor']}").json
    assert [s["stream_id"] for s in first["items"] + second["items"]] == ids[::-1]
    assert (first["total"], second["next_cursor"], second["items"][0]["account_id"]) == (2, None, ann.account_id)
    of_bob = world.operator.get(f"/v1/admin/streams?account_id={bob.account_id}").json["items"]
    assert [s["stream_id"] for s in of_bob] == ids[1:]


def test_an_operator_can_stop_a_stream(world, ann):
    stream = ann.play("film").json["stream_id"]
    assert world.operator.delete(f"/v1/admin/streams/{stream}").status_code == 204
    assert ann.send_heartbeat(stream).json["reason"] == "stopped_by_operator"
    [event] = world.operator.get("/v1/admin/audit?action=stream_stopped").json["items"]
    assert (event["account_id"], event["details"]["stream"]) == (ann.account_id, stream)
    assert error_of(world.operator.delete("/v1/admin/streams/str_1")) == (404, "not_found")


def test_usage_counts_starts_minutes_and_viewers(world, ann, clock):
    stream = ann.play("film").json["stream_id"]
    for state in ("playing", "paused", "playing", "playing"):
        clock.advance(seconds=60)
        ann.send_heartbeat(stream, state=state)
    clock.advance(days=1)
    ann = ann.on_another_device()
    ann.play("film"), ann.play("cartoon")
    usage = world.operator.get("/v1/admin/reports/usage?from=2026-01-15&to=2026-01-17").json
    one = {"starts": 1, "minutes": 3, "completions": 0, "profiles": 1, "accounts": 1}
    assert usage["days"] == [{"day": "2026-01-15", **one}, {"day": "2026-01-16", **one, "starts": 2, "minutes": 0}]
    assert [(t["title"], t["starts"], t["minutes"]) for t in usage["titles"]] == [("A Film", 2, 3), ("A Cartoon", 1, 0)]
    assert usage["total"] == {"starts": 3, "minutes": 3, "completions": 0, "profiles": 1, "accounts": 1}
    assert world.operator.get("/v1/admin/reports/usage?from=2026-01-17&to=2026-01-18").json["total"]["starts"] == 0
    assert world.operator.get("/v1/admin/reports/usage").json == usage, "without days, the last thirty"


def test_usage_without_days_is_that_of_the_last_thirty(world, ann, clock):
    ann.play("film")
    for days, starts in ((29, 1), (1, 0)):
        clock.advance(days=days)
        assert world.operator.get("/v1/admin/reports/usage").json["total"]["starts"] == starts


def test_usage_needs_its_days_in_order(world):
    response = world.operator.get("/v1/admin/reports/usage?from=2026-01-16&to=2026-01-16")
    assert (response.status_code, list(response.json["errors"])) == (422, ["to"])


def test_expired_streams_are_ended_and_old_ones_deleted_daily(app, ann, clock):
    ann.play("film")
    with app.app_context():
        jobs.schedule_recurring()
        clock.advance(days=1)
        jobs.run_due_jobs(clock())
        [stream] = db.session.query(Stream).all()
        assert (stream.end_reason, stream.ended_at - stream.started_at) == ("expired", stream_rules.STREAM_TTL)
        db.session.remove()
        clock.advance(days=stream_rules.STREAM_RETENTION.days)
        maintenance.expire_and_purge_streams(clock())
        db.session.commit()
        assert db.session.query(Stream).count() == 0
        db.session.remove()


def test_live_streams_are_found_through_the_index_of_open_ones(app):
    with app.app_context():
        now = app.extensions["clock"]()
        everywhere = query_plan(streams.ALL_LIVE_STREAMS.limit(25), now=now)
        mine = query_plan(streams.LIVE_STREAMS_OF_ACCOUNT, now=now, account_id="acc_1")
        if db.engine.dialect.name == "sqlite":
            assert "USING INDEX ix_streams_open_id" in everywhere and "TEMP B-TREE" not in everywhere
            assert "USING INDEX ix_streams_account_id (account_id=? AND ended_at=?)" in mine and "TEMP" not in mine
