"""Passkeys: registration, sign-in and removal."""

import json
import random

import pytest

from streamsvc.models import Passkey
from streamsvc.rules.sign_in.passkeys import relying_party_and_origin
from streamsvc.rules.sign_in.totp import STEP_S, totp_code
from streamsvc.storage.database import db
from tests.conftest import NOON
from tests.worlds.authenticator import Authenticator, b64, unb64
from tests.worlds.sessions_steps import Person, code_of, everything, mailed_token, mails, new_person, operator


@pytest.fixture
def ann(client):
    return new_person(client)


@pytest.fixture
def phone(ann):
    """An authenticator with a passkey of Ann's."""
    phone = Authenticator()
    registered = register(ann, phone, name="Phone")
    assert registered.status_code == 201, registered.json
    phone.passkey_id = registered.json["id"]
    return phone


def register(person, authenticator, **more):
    options = person.post("/v1/passkeys/options").json
    return person.post("/v1/passkeys", {"credential": authenticator.make(options), **more})


def sign_in(client, authenticator, **more):
    options = client.post("/v1/sessions/passkey-options").json
    return client.post("/v1/sessions/passkey", json={"credential": authenticator.sign(options), **more})


def test_a_passkey_signs_in_as_a_password_does(app, client, ann, phone):
    response = sign_in(client, phone, device={"name": "Phone", "kind": "phone"})
    assert response.status_code == 201
    assert response.json["account"]["email"] == ann.email
    assert Person(client, ann.email, token=response.json["token"]).get("/v1/account").status_code == 200
    assert response.json["token"][4:] not in everything(app)
    [listed] = ann.get("/v1/passkeys").json["items"]
    assert listed["name"] == "Phone" and listed["last_used_at"]
    assert len(mails(app, ann.email, "factor_added")) == 1


def test_the_options_name_the_relying_party_and_the_user(ann, client):
    options = ann.post("/v1/passkeys/options").json
    assert (options["rp"]["id"], options["user"]["name"]) == ("127.0.0.1", ann.email)
    assert options["authenticatorSelection"]["userVerification"] == "preferred"
    assert options["authenticatorSelection"]["residentKey"] == "required"
    options = client.post("/v1/sessions/passkey-options").json
    assert (options["userVerification"], options.get("allowCredentials") or []) == ("preferred", [])


def test_a_challenge_is_valid_once_and_for_five_minutes(client, phone, clock):
    options = client.post("/v1/sessions/passkey-options").json
    credential = phone.sign(options)
    codes = [client.post("/v1/sessions/passkey", json={"credential": credential}).status_code for _ in range(2)]
    assert codes == [201, 401]
    options = client.post("/v1/sessions/passkey-options").json
    clock.advance(minutes=5)
    late = client.post("/v1/sessions/passkey", json={"credential": phone.sign(options)})
    assert code_of(late) == (401, "invalid_credentials")


def test_a_registration_challenge_is_valid_for_its_account_only(client, ann):
    bob = new_person(client, "bob")
    options = ann.post("/v1/passkeys/options").json
    stolen = bob.post("/v1/passkeys", {"credential": Authenticator().make(options)})
    assert code_of(stolen) == (422, "passkey_invalid")


@pytest.mark.parametrize(
    "unknown",
    [
        Authenticator(),
        Authenticator(origin="https://evil.example"),
    ],
    ids=["unknown", "other site"],
)
def test_an_unknown_authenticator_is_rejected(client, phone, unknown):
    unknown.id = phone.id
    assert code_of(sign_in(client, unknown)) == (401, "invalid_credentials")
    assert sign_in(client, phone).status_code == 201


def test_a_cloned_passkey_is_detected_by_its_sign_count(app, client, phone):
    sign_in(client, phone)
    phone.count = 0
    assert code_of(sign_in(client, phone)) == (401, "invalid_credentials")
    [event] = operator(app).get("/v1/admin/audit?action=authn_passkey_count_regressed").json["items"]
    assert (event["details"]["stored_count"], event["details"]["received_count"]) == (2, 1)
    phone.count = 2
    assert sign_in(client, phone).status_code == 201


def test_a_passkey_without_a_sign_count_can_be_used_repeatedly(client, ann):
    synced = Authenticator(counts=False)
    assert register(ann, synced).status_code == 201
    assert [sign_in(client, synced).status_code for _ in range(2)] == [201, 201]


@pytest.fixture
def secret(ann, clock):
    """The secret of Ann's authenticator app."""
    secret = ann.post("/v1/account/totp").json["secret"]
    assert ann.put("/v1/account/totp", {"code": totp_code(secret, step(clock))}).status_code == 200
    clock.advance(seconds=STEP_S)
    return secret


