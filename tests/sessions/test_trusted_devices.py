"""A device that its owner trusts shows a secret where it would be asked for a second factor."""

import pytest

from streamsvc.rules.sign_in.totp import STEP_S, totp_code
from tests.worlds.sessions_steps import Person, add_app, code_of, everything, mailed_token, new_person, operator

ASKED = (401, "second_factor_required")


def code(secret, clock):
    return totp_code(secret, int(clock.at.timestamp()) // STEP_S)


class Trusted:
    """Ann at a device that she trusts, with an authenticator app."""

    def __init__(self, person, clock, **more):
        self.person, self.clock, self.secret = person, clock, add_app(person, clock)
        clock.advance(seconds=STEP_S)
        self.answer = person.sign_in(totp=code(self.secret, clock), trust_device=True, **more)
        assert self.answer.status_code == 201, self.answer.json
        self.device = self.answer.json["session"]["device"]["id"]
        self.shown = {"device": {"id": self.device}, "device_trust": self.answer.json["device_trust"].get("token")}

    def sign_in(self, **changes):
        return self.person.again().sign_in(**(self.shown | changes))


@pytest.fixture
def ann(client):
    return new_person(client)


@pytest.fixture
def trusted(ann, clock):
    return Trusted(ann, clock)


def test_a_trusted_device_is_asked_for_no_code_for_thirty_days(app, ann, trusted, clock):
    told = trusted.answer.json["device_trust"]
    assert (told["token"][:4], told["until"]) == ("sdt_", "2026-02-14T12:00:30Z")
    assert told["token"] not in everything(app)
    again = trusted.sign_in()
    assert (again.status_code, again.json["session"]["device"]["id"]) == (201, trusted.device)
    assert "device_trust" not in again.json
    listed = {each["id"]: each["trusted_until"] for each in ann.get("/v1/devices").json["items"]}
    assert listed[trusted.device] == told["until"] and list(listed.values()).count(None) == len(listed) - 1
    noted = operator(app).get("/v1/admin/audit?limit=100").json["items"]
    assert "device_trusted" in [row["action"] for row in noted]
    [last] = [row for row in noted if row["details"].get("session") == again.json["session"]["id"]]
    assert (last["action"], last["details"]["second"]) == ("authn_login_success", "trusted_device")
    clock.advance(days=30, seconds=-1)
    assert trusted.sign_in().status_code == 201
    clock.advance(seconds=1)
    assert code_of(trusted.sign_in()) == ASKED


def test_its_secret_counts_for_its_own_device_and_account_and_beside_the_password_alone(client, ann, trusted, clock):
    for shown in (
        {"device_trust": "sdt_" + "x" * 43},
        {"device_trust": None},
        {"device": None},
        {"device": {"id": "dev_x"}},
    ):
        shown = {name: value for name, value in (trusted.shown | shown).items() if value is not None}
        assert code_of(ann.again().sign_in(**shown)) == ASKED, shown
    assert code_of(Person(client, ann.email, "wrong").sign_in(**trusted.shown)) == (401, "invalid_credentials")
    bob = new_person(client, "bob")
    add_app(bob, clock)
    assert code_of(bob.again().sign_in(**trusted.shown)) == ASKED
    assert code_of(
        client.post("/v1/admin/sessions", json={"email": "o@example.com", "password": "x", **trusted.shown})
    ) == (
        422,
        "invalid",
    )


def test_only_a_code_makes_a_device_trusted(ann, trusted):
    assert "device_trust" not in new_person(ann.client, "bob").again().sign_in(trust_device=True).json
    assert "device_trust" not in trusted.sign_in(trust_device=True).json


def test_what_is_sensitive_still_asks_who_it_is(ann, trusted, clock):
    clock.advance(minutes=11)
    late = ann.again()
    assert late.sign_in(**trusted.shown).json["session"]["authenticated_at"] == "2026-01-15T12:00:30Z"
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
    path = f"/v1/admin/accounts/{trusted.answer.json['account']['id']}"
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
        lambda app, t: t.person.delete(f"/v1/sessions/{t.answer.json['session']['id']}"),
        lambda app, t: operator(app).delete(f"/v1/admin/accounts/{t.answer.json['account']['id']}/sessions"),
        lambda app, t: operator(app).delete(
            f"/v1/admin/accounts/{t.answer.json['account']['id']}/sessions/{t.answer.json['session']['id']}"
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
def test_trust_is_over_with_whatever_it_was_given_for(app, trusted, end, monkeypatch):
    monkeypatch.setitem(app.extensions, "settings", app.extensions["settings"])
    ended = end(app, trusted)
    assert ended is None or ended.status_code in (200, 204), ended.json
    assert code_of(trusted.sign_in()) == ASKED
    told = [row["action"] for row in operator(app).get("/v1/admin/audit?limit=100").json["items"]]
    assert ("device_trust_ended" in told) == (end is not raise_epoch)


def test_where_no_device_is_trusted_none_is(app, ann, clock, monkeypatch):
    trusted = Trusted(ann, clock)
    monkeypatch.setitem(app.extensions, "settings", app.extensions["settings"].replace(trusted_device_days=0))
    assert code_of(trusted.sign_in()) == ASKED
    clock.advance(seconds=STEP_S)
    assert "device_trust" not in ann.sign_in(totp=code(trusted.secret, clock), trust_device=True).json


def test_a_browser_keeps_it_in_a_cookie_that_outlives_signing_out(app, ann, clock):
    browser = Person(app.test_client(use_cookies=False), ann.email)
    trusted = Trusted(ann, clock, cookie=True)
    assert trusted.answer.json["device_trust"].keys() == {"until"}
    session, kept = (each.split(";")[0] for each in trusted.answer.headers.getlist("Set-Cookie"))
    [about] = [each for each in trusted.answer.headers.getlist("Set-Cookie") if each.startswith("__Host-ssd=")]
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Strict", "Max-Age=2592000"} <= set(about.split("; "))
    out = browser.client.delete(
        "/v1/sessions/current",
        headers={"Cookie": f"{session}; {kept}", "X-CSRF-Token": trusted.answer.json["csrf_token"]},
    )
    assert out.status_code == 204 and out.headers["Clear-Site-Data"] == '"storage"'
    assert not any(each.startswith("__Host-ssd") for each in out.headers.getlist("Set-Cookie"))
    browser.headers = {"Cookie": kept}
    again = browser.sign_in(cookie=True)
    assert (again.status_code, again.json["session"]["device"]["id"]) == (201, trusted.device)
    assert code_of(browser.sign_in()) == ASKED, "who asks for no cookie shows none"
    assert code_of(browser.sign_in(cookie=True, device={"id": "dev_x"})) == ASKED


def test_a_repeated_sign_in_hears_the_same_secret(ann, clock):
    secret = add_app(ann, clock)
    clock.advance(seconds=STEP_S)
    ann.headers = {"Idempotency-Key": "k"}
    once, again = (ann.sign_in(totp=code(secret, clock), trust_device=True) for _ in range(2))
    assert (once.status_code, again.json) == (201, once.json)
    assert once.json["device_trust"]["token"][4:] != once.json["token"][4:]


def test_a_link_by_mail_takes_it_as_well(app, ann, trusted):
    binding = ann.client.post("/v1/magic-links", json={"email": ann.email}).json["binding"]
    body = {"token": mailed_token(app, ann.email, "magic_link"), "binding": binding}
    assert code_of(ann.client.post("/v1/sessions/magic-link", json=body)) == ASKED
    assert ann.client.post("/v1/sessions/magic-link", json=body | trusted.shown).status_code == 201
