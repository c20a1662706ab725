"""Who may change which profile of a household, and how a deleted profile is restored."""

from datetime import datetime, timedelta

import pytest

from streamsvc import clock as service_clock
from streamsvc.models import Profile, Session
from streamsvc.operations.maintenance.housekeeping import purge_expired_data
from streamsvc.rules.profiles import ProfileAction, is_profile_action_allowed
from streamsvc.storage.database import db
from tests.worlds.playback_steps import FILM, World
from tests.worlds.sessions_steps import code_of, new_person

REFUSED = (403, "reauthentication_required")
PIN = "2468"


@pytest.fixture
def ann(client):
    """Ann, whose first profile `parents` has a PIN, and `childs` an age limit."""
    ann = new_person(client)
    [first] = ann.get("/v1/profiles").json["items"]
    ann.parents = f"/v1/profiles/{first['id']}"
    ann.childs = f"/v1/profiles/{ann.post('/v1/profiles', {'name': 'Teen', 'max_age': 12}).json['id']}"
    assert ann.put(ann.parents + "/pin", {"pin": PIN}).status_code == 204
    return ann


def select(person, path, **pin):
    response = person.patch("/v1/sessions/current", {"profile_id": path.rsplit("/", 1)[1], **pin})
    assert response.status_code == 200, response.json


def reauthenticate(person):
    assert person.post("/v1/sessions/current/reauthentication", {"password": person.password}).status_code == 204


LIMITS = {
    "age": lambda ann, path: ann.patch(path, {"max_age": 16}),
    "titles": lambda ann, path: ann.put(path + "/restrictions", {"allowed_only": {}}),
    "hours": lambda ann, path: ann.put(path + "/restrictions", {"viewing_hours": [SUNDAYS]}),
}
SUNDAYS = {"days": ["sun"], "start": "09:00", "end": "20:00"}


@pytest.mark.parametrize("limit", LIMITS)
def test_selecting_a_limited_profile_ends_the_owners_window_at_once(ann, limit):
    teens = f"/v1/profiles/{ann.post('/v1/profiles', {'name': 'Second'}).json['id']}"
    select(ann, teens)
    assert LIMITS[limit](ann, teens).status_code == 200  # it had no limits, so the window is still open
    select(ann, teens)
    for response in (
        ann.patch(teens, {"max_age": None, "name": "Mine"}),
        ann.put(teens + "/restrictions", {}),
        ann.put(ann.parents + "/pin", {"pin": "1111"}),
    ):
        assert code_of(response) == REFUSED
    reauthenticate(ann)
    assert ann.put(teens + "/restrictions", {}).status_code == 200


def test_a_child_changes_nothing_of_the_household(ann):
    select(ann, ann.childs)
    before = ann.get("/v1/profiles").json
    for response in (
        ann.delete(ann.parents),
        ann.patch(ann.parents, {"name": "Mine"}),
        ann.patch(ann.parents, {"avatar": "mine.png"}),
        ann.patch(ann.parents, {"max_age": 0}),
        ann.delete(ann.parents + "/pin"),
        ann.put(ann.childs + "/pin", {"pin": "1111"}),
        ann.patch(ann.childs, {"max_age": 16}),
        ann.patch(ann.childs, {"name": "Grown-up"}),
        ann.delete(ann.childs),
        ann.post("/v1/profiles", {"name": "Another", "max_age": 6}),
        ann.post(ann.parents + "/restoration"),
    ):
        assert code_of(response) == REFUSED
    assert ann.get("/v1/profiles").json == before
    assert ann.patch(ann.childs, {"avatar": "cat.png", "max_age": 6, "name": "Teen"}).status_code == 200


def test_the_pin_of_a_profile_is_a_proof_for_this_profile_for_ten_minutes(ann, clock):
    second = ann.post("/v1/profiles", {"name": "Second", "max_age": 12}).json["id"]
    second = f"/v1/profiles/{second}"
    assert ann.put(second + "/pin", {"pin": "1357"}).status_code == 204
    clock.advance(hours=1)
    select(ann, ann.parents, pin=PIN)
    assert code_of(ann.patch(second, {"name": "Mine"})) == code_of(ann.delete(ann.childs)) == REFUSED
    assert ann.patch(ann.parents, {"name": "Parents"}).status_code == 200
    select(ann, second, pin="1357")
    assert code_of(ann.delete(ann.parents)) == REFUSED
    assert code_of(ann.patch(second, {"max_age": None})) == REFUSED  # the PIN may be the child's own
    clock.advance(minutes=10)
    assert ann.patch(second, {"name": "Still mine"}).status_code == 200
    clock.advance(seconds=1)
    assert code_of(ann.delete(second)) == REFUSED
    select(ann, second, pin="1357")
    assert ann.delete(second).status_code == 204
    select(ann, ann.parents, pin=PIN)
    assert ann.delete(ann.parents + "/pin").status_code == 204
    assert code_of(ann.delete(ann.parents)) == REFUSED


def test_a_changed_pin_ends_the_proof_by_the_former_one(client, ann, clock):
    tv = ann.again()
    tv.sign_in(device={"name": "TV", "kind": "tv"})
    clock.advance(minutes=11)
    select(tv, ann.parents, pin=PIN)
    reauthenticate(ann)
    assert ann.put(ann.parents + "/pin", {"pin": "9999"}).status_code == 204
    assert code_of(tv.patch(ann.parents, {"name": "Mine"})) == REFUSED


def test_one_rule_decides_every_action_on_a_profile():
    for action in ProfileAction:
        assert is_profile_action_allowed(action, True, owner_proved=True, pin_proved=False)
        assert not is_profile_action_allowed(action, True, owner_proved=False, pin_proved=False)
    by_pin = {action for action in ProfileAction if is_profile_action_allowed(action, True, False, True)}
    assert by_pin == {"delete", "identify", "remove_pin", "adjust"}
    assert {action for action in ProfileAction if is_profile_action_allowed(action, False, False, False)} == {"adjust"}


