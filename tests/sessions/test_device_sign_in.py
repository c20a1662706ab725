"""Signing in a television from a phone, as RFC 8628 has it."""

import pytest

from streamsvc.rules.sign_in.device_codes import GRANT_TYPE, USER_CODE_ALPHABET
from tests.worlds.sessions_steps import Person, code_of, everything, new_person, operator

TV = {"name": "Living room", "kind": "tv"}


@pytest.fixture
def ann(client):
    return new_person(client)


@pytest.fixture
def shown(client):
    """What the television got."""
    answer = client.post("/v1/device-codes", json={"device": TV})
    assert answer.status_code == 201
    return answer.json


def poll(client, device_code):
    return client.post("/v1/token", data={"grant_type": GRANT_TYPE, "device_code": device_code, "client_id": "tv"})


def decide(ann, user_code, approve=True):
    return ann.put(f"/v1/device-codes/{user_code}/decision", {"approve": approve})


def error_of(answer):
    return answer.status_code, answer.json["error"]


def test_the_television_is_signed_in_once_the_owner_says_yes(client, ann, shown, clock):
    assert error_of(poll(client, shown["device_code"])) == (400, "authorization_pending")
    waiting = ann.post("/v1/device-code-lookups", {"user_code": shown["user_code"]}).json
    assert waiting["device"] == TV
    assert decide(ann, shown["user_code"].lower().replace("-", " ")).status_code == 204
    clock.advance(seconds=5)
    told = poll(client, shown["device_code"])
    assert (told.status_code, told.json["token_type"]) == (200, "Bearer")
    assert (told.headers["Cache-Control"], told.headers["Pragma"]) == ("no-store", "no-cache"), "RFC 6749, 5.1"
    tv = Person(client, ann.email, token=told.json["access_token"])
    session = tv.get("/v1/sessions/current").json
    assert (session["account"]["email"], session["session"]["device"]["name"]) == (ann.email, "Living room")
    assert error_of(poll(client, shown["device_code"])) == (400, "invalid_grant")


def test_what_is_shown_is_what_the_standard_asks_for(shown):
    letters = shown["user_code"].replace("-", "")
    assert len(letters) == 8 and set(letters) <= set(USER_CODE_ALPHABET)
    assert shown["verification_uri_complete"].endswith(shown["user_code"])
    assert (shown["expires_in"], shown["interval"]) == (600, 5)


def test_a_standard_client_sends_forms(client):
    form = {"client_id": "tv", "client_secret": "", "scope": "openid", "audience": "unheard of"}
    answer = client.post("/v1/device-authorizations", data=form)
    assert answer.status_code == 200
    assert {"device_code", "user_code", "verification_uri", "expires_in"} <= answer.json.keys()


def test_who_polls_too_often_is_slowed_down(client, shown, clock):
    told = [error_of(poll(client, shown["device_code"]))[1] for _ in range(2)]
    clock.advance(seconds=9)
    told.append(error_of(poll(client, shown["device_code"]))[1])
    clock.advance(seconds=15)
    told.append(error_of(poll(client, shown["device_code"]))[1])
    assert told == ["authorization_pending", "slow_down", "slow_down", "authorization_pending"]


def test_the_owner_says_no(client, ann, shown):
    assert decide(ann, shown["user_code"], approve=False).status_code == 204
    assert error_of(poll(client, shown["device_code"])) == (400, "access_denied")
    assert code_of(decide(ann, shown["user_code"])) == (404, "not_found")


def test_what_ends_every_session_ends_an_approved_television_that_has_not_come_in_yet(app, client, ann):
    def approved_then(end):
        shown = client.post("/v1/device-codes", json={"device": TV}).json
        assert decide(ann, shown["user_code"]).status_code == 204
        assert end().status_code == 204
        return error_of(poll(client, shown["device_code"]))

    account = ann.get("/v1/account").json["id"]
    change = {"current_password": ann.password, "password": "another secret 8"}
    ends = (
        lambda: ann.delete("/v1/sessions"),
        lambda: ann.put("/v1/account/password", change),
        lambda: operator(app).delete(f"/v1/admin/accounts/{account}/sessions"),
    )
    assert [approved_then(end) for end in ends] == [(400, "access_denied")] * 3


def test_a_television_proves_what_the_phone_had_proved_and_no_more(app, client, ann, clock):
    clock.advance(minutes=11)
    shown = client.post("/v1/device-codes", json={"device": TV}).json
    assert decide(ann, shown["user_code"]).status_code == 204
    tv = Person(client, ann.email, token=poll(client, shown["device_code"]).json["access_token"])
    assert code_of(tv.put("/v1/account/email", {"email": "new@example.com"})) == (403, "reauthentication_required")
    [event] = operator(app).get("/v1/admin/audit?action=authn_login_success&limit=1").json["items"]
    assert event["details"]["method"] == "device_code"


def test_a_code_is_good_for_ten_minutes(client, ann, shown, clock):
    clock.advance(minutes=10)
    assert error_of(poll(client, shown["device_code"])) == (400, "expired_token")
    assert code_of(decide(ann, shown["user_code"])) == (404, "not_found")


def test_a_decision_is_made_once(client, ann, shown):
    bob = new_person(client, "bob")
    assert decide(ann, shown["user_code"]).status_code == 204
    assert code_of(decide(bob, shown["user_code"])) == (404, "not_found")


def test_whoever_is_not_signed_in_decides_nothing(client, shown):
    assert client.put(f"/v1/device-codes/{shown['user_code']}/decision", json={"approve": True}).status_code == 401


@pytest.mark.parametrize(
    "form, error",
    [
        ({}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": GRANT_TYPE}, "invalid_request"),
        ({"grant_type": GRANT_TYPE, "device_code": ""}, "invalid_request"),
        ({"grant_type": GRANT_TYPE, "device_code": ["dvc_x", "dvc_y"]}, "invalid_request"),
        ({"grant_type": GRANT_TYPE, "device_code": "x" * 300}, "invalid_request"),
        ({"grant_type": GRANT_TYPE, "device_code": "dvc_x", "resource": "unheard of"}, "invalid_grant"),
    ],
)
def test_errors_are_those_of_the_standard(client, form, error):
    answer = client.post("/v1/token", data=form, content_type="application/x-www-form-urlencoded")
    assert error_of(answer) == (400, error)
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_retry_shows_the_same_codes_and_neither_is_kept(app, client):
    asked = {"json": {"device": TV}, "headers": {"Idempotency-Key": "k"}}
    first, again = (client.post("/v1/device-codes", **asked) for _ in range(2))
    assert (again.json, again.headers["Idempotency-Replayed"]) == (first.json, "true")
    assert error_of(poll(client, first.json["device_code"])) == (400, "authorization_pending")
    other = client.post("/v1/device-codes", json={"device": TV}).json
    assert {other["device_code"], other["user_code"]}.isdisjoint(first.json.values())
    kept = everything(app)
    for shown in (first.json, other):
        assert shown["device_code"] not in kept and shown["user_code"] not in kept


def test_codes_cannot_be_tried_without_end(client, ann):
    answers = [decide(ann, "BCDF-GHJK").status_code for _ in range(102)]
    assert answers[:100] == [404] * 100 and answers[100:] == [429] * 2
