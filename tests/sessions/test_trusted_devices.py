"""Trusted devices present a token instead of a second factor."""

import pytest

from streamsvc.rules.sign_in.totp import STEP_S, totp_code
from tests.worlds.sessions_steps import Person, add_app, code_of, everything, mailed_token, new_person, operator, verify

CODE_REQUIRED = (401, "second_factor_required")


def code(secret, clock):
    return totp_code(secret, int(clock.at.timestamp()) // STEP_S)


class Trusted:
    """A person with an authenticator app on a trusted device; `body` has the device and its trust token."""

    def __init__(self, person, clock, **more):
        self.person, self.clock, self.secret = person, clock, add_app(person, clock)
        clock.advance(seconds=STEP_S)
        self.response = person.sign_in(totp=code(self.secret, clock), trust_device=True, **more)
        assert self.response.status_code == 201, self.response.json
        self.device = self.response.json["session"]["device"]["id"]
        self.body = {"device": {"id": self.device}, "device_trust": self.response.json["device_trust"].get("token")}

    def sign_in(self, **changes):
        return self.person.again().sign_in(**(self.body | changes))


@pytest.fixture
def ann(app, client):
    ann = new_person(client)
    verify(app, ann)
    return ann


@pytest.fixture
def trusted(ann, clock):
    return Trusted(ann, clock)


def test_a_trusted_device_needs_no_code_for_thirty_days(app, ann, trusted, clock):
    trust = trusted.response.json["device_trust"]
    assert (trust["token"][:4], trust["until"]) == ("sdt_", "2026-02-14T12:00:30Z")
    assert trust["token"] not in everything(app)
    again = trusted.sign_in()
    assert (again.status_code, again.json["session"]["device"]["id"]) == (201, trusted.device)
    assert "device_trust" not in again.json
    listed = {device["id"]: device["trusted_until"] for device in ann.get("/v1/devices").json["items"]}
    assert listed[trusted.device] == trust["until"] and list(listed.values()).count(None) == len(listed) - 1
    events = operator(app).get("/v1/admin/audit?limit=100").json["items"]
    assert "device_trusted" in [row["action"] for row in events]
    [last] = [row for row in events if row["details"].get("session") == again.json["session"]["id"]]
    assert (last["action"], last["details"]["second"]) == ("authn_login_success", "trusted_device")
    clock.advance(days=30, seconds=-1)
    assert trusted.sign_in().status_code == 201
    clock.advance(seconds=1)
    assert code_of(trusted.sign_in()) == CODE_REQUIRED


def test_a_trust_token_is_valid_for_its_device_and_account_and_with_a_password_only(client, ann, trusted, clock):
    for change in (
        {"device_trust": "sdt_" + "x" * 43},
        {"device_trust": None},
        {"device": None},
        {"device": {"id": "dev_x"}},
    ):
        body = {name: value for name, value in (trusted.body | change).items() if value is not None}
        assert code_of(ann.again().sign_in(**body)) == CODE_REQUIRED, change
    assert code_of(Person(client, ann.email, "wrong").sign_in(**trusted.body)) == (401, "invalid_credentials")
    bob = new_person(client, "bob")
    add_app(bob, clock)
    assert code_of(bob.again().sign_in(**trusted.body)) == CODE_REQUIRED
    assert code_of(
        client.post("/v1/admin/sessions", json={"email": "o@example.com", "password": "x", **trusted.body})
    ) == (
        422,
        "invalid",
    )


def test_only_a_code_can_make_a_device_trusted(ann, trusted):
    assert "device_trust" not in new_person(ann.client, "bob").again().sign_in(trust_device=True).json
    assert "device_trust" not in trusted.sign_in(trust_device=True).json


def test_a_trusted_device_does_not_open_the_window_for_sensitive_calls(ann, trusted, clock):
    clock.advance(minutes=11)
    late = ann.again()
    assert late.sign_in(**trusted.body).json["session"]["authenticated_at"] == "2026-01-15T12:00:30Z"
    assert code_of(late.delete("/v1/account/totp")) == (403, "reauthentication_required")


def forget_factor(app, trusted):
    ann = trusted.person
    assert ann.delete("/v1/account/totp").status_code == 204
    trusted.clock.advance(seconds=STEP_S)
    add_app(ann, trusted.clock)


def reset(app, trusted):
    ann = trusted.person
    ann.client.post("/v1/password-resets", json={"email": ann.email})
    ann.password = "another secret 8"
    body = {"token": mailed_token(app, ann.email, "password_reset"), "password": ann.password}
    assert ann.client.put("/v1/password-resets", json=body).status_code == 204


def change_password(app, trusted):
    ann = trusted.person
    body = {"current_password": ann.password, "password": "another secret 8"}
    assert ann.put("/v1/account/password", body).status_code == 204
    ann.password = "another secret 8"


def disable(app, trusted):
    path = f"/v1/admin/accounts/{trusted.response.json['account']['id']}"
    for status in ("disabled", "active"):
        assert operator(app).patch(path, {"status": status, "reason": "a call"}).status_code == 200


def raise_epoch(app, trusted):
    app.extensions["settings"] = app.extensions["settings"].replace(session_epoch=1)


@pytest.mark.parametrize(
    "end",
    [
        forget_factor,
        reset,
        change_password,
        disable,
        raise_epoch,
        lambda app, t: t.person.put("/v1/account/totp/recovery-codes"),
        lambda app, t: t.person.delete(f"/v1/devices/{t.device}"),
        lambda app, t: t.person.delete(f"/v1/devices/{t.device}/trust"),
        lambda app, t: t.person.delete("/v1/sessions"),
        lambda app, t: t.person.delete(f"/v1/sessions/{t.response.json['session']['id']}"),
        lambda app, t: operator(app).delete(f"/v1/admin/accounts/{t.response.json['account']['id']}/sessions"),
        lambda app, t: operator(app).delete(
            f"/v1/admin/accounts/{t.response.json['account']['id']}/sessions/{t.response.json['session']['id']}"
        ),
    ],
    ids=[
        "factor removed",
        "reset",
        "password",
        "disabled",
        "epoch",
        "recovery codes",
        "device",
        "trust",
        "all",
        "session",
        "operator: all",
        "operator: session",
    ],
)
def test_trust_ends_with_what_it_was_given_for(app, trusted, end, monkeypatch):
    monkeypatch.setitem(app.extensions, "settings", app.extensions["settings"])
    bob = Trusted(new_person(app.test_client(), "bob"), trusted.clock)
    ended = end(app, trusted)
    assert (bob.sign_in().status_code == 201) == (end is not raise_epoch)
    assert ended is None or ended.status_code in (200, 204), ended.json
    assert code_of(trusted.sign_in()) == CODE_REQUIRED
    actions = [row["action"] for row in operator(app).get("/v1/admin/audit?limit=100").json["items"]]
    assert ("device_trust_ended" in actions) == (end is not raise_epoch)


def test_with_a_trust_period_of_zero_no_device_is_trusted(app, ann, clock, monkeypatch):
    trusted = Trusted(ann, clock)
    monkeypatch.setitem(app.extensions, "settings", app.extensions["settings"].replace(trusted_device_days=0))
    assert code_of(trusted.sign_in()) == CODE_REQUIRED
    clock.advance(seconds=STEP_S)
    assert "device_trust" not in ann.sign_in(totp=code(trusted.secret, clock), trust_device=True).json


def test_browsers_store_the_trust_token_in_a_cookie_that_survives_signing_out(app, ann, clock):
    browser = Person(app.test_client(use_cookies=False), ann.email)
    trusted = Trusted(ann, clock, cookie=True)
    assert trusted.response.json["device_trust"].keys() == {"until"}
    cookies = trusted.response.headers.getlist("Set-Cookie")
    session, trust = (cookie.split(";")[0] for cookie in cookies)
    [attributes] = [cookie for cookie in cookies if cookie.startswith("__Host-ssd=")]
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Strict", "Max-Age=2592000"} <= set(attributes.split("; "))
    signed_out = browser.client.delete(
        "/v1/sessions/current",
        headers={"Cookie": f"{session}; {trust}", "X-CSRF-Token": trusted.response.json["csrf_token"]},
    )
    assert signed_out.status_code == 204 and signed_out.headers["Clear-Site-Data"] == '"storage"'
    assert not any(cookie.startswith("__Host-ssd") for cookie in signed_out.headers.getlist("Set-Cookie"))
    browser.headers = {"Cookie": trust}
    again = browser.sign_in(cookie=True)
    assert (again.status_code, again.json["session"]["device"]["id"]) == (201, trusted.device)
    assert code_of(browser.sign_in()) == CODE_REQUIRED, "without cookie mode the cookie is ignored"
    assert code_of(browser.sign_in(cookie=True, device={"id": "dev_x"})) == CODE_REQUIRED


def test_a_retried_sign_in_gets_the_same_trust_token(ann, clock):
    secret = add_app(ann, clock)
    clock.advance(seconds=STEP_S)
    ann.headers = {"Idempotency-Key": "k"}
    once, again = (ann.sign_in(totp=code(secret, clock), trust_device=True) for _ in range(2))
    assert (once.status_code, again.json) == (201, once.json)
    assert once.json["device_trust"]["token"][4:] != once.json["token"][4:]


def test_a_magic_link_sign_in_accepts_the_trust_token(app, ann, trusted):
    binding = ann.client.post("/v1/magic-links", json={"email": ann.email}).json["binding"]
    body = {"token": mailed_token(app, ann.email, "magic_link"), "binding": binding}
    assert code_of(ann.client.post("/v1/sessions/magic-link", json=body)) == CODE_REQUIRED
    assert ann.client.post("/v1/sessions/magic-link", json=body | trusted.body).status_code == 201
