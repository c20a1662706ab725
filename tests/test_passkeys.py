"""Signing in without a password."""

import pytest

from tests.authenticator import Authenticator, b64
from tests.sessions_steps import Person, code_of, everything, mails, new_person, operator


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
    assert options["authenticatorSelection"]["userVerification"] == "required"
    options = client.post("/v1/sessions/passkey-options").json
    assert (options["userVerification"], options.get("allowCredentials") or []) == ("required", [])


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
        Authenticator(verifies=False),
    ],
    ids=["unknown", "other site", "user not verified"],
)
def test_a_strange_authenticator_opens_nothing(client, phone, stranger):
    stranger.id = phone.id
    assert code_of(sign_in(client, stranger)) == (401, "invalid_credentials")
    assert sign_in(client, phone).status_code == 201


def test_a_cloned_passkey_is_noticed_by_its_count(app, client, phone):
    sign_in(client, phone)
    phone.count = 0
    assert code_of(sign_in(client, phone)) == (401, "invalid_credentials")
    assert operator(app).get("/v1/admin/audit?action=authn_login_fail").json["items"]


def test_an_unverified_user_cannot_make_a_passkey(ann):
    assert code_of(register(ann, Authenticator(verifies=False))) == (422, "passkey_invalid")


@pytest.mark.parametrize(
    "credential",
    [{}, {"id": "x"}, {"id": 7, "response": []}, {"id": "x", "response": {"clientDataJSON": b64(b"[]")}}],
)
def test_what_is_no_credential_is_refused(client, ann, credential):
    assert ann.post("/v1/passkeys", {"credential": credential}).status_code == 422
    assert client.post("/v1/sessions/passkey", json={"credential": credential}).status_code == 401


def test_a_removed_passkey_opens_nothing(client, ann, phone, clock):
    bob = new_person(client, "bob")
    assert code_of(bob.delete(f"/v1/passkeys/{phone.passkey_id}")) == (404, "not_found")
    assert ann.delete(f"/v1/passkeys/{phone.passkey_id}").status_code == 204
    assert code_of(sign_in(client, phone)) == (401, "invalid_credentials")


def test_a_passkey_of_a_disabled_account_opens_nothing(app, client, ann, phone):
    account = ann.get("/v1/account").json["id"]
    operator(app).patch(f"/v1/admin/accounts/{account}", {"status": "disabled"})
    assert code_of(sign_in(client, phone)) == (401, "invalid_credentials")