def test_a_deleted_profile_comes_back_with_its_history_and_its_pin(app, client, clock):
    def viewing_data(person):
        tables = person.get("/v1/account/export").json["tables"]
        return [(name, row["profile_id"]) for name in ("progress", "watchlist", "ratings") for row in tables[name]]

    world = World(app)
    world.put_titles(FILM)
    price, film = world.put_plan(), world.ids["film"]
    ann, bob = (world.household(price) for _ in range(2))
    [mine] = ann.get("/v1/profiles").json["items"]
    guest = ann.post("/v1/profiles", {"name": "Guest"}).json
    path = f"/v1/profiles/{guest['id']}"
    assert ann.put(path + "/pin", {"pin": PIN}).status_code == 204
    ann.patch("/v1/sessions/current", {"profile_id": guest["id"], "pin": PIN})
    position = {"position_s": 600, "duration_s": 6000, "at": clock().isoformat()}
    assert ann.put(f"{path}/progress/{film}", position).status_code == 200
    assert ann.put(f"{path}/watchlist/{film}").status_code == 204
    stream = ann.play("film").json["stream_id"]
    data = viewing_data(ann)
    assert len(data) == 2

    assert ann.delete(path).status_code == 204
    ended = ann.send_heartbeat(stream)
    assert (ended.status_code, ended.json["reason"]) == (410, "profile_deleted")
    assert (
        ann.get(path).status_code == ann.patch(path, {"name": "x"}).status_code == ann.delete(path).status_code == 404
    )
    assert ann.patch("/v1/sessions/current", {"profile_id": guest["id"], "pin": PIN}).status_code == 404
    assert ann.get("/v1/sessions/current").json["profiles"] == [without_times(mine)]
    assert viewing_data(ann) == data
    [deleted] = ann.get("/v1/deleted-profiles").json["items"]
    assert {**guest, "has_pin": True}.items() <= deleted.items()
    deleted_at, until = (datetime.fromisoformat(deleted[name]) for name in ("deleted_at", "restorable_until"))
    assert (deleted_at, until - deleted_at) == (clock(), timedelta(days=30))
    assert bob.get("/v1/deleted-profiles").json["items"] == []
    assert bob.post(path + "/restoration").status_code == 404

    again = [ann.post(path + "/restoration") for _ in range(2)]
    assert [(response.status_code, response.json) for response in again] == [(200, guest | {"has_pin": True})] * 2
    assert ann.get("/v1/deleted-profiles").json["items"] == []
    assert ann.get(f"{path}/watchlist").status_code == 403
    ann.patch("/v1/sessions/current", {"profile_id": guest["id"], "pin": PIN})
    assert len(ann.get(f"{path}/watchlist").json["items"]) == 1


def without_times(profile):
    return {name: value for name, value in profile.items() if name != "created_at"}


def test_a_deleted_profile_takes_no_place_and_needs_one_to_come_back(ann, clock):
    for n in range(3):
        assert ann.post("/v1/profiles", {"name": f"P{n}"}).status_code == 201
    assert ann.delete(ann.childs).status_code == 204
    other = ann.post("/v1/profiles", {"name": "Teen"})
    assert other.status_code == 201
    full = ann.post(ann.childs + "/restoration")
    assert (code_of(full), full.json["limit"]) == ((409, "profile_limit"), 5)
    assert ann.delete(f"/v1/profiles/{other.json['id']}").status_code == 204
    clock.advance(days=29, hours=23)
    reauthenticate(ann)
    assert len(ann.get("/v1/deleted-profiles").json["items"]) == 2
    assert ann.post(ann.childs + "/restoration").json["max_age"] == 12
    assert len(ann.get("/v1/profiles").json["items"]) == 5


@pytest.mark.every_database
def test_after_thirty_days_a_deleted_profile_is_purged_and_no_other(app, client, ann, clock):
    bob = new_person(client, "bob")
    gone = ann.childs.rsplit("/", 1)[1]
    assert ann.delete(ann.childs).status_code == 204
    with app.app_context():  # as if it had been selected while it was deleted
        db.session.query(Session).filter_by(account_id=ann.get("/v1/account").json["id"]).update({"profile_id": gone})
        db.session.commit()
    assert ann.get("/v1/sessions/current").json["profile"] is None
    kept = {row["id"] for person in (ann, bob) for row in person.get("/v1/profiles").json["items"]}
    clock.advance(days=30)
    reauthenticate(ann)
    assert code_of(ann.post(ann.childs + "/restoration")) == (404, "not_found")
    assert ann.get("/v1/deleted-profiles").json["items"] == []
    clock.advance(hours=1, seconds=1)
    with app.app_context():
        purge_expired_data({}, service_clock.now())
        db.session.commit()
        assert {profile.id for profile in db.session.query(Profile)} == kept


@pytest.mark.every_database
def test_the_export_and_the_erasure_of_an_account_include_its_deleted_profiles(app, new_app, database, clock):
    app = new_app(database, "forgetful", clock=clock, deletion_grace_days=0)
    ann = new_person(app.test_client())
    guest = ann.post("/v1/profiles", {"name": "Guest"}).json["id"]
    assert ann.delete(f"/v1/profiles/{guest}").status_code == 204
    exported = ann.get("/v1/account/export").json["tables"]["profiles"]
    assert {row["id"]: row["deleted_at"] for row in exported}[guest] is not None
    assert ann.delete("/v1/account").status_code == 204
    with app.app_context():
        assert db.session.query(Profile).count() == 0
