"""Changes of the email address: confirmed by the new address, undone by the old one."""

import pytest

from streamsvc.rules.sign_in.totp import STEP_S, totp_code
from tests.worlds.sessions_steps import Person, add_app, code_of, mailed_token, mails, new_person

NEW = "ann@elsewhere.example"


@pytest.fixture
def ann(client):
    return new_person(client)


def confirm(client, token):
    return client.put("/v1/email-verifications", json={"token": token})


def test_the_new_address_takes_effect_when_confirmed(app, client, ann):
    assert ann.put("/v1/account/email", {"email": NEW}).status_code == 202
    assert ann.get("/v1/account").json["email"] == ann.email
    assert confirm(client, mailed_token(app, NEW, "email_change")).status_code == 204
    account = ann.get("/v1/account").json
    assert (account["email"], account["email_verified"]) == (NEW, True)
    assert code_of(ann.again().sign_in()) == (401, "invalid_credentials")
    assert Person(client, NEW).sign_in().status_code == 201


def test_changing_the_email_requires_recent_authentication(ann, clock):
    clock.advance(minutes=11)
    assert code_of(ann.put("/v1/account/email", {"email": NEW})) == (403, "reauthentication_required")


def test_the_old_address_undoes_the_change_for_a_week_and_ends_all_sessions(app, client, ann, clock):
    ann.put("/v1/account/email", {"email": NEW})
    undo = mailed_token(app, ann.email, "email_undo")
    confirm(client, mailed_token(app, NEW, "email_change"))
    clock.advance(days=6, hours=23)
    assert confirm(client, undo).status_code == 204
    assert ann.get("/v1/account").status_code == 401
    token = mailed_token(app, ann.email, "password_reset")
    assert client.put("/v1/password-resets", json={"token": token, "password": "another secret 8"}).status_code == 204
    assert Person(client, ann.email, "another secret 8").sign_in().json["account"]["email"] == ann.email


def test_undoing_before_the_confirmation_cancels_the_change(app, client, ann):
    ann.put("/v1/account/email", {"email": NEW})
    change = mailed_token(app, NEW, "email_change")
    assert confirm(client, mailed_token(app, ann.email, "email_undo")).status_code == 204
    assert code_of(confirm(client, change)) == (422, "token_invalid")


@pytest.fixture
def hijacked(app, client, ann):
    """Ann's account, whose password and email an intruder changed; `undo` is the token mailed to Ann before."""
    ann.put("/v1/account/email", {"email": NEW})
    ann.undo = mailed_token(app, ann.email, "email_undo")
    confirm(client, mailed_token(app, NEW, "email_change"))
    intruder = Person(client, NEW, "an intruder's password 7", token=ann.token)
    assert intruder.put("/v1/account/password", {"current_password": ann.password, "password": intruder.password})
    ann.intruder = intruder
    return ann


def test_the_new_address_cannot_invalidate_the_undo_of_the_old_one(app, client, hijacked):
    hijacked.intruder.put("/v1/account/email", {"email": "further@elsewhere.example"})
    intruders_undo = mailed_token(app, NEW, "email_undo")
    assert [confirm(client, token).status_code for token in (intruders_undo, hijacked.undo)] == [204, 204]
    token = mailed_token(app, hijacked.email, "password_reset")
    assert client.put("/v1/password-resets", json={"token": token, "password": "another secret 8"}).status_code == 204
    assert Person(client, hijacked.email, "another secret 8").sign_in().status_code == 201


def test_after_an_undo_the_intruders_password_is_rejected(client, hijacked):
    assert confirm(client, hijacked.undo).status_code == 204
    for email in (hijacked.email, NEW):
        assert code_of(Person(client, email, hijacked.intruder.password).sign_in()) == (401, "invalid_credentials")


def test_an_undo_removes_an_authenticator_unless_it_is_older_than_the_requesting_session(app, client, ann, clock):
    def has_app():
        token = mailed_token(app, ann.email, "password_reset")
        assert client.put("/v1/password-resets", json={"token": token, "password": ann.password}).status_code == 204
        return code_of(ann.sign_in())[1] == "second_factor_required"

    def change_and_undo(add_app_at):
        ann.put("/v1/account/email", {"email": NEW})
        undo = mailed_token(app, ann.email, "email_undo")
        clock.advance(seconds=30)
        if add_app_at == "between":
            add_app(ann, clock)
        assert confirm(client, undo).status_code == 204

    bob = new_person(app.test_client(), "bob")
    add_app(bob, clock)
    codes_left = bob.get("/v1/account/totp").json["recovery_codes_left"]
    change_and_undo(add_app_at="between")
    assert not has_app()
    assert bob.get("/v1/account/totp").json["recovery_codes_left"] == codes_left > 0
    secret = add_app(ann, clock)
    clock.advance(seconds=30)
    assert ann.sign_in(totp=totp_code(secret, int(clock.at.timestamp()) // STEP_S)).status_code == 201
    change_and_undo(add_app_at="before")
    assert has_app()


def test_an_undo_restores_an_account_that_an_intruder_deleted(app, client, hijacked):
    assert hijacked.intruder.delete("/v1/account").status_code == 204
    assert confirm(client, hijacked.undo).status_code == 204
    token = mailed_token(app, hijacked.email, "password_reset")
    assert client.put("/v1/password-resets", json={"token": token, "password": "another secret 8"}).status_code == 204
    assert Person(client, hijacked.email, "another secret 8").sign_in().status_code == 201


def test_a_new_password_cancels_an_unconfirmed_change(app, client, ann):
    ann.put("/v1/account/email", {"email": NEW})
    change = mailed_token(app, NEW, "email_change")
    ann.put("/v1/account/password", {"current_password": ann.password, "password": "another secret 8"})
    assert code_of(confirm(client, change)) == (422, "token_invalid")


def test_after_a_week_the_change_is_final(app, client, ann, clock):
    ann.put("/v1/account/email", {"email": NEW})
    undo = mailed_token(app, ann.email, "email_undo")
    clock.advance(days=7)
    assert code_of(confirm(client, undo)) == (422, "token_invalid")


def test_email_change_mails_are_rate_limited(app, client, ann):
    statuses = [ann.put("/v1/account/email", {"email": f"ann{n}@elsewhere.example"}).status_code for n in range(6)]
    assert statuses == [202] * 5 + [429]
    assert len(mails(app, ann.email, "email_undo")) == 5


def test_only_the_confirmation_reveals_that_an_address_is_taken(app, client, ann):
    bob = new_person(client, "bob")
    free, taken = ann.put("/v1/account/email", {"email": NEW}), ann.put("/v1/account/email", {"email": bob.email})
    assert (free.status_code, free.json) == (taken.status_code, taken.json)
    assert code_of(confirm(client, mailed_token(app, bob.email, "email_change"))) == (409, "email_taken")


def test_verifying_the_old_address_does_not_verify_the_new_one(app, client, ann):
    old = mailed_token(app, ann.email, "email_verification")
    ann.put("/v1/account/email", {"email": NEW})
    confirm(client, mailed_token(app, NEW, "email_change"))
    assert code_of(confirm(client, old)) == (422, "token_invalid")
    assert len(mails(app, NEW, "email_changed")) == 1