def step(clock):
    return int(clock.at.timestamp()) // STEP_S


def test_a_passkey_with_user_verification_counts_as_both_factors(client, phone, secret):
    assert sign_in(client, phone).status_code == 201


def test_a_passkey_without_user_verification_needs_a_second_factor(client, ann, secret, clock):
    key = Authenticator(verifies=False)
    assert register(ann, key).status_code == 201
    credential = key.sign(client.post("/v1/sessions/passkey-options").json)
    missing = client.post("/v1/sessions/passkey", json={"credential": credential})
    assert (code_of(missing), missing.json["methods"]) == ((401, "second_factor_required"), ["totp", "recovery_code"])
    body = {"credential": credential, "totp": totp_code(secret, step(clock))}
    assert [client.post("/v1/sessions/passkey", json=body).status_code for _ in range(2)] == [201, 401]


def test_a_registration_challenge_is_valid_for_its_session_only(client, ann):
    elsewhere = ann.again()
    elsewhere.sign_in()
    options = ann.post("/v1/passkeys/options").json
    stolen = elsewhere.post("/v1/passkeys", {"credential": Authenticator().make(options)})
    assert code_of(stolen) == (422, "passkey_invalid")


def test_a_registration_response_creates_one_passkey(ann):
    credential = Authenticator().make(ann.post("/v1/passkeys/options").json)
    codes = [ann.post("/v1/passkeys", {"credential": credential}).status_code for _ in range(2)]
    assert codes == [201, 422]


def test_a_cookie_sign_in_completes_only_in_the_browser_that_started_it(app, client, ann, phone):
    browser, other = app.test_client(use_cookies=False), {"Cookie": "__Host-ssb=" + "x" * 43}
    options = browser.post("/v1/sessions/passkey-options", json={"cookie": True})
    cookie = options.headers["Set-Cookie"].split("; ")[0]
    body = {"credential": phone.sign(options.json), "cookie": True}
    for headers in ({}, other):
        rejected = browser.post("/v1/sessions/passkey", json=body, headers=headers)
        assert code_of(rejected) == (401, "invalid_credentials")
    response = browser.post("/v1/sessions/passkey", json=body, headers={"Cookie": cookie})
    assert response.status_code == 201 and "token" not in response.json


def test_a_challenge_without_a_binding_cannot_sign_in_by_cookie(client, phone):
    assert code_of(sign_in(client, phone, cookie=True)) == (401, "invalid_credentials")
    assert sign_in(client, phone).status_code == 201


def test_a_passkey_with_another_users_handle_is_rejected(client, ann, phone):
    bob = new_person(client, "bob")
    phone.handle = bob.get("/v1/account").json["id"]
    assert code_of(sign_in(client, phone)) == (401, "invalid_credentials")
    phone.handle = ann.get("/v1/account").json["id"]
    assert sign_in(client, phone).status_code == 201


def test_an_account_has_at_most_twenty_passkeys_even_with_earlier_challenges(app, ann, phone):
    credential = Authenticator().make(ann.post("/v1/passkeys/options").json)
    account_id = ann.get("/v1/account").json["id"]
    with app.app_context():
        for number in range(19):
            passkey = Passkey(account_id=account_id, credential_id=f"k{number}", public_key=b"", name="", sign_count=0)
            passkey.created_at = NOON
            db.session.add(passkey)
        db.session.commit()
    assert code_of(ann.post("/v1/passkeys/options")) == (409, "passkey_limit")
    assert code_of(ann.post("/v1/passkeys", {"credential": credential})) == (409, "passkey_limit")


def test_adding_and_removing_a_passkey_requires_recent_authentication(ann, phone, clock):
    credential = Authenticator().make(ann.post("/v1/passkeys/options").json)
    clock.advance(minutes=11)
    for response in (
        ann.post("/v1/passkeys/options"),
        ann.post("/v1/passkeys", {"credential": credential}),
        ann.delete(f"/v1/passkeys/{phone.passkey_id}"),
    ):
        assert code_of(response) == (403, "reauthentication_required")
    assert [passkey["id"] for passkey in ann.get("/v1/passkeys").json["items"]] == [phone.passkey_id]


def test_passkeys_of_other_accounts_are_not_listed(client, ann, phone):
    bob = new_person(client, "bob")
    assert bob.get("/v1/passkeys").json["items"] == []


@pytest.mark.parametrize(
    "public_url, site",
    [
        ("https://Video.Example", ("video.example", "https://video.example")),
        ("https://video.example:443/app", ("video.example", "https://video.example")),
        ("http://localhost:8000", ("localhost", "http://localhost:8000")),
    ],
)
def test_relying_party_and_origin_have_the_form_that_browsers_use(public_url, site):
    assert relying_party_and_origin(public_url) == site


