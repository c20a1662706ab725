"""Profiles, their PINs and the kids' profile."""

import pytest

from tests.worlds.sessions_steps import code_of, new_person


@pytest.fixture
def ann(client):
    return new_person(client)


def test_a_profile_is_created_updated_and_deleted(ann):
    created = ann.post("/v1/profiles", {"name": "Kid", "kids": True, "max_age": 7, "language": "fr"})
    assert created.status_code == 201
    path = f"/v1/profiles/{created.json['id']}"
    assert ann.get(path).json == created.json
    assert ann.patch(path, {"name": "Child", "autoplay": False}).json == created.json | {
        "name": "Child",
        "autoplay": False,
    }
    assert ann.delete(path).status_code == 204
    assert code_of(ann.get(path)) == (404, "not_found")


def test_without_a_plan_an_account_has_at_most_five_profiles(ann):
    for n in range(4):
        assert ann.post("/v1/profiles", {"name": f"P{n}"}).status_code == 201
    rejected = ann.post("/v1/profiles", {"name": "one more"})
    assert code_of(rejected) == (409, "profile_limit")
    assert rejected.json["limit"] == 5


def test_the_last_profile_cannot_be_deleted(ann):
    [only] = ann.get("/v1/profiles").json["items"]
    assert code_of(ann.delete(f"/v1/profiles/{only['id']}")) == (409, "last_profile")


def test_profiles_of_other_accounts_are_neither_visible_nor_selectable(client, ann):
    foreign = new_person(client, "bob").get("/v1/profiles").json["items"][0]["id"]
    for response in (
        ann.get(f"/v1/profiles/{foreign}"),
        ann.patch(f"/v1/profiles/{foreign}", {"name": "mine"}),
        ann.delete(f"/v1/profiles/{foreign}"),
        ann.put(f"/v1/profiles/{foreign}/pin", {"pin": "1234"}),
        ann.patch("/v1/sessions/current", {"profile_id": foreign}),
    ):
        assert code_of(response) == (404, "not_found")


def test_a_profile_is_selected_for_the_session(ann):
    kid = ann.post("/v1/profiles", {"name": "Kid"}).json
    chosen = ann.patch("/v1/sessions/current", {"profile_id": kid["id"]})
    assert chosen.json["profile"]["name"] == "Kid"
    assert ann.get("/v1/sessions/current").json == chosen.json
    assert ann.delete(f"/v1/profiles/{kid['id']}").status_code == 204
    assert ann.get("/v1/sessions/current").json["profile"] is None


def test_a_pin_unlocks_its_profile_and_five_wrong_ones_lock_it(ann, clock):
    own = ann.get("/v1/profiles").json["items"][0]["id"]
    assert ann.put(f"/v1/profiles/{own}/pin", {"pin": "1234"}).status_code == 204

    def choose(**pin):
        return ann.patch("/v1/sessions/current", {"profile_id": own, **pin})

    assert code_of(choose()) == (403, "pin_required")
    assert [code_of(choose(pin="0000"))[1] for _ in range(4)] == ["pin_invalid"] * 4
    assert choose(pin="1234").status_code == 200
    assert [code_of(choose(pin="0000"))[1] for _ in range(6)] == ["pin_invalid"] * 5 + ["pin_locked"]
    locked = choose(pin="1234")
    assert (code_of(locked), locked.headers["Retry-After"]) == ((429, "pin_locked"), "900")
    clock.advance(minutes=15)
    assert choose(pin="1234").status_code == 200


def test_wrong_pins_lock_the_profile_on_their_own_device_alone(ann, clock):
    own = ann.get("/v1/profiles").json["items"][0]["id"]
    assert ann.put(f"/v1/profiles/{own}/pin", {"pin": "1234"}).status_code == 204
    tablets = [ann.again() for _ in range(11)]
    for tablet in tablets:
        assert tablet.sign_in().status_code == 201
    clock.advance(minutes=11)

    def choose(person, pin):
        return code_of(person.patch("/v1/sessions/current", {"profile_id": own, "pin": pin}))

    assert [choose(tablets[0], "0000")[1] for _ in range(6)] == ["pin_invalid"] * 5 + ["pin_locked"]
    assert choose(ann, "1234")[0] == 200
    for tablet in tablets[1:10]:
        assert [choose(tablet, "0000")[1] for _ in range(5)] == ["pin_invalid"] * 5
    assert choose(tablets[10], "1234") == choose(ann, "1234") == (429, "pin_locked")  # fifty wrong ones in a day
    assert ann.post("/v1/sessions/current/reauthentication", {"password": ann.password}).status_code == 204
    assert choose(ann, "1234")[0] == 200
    assert ann.put(f"/v1/profiles/{own}/pin", {"pin": "5678"}).status_code == 204
    assert choose(tablets[0], "5678")[0] == choose(tablets[10], "5678")[0] == 200


def test_a_removed_pin_is_asked_for_no_more(client, ann, clock):
    bob = new_person(client, "bob")
    own, bobs = ({"profile_id": person.get("/v1/profiles").json["items"][0]["id"]} for person in (ann, bob))
    for person, profile in ((ann, own), (bob, bobs)):
        assert person.put(f"/v1/profiles/{profile['profile_id']}/pin", {"pin": "1234"}).status_code == 204
    path = f"/v1/profiles/{own['profile_id']}/pin"
    assert code_of(bob.delete(path)) == (404, "not_found")
    clock.advance(minutes=10, seconds=1)
    assert code_of(ann.delete(path)) == (403, "reauthentication_required")
    assert code_of(ann.patch("/v1/sessions/current", own)) == (403, "pin_required")
    assert ann.post("/v1/sessions/current/reauthentication", {"password": ann.password}).status_code == 204
    assert ann.delete(path).status_code == 204
    assert ann.patch("/v1/sessions/current", own).status_code == 200
    assert code_of(bob.patch("/v1/sessions/current", bobs)) == (403, "pin_required")


