"""Who watches within a household."""

import pytest

from tests.sessions_steps import code_of, new_person


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
    assert code_of(ann.post(again, {"password": "wrong"})) == (401, "invalid_credentials")
    assert ann.post(again, {"password": ann.password}).status_code == 204
    assert ann.patch(path, {"max_age": 12}).status_code == 200
