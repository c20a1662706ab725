"""A profile that moves to an account of its own."""

import pytest

from tests.worlds.playback_steps import FILM, World
from tests.worlds.sessions_steps import code_of, mailed_token, mails

TO = "teen@example.com"
pytestmark = pytest.mark.every_database


@pytest.fixture
def world(app):
    world = World(app)
    world.put_titles(FILM)
    return world


@pytest.fixture
def home(world):
    """A household with a teenager's profile, which has watched half of a film."""
    home = world.household(plan=world.put_plan(max_streams=9))
    home.phone = home.on_another_device()
    home.first, film = home.profile_id, world.ids["film"]
    home.teens = home.post("/v1/profiles", {"name": "Teen", "max_age": 17}).json["id"]
    path = f"/v1/profiles/{home.teens}"
    report = {"position_s": 600, "duration_s": 6000, "at": world.clock().isoformat(), "play_id": "one"}
    assert home.put(f"{path}/progress/{film}", report).status_code == 200
    assert home.put(f"{path}/watchlist/{film}").status_code == 204
    assert home.put(f"{path}/ratings/{film}", {"rating": "up"}).status_code == 204
    assert home.put(f"{path}/restrictions", {"allowed_only": {"titles": [film]}}).status_code == 200
    assert home.put(f"{path}/pin", {"pin": "2468"}).status_code == 204
    return home


def offer(home, profile_id=None, email=TO):
    return home.post(f"/v1/profiles/{profile_id or home.teens}/transfers", {"email": email})


def take(viewer, token):
    return viewer.post("/v1/profile-transfers", {"token": token})


def test_a_profile_moves_with_its_history(app, world, home):
    phone = home.phone
    assert phone.patch("/v1/sessions/current", {"profile_id": home.teens, "pin": "2468"}).status_code == 200
    stream = phone.play("film").json["stream_id"]
    assert offer(home).status_code == 202
    token, teen, path = mailed_token(app, TO, "profile_transfer"), world.household(), f"/v1/profiles/{home.teens}"
    moved = take(teen, token)
    assert moved.status_code == 201
    assert (moved.json["name"], moved.json["max_age"], moved.json["has_pin"]) == ("Teen", 17, False)
    [state] = teen.get(f"{path}/state?ids={world.ids['film']}").json["items"]
    assert (state["progress"]["position_s"], state["in_watchlist"], state["rating"]) == (600, True, "up")
    assert len(teen.get(f"{path}/plays").json["items"]) == 1
    assert teen.get(f"{path}/restrictions").json["allowed_only"] is None
    assert phone.send_heartbeat(stream).json["reason"] == "profile_moved"
    assert phone.get("/v1/sessions/current").json["profile"] is None
    assert [code_of(viewer.get(path))[0] for viewer in (home, teen)] == [404, 200]
    assert [profile["id"] for profile in home.get("/v1/profiles").json["items"]] == [home.first]
    assert code_of(take(world.household(), token)) == (422, "token_invalid")
    for account, action in ((home.account_id, "profile_moved_away"), (teen.account_id, "profile_moved_here")):
        entries = world.operator.get(f"/v1/admin/audit?account_id={account}").json["items"]
        assert action in [entry["action"] for entry in entries]


def test_a_beacon_of_the_former_account_changes_nothing_of_a_profile_that_has_moved(app, world, home):
    phone = home.phone
    assert phone.patch("/v1/sessions/current", {"profile_id": home.teens, "pin": "2468"}).status_code == 200
    started = phone.play("film").json
    assert phone.send_heartbeat(started["stream_id"], 700).status_code == 200
    assert offer(home).status_code == 202
    teen = world.household()
    assert take(teen, mailed_token(app, TO, "profile_transfer")).status_code == 201
    beacon = {"grant": started["grant"]["token"], "position_s": 5000, "state": "ended"}
    sent = app.test_client().post(f"/v1/playback/{started['stream_id']}/beacon", json=beacon)
    assert sent.status_code == 204
    [state] = teen.get(f"/v1/profiles/{home.teens}/state?ids={world.ids['film']}").json["items"]
    assert (state["progress"]["position_s"], state["progress"]["watched"]) == (700, False)


def test_a_profile_moves_only_as_its_owner_wants(app, world, home, clock):
    teen = world.household()
    assert offer(home).status_code == 202
    replaced = mailed_token(app, TO, "profile_transfer")
    assert offer(home, email="other@example.com").status_code == 202
    assert code_of(take(teen, replaced)) == (422, "token_invalid")
    token = mailed_token(app, "other@example.com", "profile_transfer")
    assert code_of(take(home, token)) == (422, "token_invalid")
    stranger = teen.delete(f"/v1/profiles/{home.teens}/transfers")
    assert code_of(stranger) == (404, "not_found")
    assert home.delete(f"/v1/profiles/{home.teens}/transfers").status_code == 204
    assert code_of(take(teen, token)) == (422, "token_invalid")
    assert offer(home).status_code == 202
    token = mailed_token(app, TO, "profile_transfer")
    for number in range(4):
        assert teen.post("/v1/profiles", {"name": f"P{number}"}).status_code == 201
    assert code_of(take(teen, token)) == (409, "profile_limit")
    other = world.household()
    assert home.delete(f"/v1/profiles/{home.first}").status_code == 204
    assert code_of(take(other, token)) == (409, "last_profile")
    assert code_of(offer(home)) == (409, "last_profile")
    clock.advance(minutes=11)
    assert code_of(offer(home)) == (403, "reauthentication_required")
    assert code_of(take(other, token)) == (403, "reauthentication_required")


def test_offers_to_strangers_are_bounded(app, home):
    assert [offer(home).status_code for _ in range(6)] == [202] * 5 + [429]
    assert len(mails(app, TO)) <= 5