def test_damaged_responses_are_rejected_without_an_internal_error(client, ann, phone):
    """Truncate, change and replace byte strings of responses: each is rejected, never with an internal error."""
    rng, codes = random.Random(8), set()
    for number in range(60):
        created = Authenticator().make(ann.post("/v1/passkeys/options").json)
        signed = phone.sign(client.post("/v1/sessions/passkey-options").json)
        for path, credential, person in (
            ("/v1/passkeys", created, ann),
            ("/v1/sessions/passkey", signed, Person(client, "")),
        ):
            name = rng.choice(sorted(credential["response"]))
            credential["response"][name] = b64(damage(unb64(credential["response"][name]), rng))
            codes.add(
                person.post(
                    path, {"credential": credential}, environ_base={"REMOTE_ADDR": f"2001:db8:{number}::"}
                ).status_code
            )
    assert codes <= {201, 401, 422}, codes


def damage(raw, rng):
    place = rng.randrange(len(raw))
    return rng.choice(
        (
            raw[:place],
            raw[:place] + bytes([rng.randrange(256)]) + raw[place + 1 :],
            raw[:place] + rng.randbytes(8) + raw[place:],
            b"[" * 5000,
            b"\x9f" * 3000,
            json.dumps({"type": "webauthn.get", "challenge": "\ud800\x00", "origin": None}).encode(),
        )
    )


@pytest.mark.parametrize(
    "credential",
    [{}, {"id": "x"}, {"id": 7, "response": []}, {"id": "x", "response": {"clientDataJSON": b64(b"[]")}}],
)
def test_malformed_credentials_are_rejected(client, ann, credential):
    assert ann.post("/v1/passkeys", {"credential": credential}).status_code == 422
    assert client.post("/v1/sessions/passkey", json={"credential": credential}).status_code == 422


def test_a_removed_passkey_is_rejected(app, client, ann, phone):
    bob = new_person(client, "bob")
    assert code_of(bob.delete(f"/v1/passkeys/{phone.passkey_id}")) == (404, "not_found")
    assert ann.delete(f"/v1/passkeys/{phone.passkey_id}").status_code == 204
    assert code_of(sign_in(client, phone)) == (401, "invalid_credentials")
    [event] = operator(app).get("/v1/admin/audit?action=authn_factor_removed").json["items"]
    assert (event["details"]["factor"], event["details"]["passkey"]) == ("passkey", phone.passkey_id)


def test_undoing_an_email_change_removes_an_intruders_passkey(app, client, ann, phone):
    ann.put("/v1/account/email", {"email": "eve@elsewhere.example"})
    undo = mailed_token(app, ann.email, "email_undo")
    assert client.put("/v1/email-verifications", json={"token": undo}).status_code == 204
    assert code_of(sign_in(client, phone)) == (401, "invalid_credentials")


def test_the_revocation_of_passkeys_is_audited_where_there_are_any(app, client, ann, phone):
    def undo_email_change(person):
        person.put("/v1/account/email", {"email": f"eve.{person.email}"})
        undo = mailed_token(app, person.email, "email_undo")
        assert client.put("/v1/email-verifications", json={"token": undo}).status_code == 204

    bob, cat, cats = new_person(client, "bob"), new_person(client, "cat"), Authenticator()
    assert register(cat, cats).status_code == 201
    account = ann.get("/v1/account").json["id"]
    for person in (ann, bob):
        undo_email_change(person)
    [event] = operator(app).get("/v1/admin/audit?action=credentials_revoked").json["items"]
    assert (event["account_id"], event["details"]["passkeys"], event["details"]["identities"]) == (account, 1, 0)
    assert sign_in(client, cats).status_code == 201


def test_a_passkey_of_a_disabled_account_is_rejected(app, client, ann, phone):
    account = ann.get("/v1/account").json["id"]
    operator(app).patch(f"/v1/admin/accounts/{account}", {"status": "disabled"})
    assert code_of(sign_in(client, phone)) == (401, "invalid_credentials")


def test_a_reset_revokes_passkeys_added_before_the_address_was_verified(app, client, ann, phone):
    """Someone who signs up with another person's address loses access once that person has the account."""

    def reset():
        client.post("/v1/password-resets", json={"email": ann.email})
        token = mailed_token(app, ann.email, "password_reset")
        response = client.put("/v1/password-resets", json={"token": token, "password": "another secret 8"})
        assert response.status_code == 204

    reset()
    assert code_of(sign_in(client, phone)) == (401, "invalid_credentials")
    owner = Person(client, ann.email, "another secret 8")
    owner.sign_in()
    own = Authenticator()
    assert register(owner, own).status_code == 201
    reset()
    assert sign_in(client, own).status_code == 201
