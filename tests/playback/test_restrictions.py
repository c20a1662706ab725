"""What a household's owner restricts for a profile: titles and genres, and viewing hours."""

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from streamsvc.models import Profile
from streamsvc.rules.playback.restrictions import closed_until
from streamsvc.storage.database import db
from tests.worlds.playback_steps import CARTOON, FILM, SHOW, World, error_of
from tests.worlds.scenes import set_scene

NOTHING = {"blocked": {"titles": [], "genres": [], "tags": []}, "allowed_only": None, "viewing_hours": None}
EVENINGS = [{"days": ["fri", "sat"], "start": "20:00", "end": "01:30"}]


def build_world(app, with_ann):
    world = World(app)
    world.put_titles(
        FILM | {"genres": ["Horror"], "tags": ["Gore"]}, CARTOON | {"genres": ["Family"]}, SHOW | {"genres": ["Drama"]}
    )
    world.ann = world.household(plan=world.put_plan(max_streams=9), time_zone="Europe/Berlin") if with_ann else None
    return world


@pytest.fixture
def world(app, request):
    return set_scene(app, build_world, "ann" in request.fixturenames)


@pytest.fixture
def ann(world):
    return world.ann


def restrict(viewer, **restrictions):
    return viewer.put(f"/v1/profiles/{viewer.profile_id}/restrictions", restrictions)


def listed(viewer):
    return {title["title"] for title in viewer.get("/v1/catalog/titles").json["items"]}


def test_a_blocked_title_does_not_exist_for_the_profile(world, ann):
    neighbours = world.household(plan=world.put_plan(max_streams=9))
    film, path = world.ids["film"], f"/v1/profiles/{ann.profile_id}"
    assert ann.put(f"{path}/watchlist/{film}").status_code == 204
    report = {"position_s": 600, "duration_s": 6000, "at": world.clock().isoformat()}
    assert ann.put(f"{path}/progress/{film}", report).status_code == 200
    stream, shows = ann.play("film").json["stream_id"], ann.play("show/1/1").json["stream_id"]
    before = ann.client.get("/v1/catalog/titles", headers={"Authorization": f"Bearer {ann.token}"})
    assert ann.get(f"{path}/restrictions").json == NOTHING
    body = {"blocked": {"titles": [world.ids["show"]], "genres": [], "tags": ["gore"]}}
    assert restrict(ann, **body).json == NOTHING | body
    assert ann.get(f"{path}/restrictions").json == NOTHING | body
    etag = {"Authorization": f"Bearer {ann.token}", "If-None-Match": before.headers["ETag"]}
    after = ann.client.get("/v1/catalog/titles", headers=etag)
    assert [title["title"] for title in after.json["items"]] == ["A Cartoon"]
    neighbour = {"Authorization": f"Bearer {neighbours.token}", "If-None-Match": before.headers["ETag"]}
    assert neighbours.client.get("/v1/catalog/titles", headers=neighbour).status_code == 304
    for response in (
        ann.get(f"/v1/catalog/titles/{film}"),
        ann.get(f"/v1/catalog/titles/{world.ids['show']}/episodes"),
        ann.play("film"),
        ann.play("show/1/2"),
        ann.put(f"{path}/watchlist/{film}"),
        ann.put(f"{path}/ratings/{film}", {"rating": "up"}),
        ann.put(f"{path}/watched/{film}"),
        ann.put(f"{path}/progress/{film}", report),
    ):
        assert error_of(response) == (404, "not_found")
    for row in ("continue-watching", "history", "plays", "watchlist", "next-up"):
        assert ann.get(f"{path}/{row}?include_total=true").json["items"] == [], row
    assert [hit["title"] for hit in ann.get("/v1/catalog/search?q=a").json["items"]] == ["A Cartoon"]
    assert [genre["code"] for genre in ann.get("/v1/catalog/genres").json["items"]] == ["family"]
    assert ann.get("/v1/catalog/titles?genre=horror").json["items"] == []
    home = ann.get("/v1/catalog/home").json["items"]
    assert {item["title"] for row in home for item in row["items"]} == {"A Cartoon"}
    for playing in (stream, shows):
        ended = ann.send_heartbeat(playing)
        assert (ended.status_code, ended.json["reason"]) == (410, "not_found")
    body = {"account_id": ann.account_id, "item_id": film}
    checks = world.operator.post("/v1/admin/explain", body).json["checks"]
    assert next(check["check"] for check in checks if not check["passed"]) == "title_rules"
    assert restrict(ann).json == NOTHING
    assert ann.play("film").status_code == 201