@pytest.mark.parametrize("pin", ["123", "123456789", "12a4", 1234, "", None])
def test_a_pin_is_four_to_eight_digits(ann, pin):
    own = ann.get("/v1/profiles").json["items"][0]["id"]
    assert ann.put(f"/v1/profiles/{own}/pin", {"pin": pin}).status_code == 422


def test_loosening_a_profile_requires_recent_authentication(ann, clock):
    path = "/v1/profiles/" + ann.post("/v1/profiles", {"name": "Kid", "kids": True, "max_age": 7}).json["id"]
    clock.advance(minutes=10, seconds=1)
    for looser in ({"max_age": 12}, {"max_age": None}, {"kids": False}):
        assert code_of(ann.patch(path, looser)) == (403, "reauthentication_required")
    assert ann.patch(path, {"max_age": 6}).status_code == 200
    assert code_of(ann.put(path + "/pin", {"pin": "1234"})) == (403, "reauthentication_required")
    again = "/v1/sessions/current/reauthentication"
    assert code_of(ann.post(again, {"password": "wrong"})) == (422, "invalid_credentials")
    assert ann.post(again, {"password": ann.password}).status_code == 204
    assert ann.patch(path, {"max_age": 12}).status_code == 200


@pytest.fixture
def kid(ann, clock):
    """Ann's television, an hour after she selected a kids' profile; `own` and `other` are profile ids."""
    kid = ann.again()
    kid.sign_in(device={"name": "TV", "kind": "tv"})
    kid.other = ann.get("/v1/profiles").json["items"][0]["id"]
    kid.own = ann.post("/v1/profiles", {"name": "Kid", "kids": True, "max_age": 7}).json["id"]
    assert kid.patch("/v1/sessions/current", {"profile_id": kid.own}).status_code == 200
    clock.advance(hours=1)
    return kid


def test_a_kids_profile_can_use_its_own_items(kid):
    rows = ("history", "watchlist", "continue-watching", "next-up", "state?ids=ttl_x")
    assert {kid.get(f"/v1/profiles/{kid.own}/{row}").status_code for row in rows} == {200}
    assert {kid.get(path).status_code for path in ("/v1/profiles", "/v1/sessions/current", "/v1/catalog/home")} == {200}
    assert kid.get(f"/v1/profiles/{kid.own}").json["kids"] is True


def test_a_kids_profile_can_access_neither_the_account_nor_other_profiles(kid):
    for response in (
        kid.get("/v1/account"),
        kid.get("/v1/invoices"),
        kid.post("/v1/profiles", {"name": "Grown-up"}),
        kid.patch(f"/v1/profiles/{kid.own}", {"kids": False}),
        kid.delete(f"/v1/profiles/{kid.own}"),
        kid.get(f"/v1/profiles/{kid.other}/history"),
        kid.get("/v1/profiles/pro_nobodys/history"),
        kid.delete("/v1/sessions"),
        kid.delete("/v1/account"),
    ):
        assert code_of(response) == (403, "kids_profile")


def test_selecting_a_kids_profile_ends_the_window_of_the_sign_in_at_once(ann):
    first = ann.get("/v1/profiles").json["items"][0]["id"]
    kids = ann.post("/v1/profiles", {"name": "Kid", "kids": True, "max_age": 7}).json["id"]
    assert ann.patch("/v1/sessions/current", {"profile_id": kids}).status_code == 200
    assert code_of(ann.get("/v1/invoices")) == (403, "kids_profile")
    assert code_of(ann.patch(f"/v1/profiles/{kids}", {"max_age": 16})) == (403, "kids_profile")
    assert code_of(ann.patch("/v1/sessions/current", {"profile_id": None})) == (403, "kids_profile")
    assert ann.patch("/v1/sessions/current", {"profile_id": first}).status_code == 200
    assert code_of(ann.patch(f"/v1/profiles/{kids}", {"max_age": 16})) == (403, "reauthentication_required")
    assert ann.post("/v1/sessions/current/reauthentication", {"password": ann.password}).status_code == 204
    assert ann.patch(f"/v1/profiles/{kids}", {"max_age": 16}).status_code == 200


def test_a_kids_profile_cannot_be_deselected(kid):
    assert code_of(kid.patch("/v1/sessions/current", {"profile_id": None})) == (403, "kids_profile")
    kid.post("/v1/sessions/current/reauthentication", {"password": kid.password})
    assert kid.patch("/v1/sessions/current", {"profile_id": None}).status_code == 200


def test_reauthentication_lifts_the_kids_profile_restrictions(kid):
    assert kid.post("/v1/sessions/current/reauthentication", {"password": kid.password}).status_code == 204
    assert kid.get(f"/v1/profiles/{kid.other}/history").status_code == 200
    assert kid.get("/v1/account").status_code == 200


def test_selecting_another_profile_requires_its_pin_and_lifts_the_restrictions(kid, ann, clock):
    ann.post("/v1/sessions/current/reauthentication", {"password": ann.password})
    assert ann.put(f"/v1/profiles/{kid.other}/pin", {"pin": "2468"}).status_code == 204
    assert code_of(kid.patch("/v1/sessions/current", {"profile_id": kid.other})) == (403, "pin_required")
    assert kid.patch("/v1/sessions/current", {"profile_id": kid.other, "pin": "2468"}).status_code == 200
    assert kid.get("/v1/account").status_code == 200
