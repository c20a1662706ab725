"""Sign-in of a television from a phone (RFC 8628)."""

import pytest

from streamsvc.rules.sign_in.device_codes import GRANT_TYPE, USER_CODE_ALPHABET
from tests.worlds.sessions_steps import Person, code_of, everything, new_person, operator

TV = {"name": "Living room", "kind": "tv"}


@pytest.fixture
def ann(client):
    return new_person(client)


@pytest.fixture
def codes(client):
    """The response to the television's request for codes."""
    response = client.post("/v1/device-codes", json={"device": TV})
    assert response.status_code == 201
    return response.json


def poll(client, device_code):
    return client.post("/v1/token", data={"grant_type": GRANT_TYPE, "device_code": device_code, "client_id": "tv"})


def decide(ann, user_code, approve=True):
    return ann.put(f"/v1/device-codes/{user_code}/decision", {"approve": approve})


def error_of(response):
    return response.status_code, response.json["error"]


def test_a_television_is_signed_in_after_approval(client, ann, codes, clock):
    assert error_of(poll(client, codes["device_code"])) == (400, "authorization_pending")
    pending = ann.post("/v1/device-code-lookups", {"user_code": codes["user_code"]}).json
    assert pending["device"] == TV
    assert decide(ann, codes["user_code"].lower().replace("-", " ")).status_code == 204
    clock.advance(seconds=5)
    granted = poll(client, codes["device_code"])
    assert (granted.status_code, granted.json["token_type"]) == (200, "Bearer")
    assert (granted.headers["Cache-Control"], granted.headers["Pragma"]) == ("no-store", "no-cache"), "RFC 6749, 5.1"
    tv = Person(client, ann.email, token=granted.json["access_token"])
    session = tv.get("/v1/sessions/current").json
    assert (session["account"]["email"], session["session"]["device"]["name"]) == (ann.email, "Living room")
    assert error_of(poll(client, codes["device_code"])) == (400, "invalid_grant")


def test_the_response_has_the_fields_of_rfc_8628(codes):
    letters = codes["user_code"].replace("-", "")
    assert len(letters) == 8 and set(letters) <= set(USER_CODE_ALPHABET)
    assert codes["verification_uri_complete"].endswith(codes["user_code"])
    assert (codes["expires_in"], codes["interval"]) == (600, 5)


def test_standard_clients_send_forms(client):
    form = {"client_id": "tv", "client_secret": "", "scope": "openid", "audience": "unknown"}
    response = client.post("/v1/device-authorizations", data=form)
    assert response.status_code == 200
    assert {"device_code", "user_code", "verification_uri", "expires_in"} <= response.json.keys()


def test_polling_too_often_gets_slow_down(client, codes, clock):
    errors = [error_of(poll(client, codes["device_code"]))[1] for _ in range(2)]
    clock.advance(seconds=9)
    errors.append(error_of(poll(client, codes["device_code"]))[1])
    clock.advance(seconds=15)
    errors.append(error_of(poll(client, codes["device_code"]))[1])
    assert errors == ["authorization_pending", "slow_down", "slow_down", "authorization_pending"]


def test_a_denied_code_gets_access_denied(client, ann, codes):
    assert decide(ann, codes["user_code"], approve=False).status_code == 204
    assert error_of(poll(client, codes["device_code"])) == (400, "access_denied")
    assert code_of(decide(ann, codes["user_code"])) == (404, "not_found")


def test_ending_all_sessions_denies_approved_codes_that_were_not_redeemed(app, client, ann):
    def poll_after(end):
        codes = client.post("/v1/device-codes", json={"device": TV}).json
        assert decide(ann, codes["user_code"]).status_code == 204
        assert end().status_code == 204
        return error_of(poll(client, codes["device_code"]))

    account = ann.get("/v1/account").json["id"]
    change = {"current_password": ann.password, "password": "another secret 8"}
    ends = (
        lambda: ann.delete("/v1/sessions"),
        lambda: ann.put("/v1/account/password", change),
        lambda: operator(app).delete(f"/v1/admin/accounts/{account}/sessions"),
    )
    assert [poll_after(end) for end in ends] == [(400, "access_denied")] * 3


