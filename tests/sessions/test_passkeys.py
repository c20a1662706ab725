"""Signing in without a password."""

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
    made = register(ann, phone, name="Phone")
    assert made.status_code == 201, made.json
    phone.passkey_id = made.json["id"]
    return phone


def register(person, authenticator, **more):
    options = person.post("/v1/passkeys/options").json
    return person.post("/v1/passkeys", {"credential": authenticator.make(options), **more})


def sign_in(client, authenticator, **more):
    options = client.post("/v1/sessions/passkey-options").json
    return client.post("/v1/sessions/passkey", json={"credential": authenticator.sign(options), **more})


def test_a_passkey_signs_in_like_a_password(app, client, ann, phone):
    answer = sign_in(client, phone, device={"name": "Phone", "kind": "phone"})
    assert answer.status_code == 201
    assert answer.json["account"]["email"] == ann.email
    assert Person(client, ann.email, token=answer.json["token"]).get("/v1/account").status_code == 200
    assert answer.json["token"][4:] not in everything(app)
    [listed] = ann.get("/v1/passkeys").json["items"]
    assert listed["name"] == "Phone" and listed["last_used_at"]
    assert len(mails(app, ann.email, "factor_added")) == 1


def test_the_options_name_the_site_and_ask_for_the_user(ann, client):
    options = ann.post("/v1/passkeys/options").json
    assert (options["rp"]["id"], options["user"]["name"]) == ("127.0.0.1", ann.email)
    assert options["authenticatorSelection"]["userVerification"] == "preferred"
    assert options["authenticatorSelection"]["residentKey"] == "required"
    options = client.post("/v1/sessions/passkey-options").json
    assert (options["userVerification"], options.get("allowCredentials") or []) == ("preferred", [])


def test_a_challenge_is_answered_once_and_soon(client, phone, clock):
    options = client.post("/v1/sessions/passkey-options").json
    credential = phone.sign(options)
    codes = [client.post("/v1/sessions/passkey", json={"credential": credential}).status_code for _ in range(2)]
    assert codes == [201, 401]
    options = client.post("/v1/sessions/passkey-options").json
    clock.advance(minutes=5)
    late = client.post("/v1/sessions/passkey", json={"credential": phone.sign(options)})
    assert code_of(late) == (401, "invalid_credentials")


def test_a_challenge_for_a_new_passkey_is_for_that_account_alone(client, ann):
    bob = new_person(client, "bob")
    options = ann.post("/v1/passkeys/options").json
    stolen = bob.post("/v1/passkeys", {"credential": Authenticator().make(options)})
    assert code_of(stolen) == (422, "passkey_invalid")


@pytest.mark.parametrize(
    "stranger",
    [
        Authenticator(),
        Authenticator(origin="https://evil.example"),
    ],
    ids=["unknown", "other site"],
)
def test_a_strange_authenticator_opens_nothing(client, phone, stranger):
    stranger.id = phone.id
    assert code_of(sign_in(client, stranger)) == (401, "invalid_credentials")
    assert sign_in(client, phone).status_code == 201


def test_a_cloned_passkey_is_noticed_by_its_count(app, client, phone):
    sign_in(client, phone)
    phone.count = 0
    assert code_of(sign_in(client, phone)) == (401, "invalid_credentials")
    [event] = operator(app).get("/v1/admin/audit?action=authn_passkey_count_regressed").json["items"]
    assert (event["details"]["kept"], event["details"]["told"]) == (2, 1)
    phone.count = 2
    assert sign_in(client, phone).status_code == 201


def test_a_passkey_that_counts_nothing_opens_again_and_again(client, ann):
    synced = Authenticator(counts=False)
    assert register(ann, synced).status_code == 201
    assert [sign_in(client, synced).status_code for _ in range(2)] == [201, 201]


@pytest.fixture
def secret(ann, clock):
    """Ann's authenticator app."""
    made = ann.post("/v1/account/totp").json["secret"]
    assert ann.put("/v1/account/totp", {"code": totp_code(made, step(clock))}).status_code == 200
    clock.advance(seconds=STEP_S)
    return made


