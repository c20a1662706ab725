"""Reauthentication: its methods, its window, and the rotation of the session's token."""

import re

import pytest

from streamsvc.models import Account
from streamsvc.rules.sign_in.totp import STEP_S, totp_code
from streamsvc.storage.database import db
from tests.worlds.authenticator import Authenticator
from tests.worlds.sessions_steps import SECRET, Person, code_of, everything, mails, new_person, operator

AGAIN = "/v1/sessions/current/reauthentication"
SENSITIVE = "/v1/account/export"


@pytest.fixture
def ann(client):
    return new_person(client)


@pytest.fixture
def late(ann, clock):
    """Ann, after her reauthentication window has ended."""
    clock.advance(minutes=11)
    assert code_of(ann.get(SENSITIVE)) == (403, "reauthentication_required")
    return ann


@pytest.fixture
def phone(ann):
    """An authenticator with a passkey of Ann's."""
    phone = Authenticator()
    credential = phone.make(ann.post("/v1/passkeys/options").json)
    assert ann.post("/v1/passkeys", {"credential": credential}).status_code == 201
    return phone


@pytest.fixture
def without_password(app, ann):
    """Ann's account, without a password."""
    with app.app_context():
        db.session.query(Account).update({"password_hash": None})
        db.session.commit()
    return ann


def test_the_token_stays_unless_rotation_is_requested(late):
    before = late.token
    assert late.post(AGAIN, {"password": SECRET}).status_code == 204
    assert (late.token, late.get(SENSITIVE).status_code) == (before, 200)


@pytest.mark.parametrize("method", ["reauthentication", "password", "authenticator"])
def test_after_rotation_the_old_token_is_rejected_at_once(app, ann, clock, method):
    secret = ann.post("/v1/account/totp").json["secret"]
    body = {"rotate": True}
    if method == "reauthentication":
        rotated = ann.post(AGAIN, body | {"password": SECRET})
    elif method == "password":
        rotated = ann.put("/v1/account/password", body | {"current_password": SECRET, "password": "another secret 8"})
    else:
        rotated = ann.put("/v1/account/totp", body | {"code": totp_code(secret, int(clock.at.timestamp()) // STEP_S)})
    assert rotated.status_code == 200
    assert ann.get("/v1/account").status_code == 401
    session = Person(ann.client, ann.email, token=rotated.json["token"])
    assert session.get(SENSITIVE).status_code == 200
    assert rotated.json["token"][4:] not in everything(app)
    assert len(session.get("/v1/sessions").json["items"]) == 1


def test_a_cookie_is_always_rotated_and_its_csrf_token_stays(app, ann):
    browser = Person(app.test_client(use_cookies=False), ann.email)
    signed_in = browser.sign_in(cookie=True)
    first = {"Cookie": signed_in.headers["Set-Cookie"].split(";")[0], "X-CSRF-Token": signed_in.json["csrf_token"]}
    reauthenticated = browser.post(AGAIN, {"password": SECRET}, headers=first)
    assert (reauthenticated.status_code, reauthenticated.data) == (204, b""), reauthenticated.text
    renewed = first | {"Cookie": reauthenticated.headers["Set-Cookie"].split(";")[0]}
    assert renewed["Cookie"] != first["Cookie"]
    assert browser.get("/v1/account", headers=first).status_code == 401
    assert browser.patch("/v1/account", {"name": "Ann"}, headers=renewed).status_code == 200


def test_a_csrf_token_survives_a_new_signing_key(app, ann, monkeypatch):
    browser = Person(app.test_client(use_cookies=False), ann.email)
    signed_in = browser.sign_in(cookie=True)
    headers = {"Cookie": signed_in.headers["Set-Cookie"].split(";")[0], "X-CSRF-Token": signed_in.json["csrf_token"]}
    settings = app.extensions["settings"]
    monkeypatch.setitem(app.extensions, "settings", settings.replace(secret_key=("n" * 40, *settings.secret_key)))
    assert browser.patch("/v1/account", {"name": "Ann"}, headers=headers).status_code == 200
    monkeypatch.setitem(app.extensions, "settings", settings.replace(secret_key=("n" * 40,)))
    assert browser.patch("/v1/account", {"name": "Ann"}, headers=headers).status_code == 403


def test_a_passkey_reauthenticates(phone, late):
    options = late.post(f"{AGAIN}/passkey-options").json
    assert [credential["type"] for credential in options["allowCredentials"]] == ["public-key"]
    credential = phone.sign(options)
    assert late.post(AGAIN, {"credential": credential}).status_code == 204
    assert late.get(SENSITIVE).status_code == 200
    assert code_of(late.post(AGAIN, {"credential": credential})) == (422, "invalid_credentials")


def test_a_challenge_is_valid_for_the_session_and_account_that_requested_it(client, phone, late):
    bob = new_person(client, "bob")
    stolen = {"credential": phone.sign(bob.post(f"{AGAIN}/passkey-options").json)}
    assert code_of(bob.post(AGAIN, stolen)) == (422, "invalid_credentials")
    assert code_of(late.post(AGAIN, stolen)) == (422, "invalid_credentials")
    sign_in = {"credential": phone.sign(client.post("/v1/sessions/passkey-options").json)}
    assert code_of(late.post(AGAIN, sign_in)) == (422, "invalid_credentials")
    assert code_of(late.get(SENSITIVE)) == (403, "reauthentication_required")


def test_an_account_without_password_and_authenticator_is_mailed_a_code(app, without_password, late):
    assert late.post(f"{AGAIN}/email-code").status_code == 202
    code = re.search(r"\b\d{8}\b", mails(app, late.email, "reauthentication_code")[0]["text"])[0]
    assert code_of(late.post(AGAIN, {"email_code": "00000000"})) == (422, "second_factor_invalid")
    assert [late.post(AGAIN, {"email_code": code}).status_code for _ in range(2)] == [204, 422]
    assert late.get(SENSITIVE).status_code == 200


def test_a_mailed_code_is_valid_for_its_account_and_ten_minutes(app, client, without_password, late, clock):
    late.post(f"{AGAIN}/email-code")
    code = re.search(r"\b\d{8}\b", mails(app, late.email, "reauthentication_code")[0]["text"])[0]
    bob = new_person(client, "bob")
    assert code_of(bob.post(AGAIN, {"email_code": code})) == (422, "second_factor_invalid")
    clock.advance(minutes=10)
    assert code_of(late.post(AGAIN, {"email_code": code})) == (422, "second_factor_invalid")


def test_an_account_with_a_password_must_use_it(app, ann):
    rejected = ann.post(f"{AGAIN}/email-code")
    assert (code_of(rejected), rejected.json["methods"]) == ((409, "other_proof_required"), ["password"])
    assert mails(app, ann.email, "reauthentication_code") == []


@pytest.mark.parametrize("body", [{}, {"rotate": True}, {"password": SECRET, "totp": "000000"}])
def test_exactly_one_method_is_accepted(ann, body):
    assert code_of(ann.post(AGAIN, body)) == (422, "invalid")


def test_five_failures_of_any_method_start_a_wait(late):
    codes = [late.post(AGAIN, body).status_code for body in ({"totp": "000000"}, {"email_code": "0" * 8}) * 3]
    assert codes == [422] * 5 + [429]
    assert late.post(AGAIN, {"password": SECRET}).status_code == 429


def test_each_reauthentication_is_audited(app, ann):
    ann.post(AGAIN, {"password": SECRET, "rotate": True})
    actions = [row["action"] for row in operator(app).get("/v1/admin/audit").json["items"]]
    assert {"session_token_renewed", "reauthn_success"} <= set(actions)