def test_a_television_session_counts_as_authenticated_when_the_phone_was(app, client, ann, clock):
    clock.advance(minutes=11)
    codes = client.post("/v1/device-codes", json={"device": TV}).json
    assert decide(ann, codes["user_code"]).status_code == 204
    tv = Person(client, ann.email, token=poll(client, codes["device_code"]).json["access_token"])
    assert code_of(tv.put("/v1/account/email", {"email": "new@example.com"})) == (403, "reauthentication_required")
    [event] = operator(app).get("/v1/admin/audit?action=authn_login_success&limit=1").json["items"]
    assert event["details"]["method"] == "device_code"


def test_a_code_is_valid_for_ten_minutes(client, ann, codes, clock):
    clock.advance(minutes=10)
    assert error_of(poll(client, codes["device_code"])) == (400, "expired_token")
    assert code_of(decide(ann, codes["user_code"])) == (404, "not_found")


def test_a_code_is_decided_once(client, ann, codes):
    bob = new_person(client, "bob")
    assert decide(ann, codes["user_code"]).status_code == 204
    assert code_of(decide(bob, codes["user_code"])) == (404, "not_found")


@pytest.mark.parametrize("approve", [True, False])
def test_a_decision_is_about_one_code(client, ann, codes, approve):
    other = client.post("/v1/device-codes", json={"device": TV}).json
    assert decide(ann, codes["user_code"], approve).status_code == 204
    assert error_of(poll(client, other["device_code"])) == (400, "authorization_pending")


def test_only_signed_in_users_decide(client, codes):
    assert client.put(f"/v1/device-codes/{codes['user_code']}/decision", json={"approve": True}).status_code == 401


@pytest.mark.parametrize(
    "form, error",
    [
        ({}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": GRANT_TYPE}, "invalid_request"),
        ({"grant_type": GRANT_TYPE, "device_code": ""}, "invalid_request"),
        ({"grant_type": GRANT_TYPE, "device_code": ["dvc_x", "dvc_y"]}, "invalid_request"),
        ({"grant_type": GRANT_TYPE, "device_code": "x" * 300}, "invalid_request"),
        ({"grant_type": GRANT_TYPE, "device_code": "dvc_x", "resource": "unknown"}, "invalid_grant"),
    ],
)
def test_errors_are_those_of_rfc_8628(client, form, error):
    response = client.post("/v1/token", data=form, content_type="application/x-www-form-urlencoded")
    assert error_of(response) == (400, error)
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["token", "device-authorizations"])
@pytest.mark.parametrize(
    "body", [{}, {"json": {"grant_type": GRANT_TYPE}}, {"data": b"x", "content_type": "text/plain"}]
)
def test_a_body_that_is_no_form_is_an_invalid_request(client, path, body):
    response = client.post(f"/v1/{path}", **body)
    assert error_of(response) == (400, "invalid_request")
    assert "application/x-www-form-urlencoded" in response.json["error_description"]


def test_a_retry_returns_the_same_codes_and_neither_is_stored(app, client):
    call = {"json": {"device": TV}, "headers": {"Idempotency-Key": "k"}}
    first, again = (client.post("/v1/device-codes", **call) for _ in range(2))
    assert (again.json, again.headers["Idempotency-Replayed"]) == (first.json, "true")
    assert error_of(poll(client, first.json["device_code"])) == (400, "authorization_pending")
    other = client.post("/v1/device-codes", json={"device": TV}).json
    assert {other["device_code"], other["user_code"]}.isdisjoint(first.json.values())
    stored = everything(app)
    for codes in (first.json, other):
        assert codes["device_code"] not in stored and codes["user_code"] not in stored


def test_guessing_codes_is_rate_limited(client, ann):
    responses = [decide(ann, "BCDF-GHJK").status_code for _ in range(102)]
    assert responses[:100] == [404] * 100 and responses[100:] == [429] * 2