def step(clock):
    return int(clock.at.timestamp()) // STEP_S


def test_a_passkey_that_knew_its_user_stands_for_both_proofs(client, phone, secret):
    assert sign_in(client, phone).status_code == 201


def test_one_that_did_not_is_followed_by_the_second_proof(client, ann, secret, clock):
    key = Authenticator(verifies=False)
    assert register(ann, key).status_code == 201
    credential = key.sign(client.post("/v1/sessions/passkey-options").json)
    missing = client.post("/v1/sessions/passkey", json={"credential": credential})
    assert (code_of(missing), missing.json["methods"]) == ((401, "second_factor_required"), ["totp", "recovery_code"])
    whole = {"credential": credential, "totp": totp_code(secret, step(clock))}
    assert [client.post("/v1/sessions/passkey", json=whole).status_code for _ in range(2)] == [201, 401]


def test_a_challenge_for_a_new_passkey_is_for_that_session_alone(client, ann):
    elsewhere = ann.again()
    elsewhere.sign_in()
    options = ann.post("/v1/passkeys/options").json
    stolen = elsewhere.post("/v1/passkeys", {"credential": Authenticator().make(options)})
    assert code_of(stolen) == (422, "passkey_invalid")


def test_an_answer_makes_one_passkey(ann):
    credential = Authenticator().make(ann.post("/v1/passkeys/options").json)
    codes = [ann.post("/v1/passkeys", {"credential": credential}).status_code for _ in range(2)]
    assert codes == [201, 422]


def test_a_browser_signs_in_by_cookie_only_where_it_asked(app, client, ann, phone):
    browser, other = app.test_client(use_cookies=False), {"Cookie": "__Host-ssb=" + "x" * 43}
    asked = browser.post("/v1/sessions/passkey-options", json={"cookie": True})
    pair = asked.headers["Set-Cookie"].split("; ")[0]
    body = {"credential": phone.sign(asked.json), "cookie": True}
    for headers in ({}, other):
        refused = browser.post("/v1/sessions/passkey", json=body, headers=headers)
        assert code_of(refused) == (401, "invalid_credentials")
    answer = browser.post("/v1/sessions/passkey", json=body, headers={"Cookie": pair})
    assert answer.status_code == 201 and "token" not in answer.json


def test_a_challenge_that_no_browser_is_tied_to_signs_none_in_by_cookie(client, phone):
    assert code_of(sign_in(client, phone, cookie=True)) == (401, "invalid_credentials")
    assert sign_in(client, phone).status_code == 201


def test_a_passkey_that_is_said_to_be_somebody_elses_opens_nothing(client, ann, phone):
    bob = new_person(client, "bob")
    phone.handle = bob.get("/v1/account").json["id"]
    assert code_of(sign_in(client, phone)) == (401, "invalid_credentials")
    phone.handle = ann.get("/v1/account").json["id"]
    assert sign_in(client, phone).status_code == 201


def test_nobody_keeps_more_than_twenty_also_who_asked_before(app, ann, phone):
    begun = Authenticator().make(ann.post("/v1/passkeys/options").json)
    account_id = ann.get("/v1/account").json["id"]
    with app.app_context():
        for number in range(19):
            kept = Passkey(account_id=account_id, credential_id=f"k{number}", public_key=b"", name="", sign_count=0)
            kept.created_at = NOON
            db.session.add(kept)
        db.session.commit()
    assert code_of(ann.post("/v1/passkeys/options")) == (409, "passkey_limit")
    assert code_of(ann.post("/v1/passkeys", {"credential": begun})) == (409, "passkey_limit")


def test_making_and_removing_one_needs_a_recent_proof(ann, phone, clock):
    credential = Authenticator().make(ann.post("/v1/passkeys/options").json)
    clock.advance(minutes=11)
    for answer in (
        ann.post("/v1/passkeys/options"),
        ann.post("/v1/passkeys", {"credential": credential}),
        ann.delete(f"/v1/passkeys/{phone.passkey_id}"),
    ):
        assert code_of(answer) == (403, "reauthentication_required")
    assert [each["id"] for each in ann.get("/v1/passkeys").json["items"]] == [phone.passkey_id]