def test_a_profile_that_may_see_only_some_titles_sees_no_other(world, ann):
    only = {"titles": [world.ids["show"]], "genres": ["family"]}
    assert restrict(ann, allowed_only=only, blocked={"titles": [world.ids["cartoon"]]}).status_code == 200
    assert listed(ann) == {"A Show"}
    assert (ann.play("show/1/1").status_code, ann.play("cartoon").status_code) == (201, 404)
    second = ann.post("/v1/profiles", {"name": "Second"}).json["id"]
    ann.patch("/v1/sessions/current", {"profile_id": second})
    assert listed(ann) == {"A Show", "A Cartoon", "A Film"}
    ann.patch("/v1/sessions/current", {"profile_id": None})
    assert listed(ann) == {"A Show"}  # without a profile, the strictest limits apply
    assert restrict(ann, allowed_only={}).status_code == 200
    ann.patch("/v1/sessions/current", {"profile_id": ann.profile_id})
    assert listed(ann) == set()
    with world.app.app_context():  # stored before tags could be named
        no_tags = {"blocked": {"titles": [], "genres": ["family"]}, "allowed_only": None, "viewing_hours": None}
        db.session.execute(sa.update(Profile).where(Profile.id == ann.profile_id).values(restrictions=no_tags))
        db.session.commit()
    assert ann.get(f"/v1/profiles/{ann.profile_id}/restrictions").json["blocked"]["tags"] == []
    assert listed(ann) == {"A Show", "A Film"}


def test_only_the_owner_changes_restrictions_and_misspelt_ones_are_refused(world, ann, clock):
    for body, field in (
        ({"blocked": {"genres": ["horor"]}}, "blocked.genres"),
        ({"blocked": {"tags": ["horror"]}}, "blocked.tags"),
        ({"allowed_only": {"titles": ["ttl_unknown"]}}, "allowed_only.titles"),
    ):
        refused = restrict(ann, **body)
        assert (error_of(refused), list(refused.json["errors"])) == ((422, "invalid"), [field])
    for hours in ([], [{"days": [], "start": "07:00", "end": "09:00"}], [EVENINGS[0] | {"start": "24:00"}]):
        assert error_of(restrict(ann, viewing_hours=hours)) == (422, "invalid")
    stranger = world.household()
    path = f"/v1/profiles/{ann.profile_id}/restrictions"
    assert (error_of(stranger.get(path)), error_of(stranger.put(path, {}))) == ((404, "not_found"),) * 2
    clock.advance(minutes=11)
    assert error_of(restrict(ann)) == (403, "reauthentication_required")


def test_a_call_without_a_body_lifts_no_restriction(world, ann):
    body = {"blocked": {"titles": [], "genres": ["horror"], "tags": []}, "viewing_hours": [EVENINGS[0]]}
    assert restrict(ann, **body).status_code == 200
    path = f"/v1/profiles/{ann.profile_id}/restrictions"
    for refused in (ann.put(path), ann.call("PUT", path, Content_Type="application/json")):
        assert (error_of(refused), list(refused.json["errors"])) == ((422, "invalid"), ["_"])
    assert ann.get(path).json == NOTHING | body | {"blocked": body["blocked"] | {"tags": []}}
    assert ann.put(path, {}).json == NOTHING  # the whole is replaced, and this one restricts nothing


def test_outside_its_viewing_hours_a_profile_browses_but_does_not_play(world, ann, clock):
    clock.at = datetime(2026, 1, 16, 20, 0, tzinfo=UTC)  # a Friday, 21:00 in Berlin
    ann.post("/v1/sessions/current/reauthentication", {"password": ann.account["password"]})
    assert restrict(ann, viewing_hours=EVENINGS).json["viewing_hours"] == EVENINGS
    stream, film = ann.play("film").json["stream_id"], world.ids["film"]
    clock.at = datetime(2026, 1, 17, 0, 29, 59, tzinfo=UTC)
    stream = ann.play("film").json["stream_id"]
    assert ann.get(f"/v1/catalog/titles/{film}").json["availability"]["playable"]
    clock.advance(seconds=1)
    ended = ann.send_heartbeat(stream)
    assert (ended.status_code, ended.json["reason"]) == (410, "outside_viewing_hours")
    refused = ann.play("film")
    assert error_of(refused) == (403, "outside_viewing_hours")
    assert refused.json["next_at"] == "2026-01-17T19:00:00Z"
    assert listed(ann) == {"A Show", "A Cartoon", "A Film"}
    assert ann.get(f"/v1/catalog/titles/{film}").json["availability"]["reason"] == "outside_viewing_hours"
    body = {"account_id": ann.account_id, "item_id": film}
    assert world.operator.post("/v1/admin/explain", body).json["code"] == "outside_viewing_hours"
    at = {"at": "2026-01-17T19:00:00Z"}
    assert world.operator.post("/v1/admin/explain", body | at).json["allowed"]


