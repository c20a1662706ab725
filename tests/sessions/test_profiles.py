"""Who watches within a household."""

import pytest

from tests.worlds.sessions_steps import code_of, new_person


@pytest.fixture
def ann(client):
    return new_person(client)


def test_a_profile_comes_is_changed_and_goes(ann):
    made = ann.post("/v1/profiles", {"name": "Kid", "kids": True, "max_age": 7, "language": "fr"})
    assert made.status_code == 201
    path = f"/v1/profiles/{made.json['id']}"
    assert ann.get(path).json == made.json
    assert ann.patch(path, {"name": "Child", "autoplay": False}).json == made.json | {
        "name": "Child",
        "autoplay": False,
    }
    assert ann.delete(path).status_code == 204
    assert code_of(ann.get(path)) == (404, "not_found")


def test_five_profiles_without_a_plan_and_no_sixth(ann):
    for n in range(4):
        assert ann.post("/v1/profiles", {"name": f"P{n}"}).status_code == 201
    refused = ann.post("/v1/profiles", {"name": "one more"})
    assert code_of(refused) == (409, "profile_limit")
    assert refused.json["limit"] == 5


def test_the_last_profile_stays(ann):
    [only] = ann.get("/v1/profiles").json["items"]
    assert code_of(ann.delete(f"/v1/profiles/{only['id']}")) == (409, "last_profile")


def test_nobody_sees_or_selects_the_profile_of_another_account(client, ann):
    theirs = new_person(client, "bob").get("/v1/profiles").json["items"][0]["id"]
    for answer in (
        ann.get(f"/v1/profiles/{theirs}"),
        ann.patch(f"/v1/profiles/{theirs}", {"name": "mine"}),
        ann.delete(f"/v1/profiles/{theirs}"),
        ann.put(f"/v1/profiles/{theirs}/pin", {"pin": "1234"}),
        ann.patch("/v1/sessions/current", {"profile_id": theirs}),
    ):
        assert code_of(answer) == (404, "not_found")


def test_who_watches_is_chosen_for_the_session(ann):
    kid = ann.post("/v1/profiles", {"name": "Kid"}).json
    chosen = ann.patch("/v1/sessions/current", {"profile_id": kid["id"]})
    assert chosen.json["profile"]["name"] == "Kid"
    assert ann.get("/v1/sessions/current").json == chosen.json
    assert ann.delete(f"/v1/profiles/{kid['id']}").status_code == 204
    assert ann.get("/v1/sessions/current").json["profile"] is None


def test_a_pin_opens_its_profile_and_five_wrong_ones_close_it_for_a_while(ann, clock):
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


@pytest.mark.parametrize("pin", ["123", "123456789", "12a4", 1234, "", None])
def test_a_pin_is_four_to_eight_digits(ann, pin):
    own = ann.get("/v1/profiles").json["items"][0]["id"]
    assert ann.put(f"/v1/profiles/{own}/pin", {"pin": pin}).status_code == 422


def test_to_let_a_profile_see_more_one_proves_who_one_is(ann, clock):
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
    """Ann's television, an hour after she chose the kids' profile on it; `own` and `other` are profiles' ids."""
    kid = ann.again()
    kid.sign_in(device={"name": "TV", "kind": "tv"})
    kid.other = ann.get("/v1/profiles").json["items"][0]["id"]
    kid.own = ann.post("/v1/profiles", {"name": "Kid", "kids": True, "max_age": 7}).json["id"]
    assert kid.patch("/v1/sessions/current", {"profile_id": kid.own}).status_code == 200
    clock.advance(hours=1)
    return kid


def test_a_kids_profile_reaches_its_own_things(kid):
    rows = ("history", "watchlist", "continue-watching", "next-up", "state?ids=ttl_x")
    assert {kid.get(f"/v1/profiles/{kid.own}/{row}").status_code for row in rows} == {200}
    assert {kid.get(path).status_code for path in ("/v1/profiles", "/v1/sessions/current", "/v1/catalog/home")} == {200}
    assert kid.get(f"/v1/profiles/{kid.own}").json["kids"] is True


def test_it_reaches_neither_the_account_nor_anybody_elses(kid):
    for answer in (
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
        assert code_of(answer) == (403, "kids_profile")


def test_a_kids_profile_is_not_left_for_none_which_would_open_the_account(kid):
    assert code_of(kid.patch("/v1/sessions/current", {"profile_id": None})) == (403, "kids_profile")
    kid.post("/v1/sessions/current/reauthentication", {"password": kid.password})
    assert kid.patch("/v1/sessions/current", {"profile_id": None}).status_code == 200


def test_beside_profiles_with_pins_none_is_made_that_shows_more_than_is_open(ann, clock):
    [own] = ann.get("/v1/profiles").json["items"]
    assert ann.post("/v1/profiles", {"name": "Teen", "max_age": 12}).status_code == 201
    assert ann.put(f"/v1/profiles/{own['id']}/pin", {"pin": "2468"}).status_code == 204
    clock.advance(minutes=11)

    def made(**more):
        return code_of(ann.post("/v1/profiles", {"name": "Another", **more}))

    assert made() == made(max_age=16) == (403, "reauthentication_required")
    assert made(max_age=12) == made(kids=True, max_age=6) == (201, None)
    assert ann.post("/v1/sessions/current/reauthentication", {"password": ann.password}).status_code == 204
    assert made() == (201, None)


def test_a_grown_up_proves_it_or_changes_the_profile(kid):
    assert kid.post("/v1/sessions/current/reauthentication", {"password": kid.password}).status_code == 204
    assert kid.get(f"/v1/profiles/{kid.other}/history").status_code == 200
    assert kid.get("/v1/account").status_code == 200


def test_whoever_chooses_another_profile_is_asked_for_its_pin_and_reaches_all(kid, ann, clock):
    ann.post("/v1/sessions/current/reauthentication", {"password": ann.password})
    assert ann.put(f"/v1/profiles/{kid.other}/pin", {"pin": "2468"}).status_code == 204
    assert code_of(kid.patch("/v1/sessions/current", {"profile_id": kid.other})) == (403, "pin_required")
    assert kid.patch("/v1/sessions/current", {"profile_id": kid.other, "pin": "2468"}).status_code == 200
    assert kid.get("/v1/account").status_code == 200