def test_another_accounts_passkeys_are_not_listed(client, ann, phone):
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
def test_the_site_is_written_as_browsers_write_it(public_url, site):
    assert relying_party_and_origin(public_url) == site


def test_made_up_answers_break_nothing(client, ann, phone):
    """Every byte string of an answer cut, turned and replaced: refused each time, and never an error of ours."""
    chance, codes = random.Random(8), set()
    for number in range(60):
        made = Authenticator().make(ann.post("/v1/passkeys/options").json)
        signed = phone.sign(client.post("/v1/sessions/passkey-options").json)
        for path, credential, person in (
            ("/v1/passkeys", made, ann),
            ("/v1/sessions/passkey", signed, Person(client, "")),
        ):
            name = chance.choice(sorted(credential["response"]))
            credential["response"][name] = b64(damaged(unb64(credential["response"][name]), chance))
            codes.add(
                person.post(
                    path, {"credential": credential}, environ_base={"REMOTE_ADDR": f"2001:db8:{number}::"}
                ).status_code
            )
    assert codes <= {201, 401, 422}, codes


def damaged(raw, chance):
    place = chance.randrange(len(raw))
    return chance.choice(
        (
            raw[:place],
            raw[:place] + bytes([chance.randrange(256)]) + raw[place + 1 :],
            raw[:place] + chance.randbytes(8) + raw[place:],
            b"[" * 5000,
            b"\x9f" * 3000,
            json.dumps({"type": "webauthn.get", "challenge": "\ud800\x00", "origin": None}).encode(),
        )
    )


@pytest.mark.parametrize(
    "credential",
    [{}, {"id": "x"}, {"id": 7, "response": []}, {"id": "x", "response": {"clientDataJSON": b64(b"[]")}}],
)
def test_what_is_no_credential_is_refused(client, ann, credential):
    assert ann.post("/v1/passkeys", {"credential": credential}).status_code == 422
    assert client.post("/v1/sessions/passkey", json={"credential": credential}).status_code == 422


def test_a_removed_passkey_opens_nothing(client, ann, phone, clock):
    bob = new_person(client, "bob")
    assert code_of(bob.delete(f"/v1/passkeys/{phone.passkey_id}")) == (404, "not_found")
    assert ann.delete(f"/v1/passkeys/{phone.passkey_id}").status_code == 204
    assert code_of(sign_in(client, phone)) == (401, "invalid_credentials")


def test_undoing_a_change_of_e_mail_removes_the_key_that_an_intruder_left(app, client, ann, phone):
    ann.put("/v1/account/email", {"email": "eve@elsewhere.example"})
    undo = mailed_token(app, ann.email, "email_undo")
    assert client.put("/v1/email-verifications", json={"token": undo}).status_code == 204
    assert code_of(sign_in(client, phone)) == (401, "invalid_credentials")


def test_a_passkey_of_a_disabled_account_opens_nothing(app, client, ann, phone):
    account = ann.get("/v1/account").json["id"]
    operator(app).patch(f"/v1/admin/accounts/{account}", {"status": "disabled"})
    assert code_of(sign_in(client, phone)) == (401, "invalid_credentials")


def test_a_reset_takes_away_what_was_left_behind_before_anybody_had_confirmed_the_address(app, client, ann, phone):
    """Whoever signs up with a stranger's address shall not come in once the stranger has it."""

    def reset():
        client.post("/v1/password-resets", json={"email": ann.email})
        token = mailed_token(app, ann.email, "password_reset")
        answer = client.put("/v1/password-resets", json={"token": token, "password": "another secret 8"})
        assert answer.status_code == 204

    reset()
    assert code_of(sign_in(client, phone)) == (401, "invalid_credentials")
    owner = Person(client, ann.email, "another secret 8")
    owner.sign_in()
    own = Authenticator()
    assert register(owner, own).status_code == 201
    reset()
    assert sign_in(client, own).status_code == 201