def test_only_the_owner_moves_viewing_hours_to_another_time_zone(world, ann, clock):
    assert restrict(ann, viewing_hours=EVENINGS).status_code == 200
    assert ann.patch("/v1/account", {"time_zone": "Europe/Vienna"}).status_code == 200
    clock.advance(minutes=11)
    refused = ann.patch("/v1/account", {"time_zone": "Asia/Tokyo"})
    assert error_of(refused) == (403, "reauthentication_required")
    assert ann.patch("/v1/account", {"time_zone": "Europe/Vienna", "locale": "de"}).status_code == 200
    ann.post("/v1/sessions/current/reauthentication", {"password": ann.account["password"]})
    assert restrict(ann).status_code == 200
    clock.advance(minutes=11)
    assert ann.patch("/v1/account", {"time_zone": "Asia/Tokyo"}).status_code == 200


@pytest.mark.parametrize(
    ("start", "end", "at", "begins"),
    [
        ("02:15", "03:30", "2026-03-29T00:59:00", "2026-03-29T01:15:00"),  # skipped: 02:15 counts as 03:15
        ("02:15", "03:30", "2026-03-29T01:20:00", None),
        ("02:15", "02:45", "2026-10-25T00:20:00", None),  # shown twice: the first counts
        ("02:15", "02:45", "2026-10-25T01:20:00", "2026-11-01T01:15:00"),
        ("02:50", "03:10", "2026-03-29T01:00:00", "2026-04-05T00:50:00"),  # skipped as a whole
        ("22:00", "22:00", "2026-03-30T20:00:00", "2026-04-05T20:00:00"),
    ],
)
def test_viewing_hours_follow_the_clock_that_is_changed(start, end, at, begins):
    hours = [{"days": ["sun"], "start": start, "end": end}]
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
    expected = begins and datetime.fromisoformat(begins).replace(tzinfo=UTC)
    assert closed_until(hours, "Europe/Berlin", moment) == expected


HIDING = {
    "title": lambda ann, ids: restrict(ann, blocked={"titles": [ids["film"], ids["show"]]}),
    "genre": lambda ann, ids: restrict(ann, blocked={"genres": ["horror", "drama"]}),
    "others": lambda ann, ids: restrict(ann, allowed_only={"genres": ["family"]}),
    "age": lambda ann, ids: ann.patch(f"/v1/profiles/{ann.profile_id}", {"max_age": 6}),
    "removal": lambda ann, ids: [ann.world.operator.delete(f"/v1/admin/titles/{name}") for name in ("film", "show")],
}


@pytest.mark.parametrize("how", HIDING)
def test_no_call_names_a_title_that_was_hidden_after_it_was_played(world, how):
    ann = world.household(plan=world.put_plan(max_streams=3))
    ids, names = world.ids, ("film", "show", "show/1/1", "cartoon")
    for name in ("film", "show/1/1", "cartoon"):
        stream = ann.play(name).json["stream_id"]
        ann.send_heartbeat(stream, 600)
    for name in ("film", "show", "cartoon"):
        ann.put(f"/v1/profiles/{ann.profile_id}/watchlist/{ids[name]}")
        ann.put(f"/v1/profiles/{ann.profile_id}/ratings/{ids[name]}", {"rating": "up"})
    state = f"/v1/profiles/{ann.profile_id}/state?ids={','.join([*(ids[name] for name in names), 'ttl_unknown'])}"
    before = ann.get(state).json["items"]
    HIDING[how](ann, ids)
    *hidden, cartoon, unknown = ann.get(state).json["items"]
    assert [entry | {"id": "ttl_unknown"} for entry in hidden] == [unknown] * 3
    assert cartoon == before[3] and cartoon["progress"]["position_s"] == 600 and cartoon["rating"] == "up"
    refused = ann.on_another_device().play("cartoon")
    assert error_of(refused) == (409, "stream_limit")
    live = ann.get("/v1/playback").json["items"]
    for streams in (live, refused.json["streams"]):
        shown = [(stream["item_id"], stream["title_id"]) for stream in streams]
        assert shown == [(None, None), (None, None), (ids["cartoon"], ids["cartoon"])]
    shown = {stream["item_id"] for stream in world.operator.get("/v1/admin/streams").json["items"]}
    assert {ids["film"], ids["show/1/1"], ids["cartoon"]} <= shown
